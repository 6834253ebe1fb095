"""What a file of ours says of itself: kept, respected, compared with what is asked for, and never trusted."""
import collections
import dataclasses
import json
import logging
import random
import time

import mindspore as ms
import numpy as np
import pytest
from safetensors.numpy import save_file

from ghost_ms import create_model
from ghost_ms.checkpoints.checkpoint import save_checkpoint
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.models import registry
from ghost_ms.weights import agreement, load
from ghost_ms.weights.commands import convert_file, to_torch
from ghost_ms.weights.convert import torch_state
from ghost_ms.weights.files import describe, open_file, write
from ghost_ms.weights.load import load_pretrained, load_weights
from ghost_ms.weights.nearest import shapes_only
from ghost_ms.weights.torch_file import read
from tests import tiny
from tests.weights import fuzz_torch_file, torch_zip

CLASSES = ["ant", "bee", "cat"]


class Scaled(tiny.Tiny):
    """Computes something else of the same weights where `scale` is another."""

    def __init__(self, scale=2.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def forward_head(self, x):
        return super().forward_head(x) * self.scale


@pytest.fixture(scope="module", autouse=True)
def network():
    with tiny.registered(), pytest.MonkeyPatch.context() as patch:
        card = dataclasses.replace(registry._CARDS["tiny"], name="scaled")
        patch.setitem(registry._CARDS, "scaled", card)
        patch.setitem(registry._CONSTRUCTORS, "scaled", Scaled)
        yield


def _description(model="tiny", size=(20, 24), channels=3, **changes):
    spec = Preprocessing(size, channels, (0.1,) * channels, (0.2,) * channels, 0.9, "bicubic")
    found = ModelSpec(model, {"num_classes": 3, "in_channels": channels}, CLASSES, spec,
                        {"epoch": 2, "test_top1": 87.5})
    return dataclasses.replace(found, **changes)


@pytest.fixture
def own(tmp_path):
    """(path of a checkpoint of `tiny` as training writes it, its network)."""
    description = _description()
    net = description.build()
    save_checkpoint(net, str(tmp_path / "own.ckpt"), description)
    return str(tmp_path / "own.ckpt"), net


def _told(path):
    return open_file(path).described


def _logits(net, size=(20, 24), channels=3):
    images = np.random.default_rng(0).normal(size=(2, channels, *size)).astype(np.float32)
    return net.set_train(False)(ms.Tensor(images)).asnumpy()


@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_convert_and_to_torch_keep_what_a_file_says(ending, own, tmp_path):
    path, net = own
    told = json.loads(_description().to_json())
    convert_file(path, "tiny", tmp_path / f"a.{ending}")
    to_torch(tmp_path / f"a.{ending}", tmp_path / "b.safetensors")
    convert_file(tmp_path / "b.safetensors", None, tmp_path / f"c.{ending}")
    for name in (f"a.{ending}", "b.safetensors", f"c.{ending}"):
        assert _told(tmp_path / name) == told, name
    after = torch_state(create_model("tiny", pretrained=str(tmp_path / f"c.{ending}")))
    for name, value in torch_state(net).items():
        np.testing.assert_array_equal(after[name], value)
    assert {"stem.1.running_mean", "head.bias"} <= set(read(tmp_path / "b.safetensors")[0])


def test_what_is_asked_for_replaces_what_a_file_says(own, tmp_path):
    path, _ = own
    convert_file(path, "tiny", tmp_path / "a.ckpt", head="new", num_classes=5, input_size=(32, 32), in_channels=1)
    told = _told(tmp_path / "a.ckpt")
    assert told["args"] == {"num_classes": 5, "in_channels": 1} and told["classes"] == [f"class {i}" for i in range(5)]
    spec = told["preprocessing"]
    assert spec["input_size"] == [32, 32] and spec["crop_ratio"] == 0.9 and spec["interpolation"] == "bicubic"
    assert spec["channels"] == 1 and spec["mean"] == pytest.approx([0.1]) and spec["std"] == pytest.approx([0.2])
    # An untrained classifier has no accuracy.
    assert told["metrics"] == {}
    with pytest.raises(ValueError, match="its classifier has 3 classes, the network 5: .*--num-classes"):
        convert_file(path, "tiny", tmp_path / "b.ckpt", num_classes=5)


def test_create_model_takes_from_the_file_what_is_not_given(own, caplog):
    path, before = own
    with caplog.at_level(logging.WARNING):
        net = create_model("tiny", pretrained=path)
    assert "tiny: built as the file says: num_classes 3 (" in caplog.text and net.arguments["num_classes"] == 3
    np.testing.assert_array_equal(_logits(net), _logits(before))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        net = create_model("tiny", pretrained=path, num_classes=3, drop_rate=0.5)
    assert not caplog.text and net.arguments == {"num_classes": 3, "drop_rate": 0.5, "in_channels": 3}


@pytest.mark.parametrize("theirs, given", [({"scale": 3.0}, {}), ({}, {"scale": 2.0}), ({"scale": 3.0}, {"scale": 3})])
def test_arguments_that_agree(theirs, given, tmp_path):
    path, before = _scaled(tmp_path, theirs)
    np.testing.assert_array_equal(_logits(create_model("scaled", pretrained=path, **given)), _logits(before))


@pytest.mark.parametrize("theirs, given, reason", [
    ({"scale": 3.0}, {"scale": 2.0}, "scale 3.0, this one with scale 2.0"),
    ({}, {"scale": 1.0}, "scale 2.0, this one with scale 1.0")])
def test_arguments_that_would_compute_something_else_are_refused(theirs, given, reason, tmp_path):
    path, _ = _scaled(tmp_path, theirs)
    with pytest.raises(ValueError, match=f"cannot use .*: its network was built with {reason}, which makes other outp"):
        create_model("scaled", pretrained=path, **given)


def test_training_with_other_arguments_than_its_file_is_refused(tmp_path):
    path, _ = _scaled(tmp_path, {"scale": 3.0})
    description = _description("scaled", classes=["dog", "emu"], args={"num_classes": 2, "in_channels": 3})
    with pytest.raises(ValueError, match=r"scale 3.0, this one with scale 2.0, .*: give scale 3.0 .model\.args in a"):
        description.build(path)
    with pytest.raises(ValueError, match="scale 3.0, this one with"):
        load_weights(create_model("scaled", num_classes=3), path)
    with pytest.raises(ValueError, match="cannot use .*own.ckpt: it is a checkpoint of scaled, not of tiny"):
        _description().build(path)


def test_stride_of_the_stem_of_a_registered_network():
    for name in ("ghostnet_050", "ghostnetv2_050"):
        with shapes_only():
            net = create_model(name, stem_stride=1)
        agreement.check_same(net, {"args": {"stem_stride": 1, "drop_rate": 0.5}})
        with pytest.raises(ValueError, match="built with stem_stride 2, this one with stem_stride 1"):
            agreement.check_same(net, {"args": {}})


def _scaled(tmp_path, args):
    description = _description("scaled", args={"num_classes": 3, "in_channels": 3, **args})
    net = description.build()
    save_checkpoint(net, str(tmp_path / "own.ckpt"), description)
    return str(tmp_path / "own.ckpt"), net


def test_recipe_with_grey_data_takes_weights_for_colour(own, caplog):
    path, before = own
    with caplog.at_level(logging.WARNING):
        net = _description(channels=1).build(path)
    assert "stem.0.weight takes 3 channels in the file: summed into one" in caplog.text
    assert "built as" not in caplog.text
    np.testing.assert_array_equal(net.stem[0].weight.asnumpy(), before.stem[0].weight.asnumpy().sum(1, keepdims=True))


def test_checkpoint_of_another_model_is_refused(own, tmp_path):
    path, _ = own
    for call in (lambda: create_model("tiny_vanilla", pretrained=path),
                 lambda: to_torch(path, tmp_path / "a.safetensors", "tiny_vanilla"),
                 lambda: convert_file(path, "tiny_vanilla", tmp_path / "a.ckpt"),
                 lambda: load_weights(create_model("tiny_vanilla"), path)):
        with pytest.raises(ValueError, match="cannot use .*own.ckpt: it is a checkpoint of tiny, not of tiny_vanilla"):
            call()


def test_position_tables_take_the_size_of_the_file(tmp_path, caplog):
    description = _description("vig_ti", (32, 32))
    net = description.build()
    save_checkpoint(net, str(tmp_path / "own.ckpt"), description)
    again = create_model("vig_ti", pretrained=str(tmp_path / "own.ckpt"))
    assert again.arguments["input_size"] == (32, 32)
    np.testing.assert_array_equal(again.pos_embed.asnumpy(), net.pos_embed.asnumpy())
    with caplog.at_level(logging.WARNING):
        larger = create_model("vig_ti", pretrained=str(tmp_path / "own.ckpt"), input_size=(64, 32))
    assert larger.pos_embed.shape[2:] == (4, 2)
    assert "1 tables are resampled to the input size (pos_embed)" in caplog.text


# --- classes ---------------------------------------------------------------------------------------------------------


def test_same_classes_in_another_order(own, caplog):
    path, before = own
    with caplog.at_level(logging.WARNING):
        net = create_model("tiny", pretrained=path, classes=["cat", "ant", "bee"])
    assert "the file's classes stand in another order: the classifier's rows are exchanged" in caplog.text
    np.testing.assert_array_equal(_logits(net), _logits(before)[:, [2, 0, 1]])


@pytest.mark.parametrize("name", ["tiny_vanilla", pytest.param("vig_ti", marks=pytest.mark.slow)])
def test_rows_of_classifiers_of_several_layers(name, tmp_path):
    """VanillaNet's hidden layer has as many channels as there are classes; ViG's classifier is its last of two."""
    description = _description(name, (32, 32))
    net, draw = description.build(), np.random.default_rng(4)
    for key, parameter in net.parameters_and_names():
        if key.startswith(("cls.", "prediction.")) and not key.endswith("moving_variance"):
            parameter.set_data(ms.Tensor(draw.normal(0, 0.1, parameter.shape).astype(np.float32)))
    save_checkpoint(net, str(tmp_path / "own.ckpt"), description)
    other = create_model(name, pretrained=str(tmp_path / "own.ckpt"), classes=["bee", "cat", "ant"])
    wanted = _logits(net, (32, 32))[:, [1, 2, 0]]
    assert np.abs(wanted - wanted[:, [1, 2, 0]]).max() > 1e-3
    np.testing.assert_allclose(_logits(other, (32, 32)), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("classes", [["ant", "bee", "dog"], ["x", "y", "z"]])
def test_as_many_other_classes_leave_the_classifier_fresh(classes, own, caplog):
    path, before = own
    with caplog.at_level(logging.WARNING):
        net = _description(classes=classes).build(path)
    assert "the classifier is fresh (the file's knows other classes); train it" in caplog.text
    assert not np.array_equal(net.head.weight.asnumpy(), before.head.weight.asnumpy())
    np.testing.assert_array_equal(net.stem[0].weight.asnumpy(), before.stem[0].weight.asnumpy())
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        again = _description().build(path)
        report = load_pretrained(create_model("tiny", num_classes=3), path, {"num_classes": 3}, CLASSES)
    assert not caplog.text and not report.fresh
    np.testing.assert_array_equal(again.head.weight.asnumpy(), before.head.weight.asnumpy())


# --- damaged and hostile ---------------------------------------------------------------------------------------------


def _damaged(change):
    found = json.loads(_description().to_json())
    change(found)
    return json.dumps(found)


@pytest.mark.parametrize("text, reason", [
    ("{", "no JSON"), ("9" * 1000, "1000 digits"), ("[" * 100_000, "levels deep"), ("3", "no list of fields"),
    ("[" * 30 + "]" * 30, "no list of fields"), (_damaged(lambda d: d.pop("model")), "proper model"),
    (_damaged(lambda d: d.update(args=[])), "args"), (_damaged(lambda d: d["args"].update({"a b": 1})), "args"),
    (_damaged(lambda d: d["args"].update(num_classes=-1)), "how many classes"),
    (_damaged(lambda d: d["args"].update(num_classes=True)), "how many classes"),
    (_damaged(lambda d: d["args"].update(num_classes=1 << 40)), "num_classes"),
    (_damaged(lambda d: d["args"].update(width=float("nan"))), "args hold a number that is not finite"),
    (_damaged(lambda d: d.update(classes="abc")), "proper classes"),
    (_damaged(lambda d: d.update(classes=[1])), "classes hold a name"),
    (_damaged(lambda d: d["preprocessing"].update(input_size=[0, 5])), "input_size"),
    (_damaged(lambda d: d["preprocessing"].update(input_size=[1 << 20, 5])), "input_size"),
    (_damaged(lambda d: d["preprocessing"].update(input_size=224)), "input_size"),
    (_damaged(lambda d: d["preprocessing"].update(mean=[1.0])), "mean"),
    (_damaged(lambda d: d["preprocessing"].update(std=[0.2, 0, 0.2])), "std"),
    (_damaged(lambda d: d["preprocessing"].update(std=[0.2, float("inf"), 0.2])), "preprocessing hold a number"),
    (_damaged(lambda d: d["preprocessing"].update(crop_ratio=0)), "crop_ratio"),
    (_damaged(lambda d: d["preprocessing"].update(interpolation=3)), "interpolation"),
    (_damaged(lambda d: d.update(metrics=["a"])), "metrics"),
    (_damaged(lambda d: d["metrics"].update(activation_slope=7)), "activation_slope")])
def test_damaged_descriptions_are_refused_at_once(text, reason, tmp_path):
    start = time.monotonic()
    with pytest.raises(ValueError, match=reason):
        agreement.parse(text)
    save_file(torch_state(create_model("tiny", num_classes=3)), tmp_path / "a.safetensors", {"ghost_ms": text})
    with pytest.raises(ValueError, match="cannot read .*a.safetensors: what it says of its network is damaged"):
        convert_file(tmp_path / "a.safetensors", "tiny", tmp_path / "a.ckpt")
    assert time.monotonic() - start < 5 and not (tmp_path / "a.ckpt").exists()


def test_metrics_of_a_diverged_training_are_no_damage():
    assert agreement.parse(_damaged(lambda d: d["metrics"].update(test_loss=float("nan"))))["model"] == "tiny"


@pytest.mark.parametrize("model, change, reason", [
    ("tiny", {"num_classes": 1 << 30}, "it says that it has 1073741824 classes, which none of its entries has"),
    ("lego_vgg16", {"splits": "x"}, "lego_vgg16 cannot be built with .*splits"),
    ("tiny", {"conv": 3}, "tiny cannot be built with num_classes, in_channels, conv as it says"),
    ("lego_vgg16", {"lego_ratio": 900.0}, "parameters, and holds")])
def test_descriptions_of_networks_that_the_file_cannot_hold(model, change, reason, tmp_path):
    net = create_model(model, num_classes=3)
    description = _description(model, args={"num_classes": 3, "in_channels": 3, **change})
    state = {name: np.array(value) for name, value in torch_state(net).items()}
    save_file(state, tmp_path / "a.safetensors", {"ghost_ms": description.to_json()})
    start = time.monotonic()
    with pytest.raises(ValueError, match=reason):
        create_model(model, pretrained=str(tmp_path / "a.safetensors"))
    with pytest.raises(ValueError, match=reason):
        to_torch(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert time.monotonic() - start < 20


def test_table_sizes_beyond_reason_are_refused(tmp_path):
    net = create_model("augvit_small", num_classes=3, input_size=(32, 32))
    description = _description("augvit_small", (7000, 7000))
    write(tmp_path / "a.safetensors", torch_state(net), description.to_json())
    with pytest.raises(ValueError, match="takes images of 7000x7000, which no network of this kind does"):
        create_model("augvit_small", pretrained=str(tmp_path / "a.safetensors"))


def test_half_linear_activations_are_said(tmp_path, caplog):
    description = _description("tiny_vanilla", (32, 32), metrics={"activation_slope": 0.25})
    save_checkpoint(description.build(), str(tmp_path / "a.ckpt"), description)
    with caplog.at_level(logging.WARNING):
        create_model("tiny_vanilla", pretrained=str(tmp_path / "a.ckpt"))
    assert "activations were being made linear (slope 0.25)" in caplog.text
    convert_file(tmp_path / "a.ckpt", None, tmp_path / "b.ckpt", head="new")
    assert _told(tmp_path / "b.ckpt")["metrics"] == {"activation_slope": 0.25}


def test_description_of_a_card_for_grey_images():
    told = json.loads(describe(create_model("tiny").card, 3, (10, 12), 1))
    assert told["preprocessing"]["channels"] == 1 and len(told["preprocessing"]["mean"]) == 1
    assert agreement.checked(told)["args"] == {"num_classes": 3, "in_channels": 1}


def damaged_whole_files(folder, cases, seed):
    """Outcomes of converting damaged files of `tiny` that describe themselves: a report, or one sentence."""
    draw, outcomes = random.Random(seed), collections.Counter()
    net = create_model("tiny", num_classes=3)
    write(folder / "a.safetensors", torch_state(net), _description().to_json())
    torch_zip.save({"state_dict": {f"model.{k}": v for k, v in torch_state(net).items()}, "epoch": 1}, folder / "a.pth")
    for case in range(cases):
        source = folder / draw.choice(("a.safetensors", "a.pth"))
        _, data = fuzz_torch_file.damage(source.read_bytes(), draw)
        path = folder / f"damaged{source.suffix}"
        path.write_bytes(data)
        for call in (lambda path: convert_file(path, "tiny", folder / "b.safetensors", num_classes=3),
                     lambda path: create_model("tiny", pretrained=str(path), num_classes=3),
                     lambda path: to_torch(path, folder / "c.safetensors", "tiny")):
            try:
                call(path)
                outcomes["done"] += 1
            except (ValueError, OSError) as error:
                outcomes["refused"] += 1
                assert str(error).isprintable() and str(path) in str(error), (case, seed, error)
    return outcomes


def test_damaged_whole_files(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "proposal", lambda state, model: None)
    outcomes = damaged_whole_files(tmp_path, 150, 5)
    assert outcomes["done"] > 20 and outcomes["refused"] > 300
