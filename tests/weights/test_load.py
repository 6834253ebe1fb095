"""Files as people have them: wrapped, prefixed, without a classifier, for other channels, of another network."""
import logging
import re

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor

from ghost_ms import create_model
from ghost_ms.models.registry import nearest
from ghost_ms.training.ema import Ema
from ghost_ms.weights.averaged import averaged
from ghost_ms.weights.channels import other_channels
from ghost_ms.weights.commands import convert_file, to_torch
from ghost_ms.weights.convert import torch_state
from ghost_ms.weights.ckpt_file import is_mindspore
from ghost_ms.weights.files import open_file
from ghost_ms.weights.load import load_weights
from ghost_ms.weights.pick import Wanted, pick, without_prefix
from ghost_ms.weights.torch_file import read
from tests import tiny
from tests.weights import torch_zip


@pytest.fixture(scope="module", autouse=True)
def network():
    with tiny.registered():
        yield


@pytest.fixture(scope="module")
def state(network):
    """A state dict of `tiny` for four classes, each entry another."""
    draw = np.random.default_rng(0)
    return {name: draw.normal(size=value.shape).astype(np.float32) if value.ndim else value
            for name, value in torch_state(create_model("tiny")).items()}


def _renamed(state, before):
    return {before + name: value for name, value in state.items()}


def _saved(path, tree):
    return torch_zip.save(tree, path)


def _same(net, state):
    for name, value in torch_state(net).items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)


WRAPPERS = ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module._orig_mod."]
PREFIXES = ["backbone.", "model.", "net.", "encoder.", "model.net.", "module.model.", "model._orig_mod.",
            "_orig_mod.backbone.", "model.module.encoder."]


@pytest.mark.parametrize("entry", ["", "state_dict", "model", "params"])
@pytest.mark.parametrize("before", WRAPPERS + PREFIXES)
def test_wrappers_and_prefixes_are_removed(before, entry, state, tmp_path):
    inner = _renamed(state, before)
    path = _saved(tmp_path / "a.pth", {entry: inner, "epoch": 3} if entry else inner)
    net = create_model("tiny")
    report = load_weights(net, path)
    _same(net, state)
    # What only wraps says nothing; what is a name of somebody's module is told.
    left = before.replace("_orig_mod.", "")
    assert report.entry == entry and report.prefix == ("" if set(left) <= set("module.") and "el" not in left else
                                                       left[len("module."):] if left.startswith("module.") else left)
    assert not report.prefix or f"names without '{report.prefix}'" in report.lines()[0]


def test_a_part_that_was_compiled_and_a_counter_of_averaged_models(state, tmp_path):
    mixed = {name.replace("stage.", "stage._orig_mod.").replace("head.", "_orig_mod.head."): value
             for name, value in state.items()}
    net = create_model("tiny")
    load_weights(net, _saved(tmp_path / "a.pth", {"n_averaged": np.array(7), **_renamed(mixed, "module.")}))
    _same(net, state)
    with pytest.raises(ValueError, match="two of its entries are called 'stem.0.weight'"):
        pick({"stem.0.weight": np.zeros(1), "_orig_mod.stem.0.weight": np.zeros(1)})


def test_a_name_of_countless_wrappers_takes_no_time():
    assert list(pick({"module." * 200_000 + "a": np.zeros(1)})[1]) == ["a"]
    wanted = Wanted(["a"], [], False, lambda name: False)
    assert without_prefix({"b." * 200_000 + "a": np.zeros(1)}, wanted)[0] == ""


def test_prefix_of_somebody_is_named_and_taken_on_request(state, tmp_path):
    tree = {"state_dict": {**_renamed(state, "student.vision."), "teacher.scale": np.zeros(2, np.float32)}}
    path = _saved(tmp_path / "a.pth", tree)
    with pytest.raises(ValueError, match=r"begin with 'student\.vision\.': take these with --prefix student\.vision, "
                                         r"and leave out 1 others \(teacher\.scale\)"):
        convert_file(path, "tiny", tmp_path / "a.ckpt")
    report = convert_file(path, "tiny", tmp_path / "a.ckpt", prefix="student.vision")
    assert report.dropped == ["stem.1.num_batches_tracked", "stage.1.num_batches_tracked", "teacher.scale"]
    _same(create_model("tiny", pretrained=str(tmp_path / "a.ckpt")), state)
    with pytest.raises(ValueError, match=r"none of its names begins with 'teach\.'; they begin with student\., "):
        convert_file(path, "tiny", tmp_path / "a.ckpt", prefix="teach")


def test_known_prefix_is_removed_only_where_all_entries_fit(state, tmp_path):
    path = _saved(tmp_path / "a.pth", {**_renamed(state, "model."), "loss.weight": np.zeros(2, np.float32)})
    with pytest.raises(ValueError, match="--prefix model, and leave out 1 others .loss.weight."):
        load_weights(create_model("tiny"), path)
    headless = {name: value for name, value in state.items() if not name.startswith("head.")}
    path = _saved(tmp_path / "b.pth", {**_renamed(headless, "backbone."), "neck.fc.weight": state["head.weight"]})
    with pytest.raises(ValueError, match="--prefix backbone, and leave out 1 others .*fresh classifier: --head new"):
        load_weights(create_model("tiny"), path)
    report = load_weights(create_model("tiny"), path, head="new", prefix="backbone.")
    assert report.fresh == ["head.weight", "head.bias"] and "neck.fc.weight" in report.dropped


def test_entry_is_found_within_entries_or_named(state, tmp_path):
    wrapped = {"ema": {"decay": 0.99, "module": _renamed(state, "module.")}, "model": {"net": {"x.y": np.zeros(1)}}}
    net = create_model("tiny")
    assert load_weights(net, _saved(tmp_path / "a.pth", wrapped), ema=True).entry == "ema/module"
    _same(net, state)
    tree = {"student": {"vision": state, "text": {"a": np.zeros(1)}}, "epoch": 1}
    path = _saved(tmp_path / "b.pth", tree)
    with pytest.raises(ValueError, match="holds no weights: its entries are student; name the one to take with --e"):
        load_weights(create_model("tiny"), path)
    with pytest.raises(ValueError, match="no entry 'student' with weights: its entries are student/text, student/vis"):
        load_weights(create_model("tiny"), path, entry="student")
    load_weights(net, path, entry="student/vision")
    _same(net, state)
    with pytest.raises(ValueError, match="'model' holds no weights itself, but a, b; .* --entry model/a"):
        pick({"model/a/w": np.zeros(1), "model/b/w": np.zeros(1)})
    with pytest.raises(ValueError, match="give one of them"):
        pick(state, ema=True, entry="model")


def test_first_bytes_decide_whatever_the_name_ends_in(state, tmp_path):
    lightning = {"epoch": 3, "pytorch-lightning_version": "2.1", "state_dict": _renamed(state, "model."),
                 "optimizer_states": [{"state": {0: {"exp_avg": state["head.bias"]}}}], "hyper_parameters": {"lr": 0.1}}
    path = _saved(tmp_path / "last.ckpt", lightning)
    net = create_model("tiny", pretrained=str(path))
    _same(net, state)
    convert_file(path, "tiny", tmp_path / "ours.ckpt")
    convert_file(path, "tiny", tmp_path / "ours.safetensors")
    (tmp_path / "b.ckpt").write_bytes((tmp_path / "ours.safetensors").read_bytes())
    _same(create_model("tiny", pretrained=str(tmp_path / "b.ckpt")), state)
    assert [is_mindspore(tmp_path / name) for name in ("ours.ckpt", "b.ckpt", "last.ckpt")] == [True, False, False]
    for wrong in (tmp_path, tmp_path / "absent.pth"):
        with pytest.raises(FileNotFoundError, match="no checkpoint or weight file"):
            create_model("tiny", pretrained=str(wrong))


def test_file_without_a_classifier(state, tmp_path, caplog):
    path = _saved(tmp_path / "a.pth", {k: v for k, v in state.items() if not k.startswith("head.")})
    with pytest.raises(ValueError, match=r"no classifier \(head.weight, head.bias\): take a fresh one with --head new"):
        create_model("tiny", pretrained=str(path))
    report = convert_file(path, "tiny", tmp_path / "a.ckpt", head="new", num_classes=9)
    assert report.fresh == ["head.weight", "head.bias"] and open_file(tmp_path / "a.ckpt").described["classes"][8]
    with caplog.at_level(logging.WARNING):
        net = create_model("tiny", pretrained=str(path), num_classes=9)
    assert net.head.weight.shape == (9, 8) and "classifier is fresh (the file has none)" in caplog.text
    np.testing.assert_array_equal(net.stem[0].weight.asnumpy(), state["stem.0.weight"])


# --- EMA weights of our own training states ---------------------------------------------------------------------


def _training_state(path, net, ema):
    values = {p.name: p for p in (*net.get_parameters(), *ema.vectors, ema.counted)}
    values["moments.head.weight"] = Parameter(Tensor(np.zeros((4, 8), np.float32)), name="moments.head.weight")
    parameters = [{"name": name, "data": value} for name, value in values.items()]
    ms.save_checkpoint(parameters, str(path), append_dict={"ghost_ms_progress": "{}"})
    return path


def test_averaged_weights_of_a_training_state(tmp_path):
    net = create_model("tiny")
    ema, draw = Ema(net, 0.9), np.random.default_rng(1)
    for vector in ema.vectors:
        vector.set_data(Tensor(draw.normal(size=vector.shape).astype(np.float32)))
    path, wanted = _training_state(tmp_path / "last.ckpt", net, ema), ema.means()
    raw, mean = create_model("tiny"), create_model("tiny")
    load_weights(raw, path)
    report = load_weights(mean, path, ema=True)
    assert "moments.head.weight" in report.dropped and "EMA weights" in report.lines()[0]
    for name, parameter in mean.parameters_and_names():
        np.testing.assert_array_equal(parameter.asnumpy(), wanted[name], err_msg=name)
        assert not np.array_equal(raw.parameters_dict()[name].asnumpy(), wanted[name])
    convert_file(path, "tiny", tmp_path / "mean.ckpt", ema=True)
    to_torch(path, tmp_path / "mean.safetensors", "tiny", ema=True)
    np.testing.assert_array_equal(read(tmp_path / "mean.safetensors")[0]["head.bias"], wanted["head.bias"])
    with pytest.raises(ValueError, match="no EMA weights: a training state with ema.decay does"):
        load_weights(create_model("tiny"), tmp_path / "mean.ckpt", ema=True)


def test_averaged_statistics_of_several_ranks_and_vectors_of_a_wrong_length():
    tensors = {"w": np.zeros((2, 2), np.float32), "n.moving_mean": np.zeros(3, np.float32),
               "steps": np.zeros(1, np.int32), "ema": np.arange(4, dtype=np.float32),
               "ema_statistics": np.zeros(3, np.float32), "ranks.ema_statistics": np.array([[0, 2, 4], [2] * 3], "f4")}
    found = averaged(tensors, ["w", "n.moving_mean", "steps"])
    np.testing.assert_array_equal(found["w"], [[0, 1], [2, 3]])
    np.testing.assert_array_equal(found["n.moving_mean"], [1, 2, 3])
    assert found["steps"] is tensors["steps"]
    for key, value in (("ema", np.zeros(5, np.float32)), ("ranks.ema_statistics", np.zeros((2, 2), np.float32)),
                       ("ema", np.zeros((2, 2), np.float32))):
        with pytest.raises(ValueError, match="EMA weights are damaged"):
            averaged({**tensors, key: value}, ["w", "n.moving_mean", "steps"])


# --- channels --------------------------------------------------------------------------------------------------------


def _logits(net, images):
    return net.set_train(False)(Tensor(images)).asnumpy()


def test_colour_into_grey_and_back(state, tmp_path, caplog):
    path = _saved(tmp_path / "rgb.pth", state)
    grey = np.random.default_rng(2).normal(size=(2, 1, 16, 16)).astype(np.float32)
    colour = create_model("tiny", pretrained=str(path))
    with caplog.at_level(logging.WARNING):
        summed = create_model("tiny", pretrained=str(path), in_channels=1)
    assert "stem.0.weight takes 3 channels in the file: summed into one" in caplog.text
    np.testing.assert_array_equal(summed.stem[0].weight.asnumpy()[:, 0], state["stem.0.weight"].sum(1))
    wanted = _logits(colour, np.repeat(grey, 3, 1))
    np.testing.assert_allclose(_logits(summed, grey), wanted, rtol=1e-4, atol=1e-4)
    report = convert_file(path, "tiny", tmp_path / "grey.ckpt", in_channels=1)
    assert "summed into one" in report.lines()[-1]
    described = open_file(tmp_path / "grey.ckpt").described
    assert described["args"]["in_channels"] == described["preprocessing"]["channels"] == 1
    assert described["preprocessing"]["mean"] == [np.mean((0.485, 0.456, 0.406))]
    # A file for grey says so itself; for colour its weights are repeated.
    _same_logits = _logits(create_model("tiny", pretrained=str(tmp_path / "grey.ckpt")), grey)
    np.testing.assert_allclose(_same_logits, wanted, rtol=1e-4, atol=1e-4)
    report = convert_file(tmp_path / "grey.ckpt", None, tmp_path / "back.ckpt", in_channels=3)
    assert "takes 1 channel in the file: repeated for 3 and scaled by 1/3" in report.lines()[-1]
    assert len(open_file(tmp_path / "back.ckpt").described["preprocessing"]["std"]) == 3
    back = create_model("tiny", pretrained=str(tmp_path / "back.ckpt"))
    np.testing.assert_allclose(_logits(back, np.repeat(grey, 3, 1)), wanted, rtol=1e-4, atol=1e-4)


def test_channels_as_timm_has_them():
    value = np.arange(12, dtype=np.float16).reshape(2, 3, 1, 2)
    np.testing.assert_array_equal(other_channels(value, (2, 1, 1, 2)), value.sum(1, keepdims=True, dtype=np.float32))
    four = other_channels(value, (2, 4, 1, 2))
    np.testing.assert_array_equal(four, value[:, [0, 1, 2, 0]].astype(np.float32) * 0.75)
    for shape in ((2, 3, 1, 2), (3, 1, 1, 2), (2, 1, 2, 2), (2, 1)):
        assert other_channels(value, shape) is None
    assert other_channels(np.zeros((2, 5, 1, 1), np.float32), (2, 1, 1, 1)) is None


# --- another network -------------------------------------------------------------------------------------------------


def test_network_that_a_file_fits_is_proposed(tmp_path):
    state = torch_state(create_model("tf_efficientnet_lite0"))
    for given, source in (("efficientnet_lite0", state), ("ghostnet_050", _renamed(state, "module."))):
        path = _saved(tmp_path / "a.pth", source)
        with pytest.raises(ValueError, match="all of its entries fit tf_efficientnet_lite0: name that model"):
            load_weights(create_model(given), path)
    broken = dict(state)
    broken.pop(next(iter(broken)))
    path = _saved(tmp_path / "a.pth", broken)
    with pytest.raises(ValueError, match="missing _conv_stem.weight; unexpected nothing$"):
        load_weights(create_model("tf_efficientnet_lite0"), path)


def test_our_own_file_of_another_network_is_proposed_too(tmp_path):
    net = create_model("tinynet_e", num_classes=7)
    ms.save_checkpoint(net, str(tmp_path / "a.ckpt"))
    with pytest.raises(ValueError, match="parameters of GhostNet: .*; all of its entries fit tinynet_e"):
        load_weights(create_model("ghostnet_050"), tmp_path / "a.ckpt")


@pytest.mark.parametrize("asked, first", [
    ("ghostnet", "ghostnet_100"), ("resnet", "resnet50"), ("tnt_s", "tnt_s_patch16_224"),
    ("mobilenetv3", "mobilenetv3_large_100"), ("mobilenet_v3_small", "mobilenetv3_small_100"),
    ("shufflenet_v2_x1_0", "shufflenetv2_x1_0"), ("GhostNet-100", "ghostnet_100"), ("vanillanet", "vanillanet_5"),
    ("efficientnet", "efficientnet_b0"), ("lite0", "efficientnet_lite0"), ("resnet50d", "resnet50"),
    ("gostnet_100", "ghostnet_100"), ("ghostnetv2", "ghostnetv2_100"), ("vig", "vig_b")])
def test_nearest_names(asked, first):
    assert nearest(asked)[0] == first
    with pytest.raises(ValueError, match=f"no model '{re.escape(asked)}'; the nearest are {first}"):
        create_model(asked)


def test_names_that_nothing_is_near():
    assert nearest("") == nearest("qqqq") == []
    with pytest.raises(ValueError, match=r"no model '\\x1b\[31m' \("):
        create_model("\x1b[31m")


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value, reason", [
    (np.full(4, np.nan, np.float32), "no finite numbers"), (np.full(4, np.inf, np.float32), "no finite numbers")])
def test_values_that_no_training_gives(value, reason, state, tmp_path):
    path, net = _saved(tmp_path / "a.pth", {**state, "head.bias": value}), create_model("tiny")
    before = net.stem[0].weight.asnumpy().copy()
    with pytest.raises(ValueError, match=f"head.bias holds values that are {reason}"):
        load_weights(net, path)
    np.testing.assert_array_equal(net.stem[0].weight.asnumpy(), before)


def test_names_of_a_file_reach_the_terminal_in_print(state, tmp_path):
    path = _saved(tmp_path / "a.pth", {**state, "\x1b[2J[red]": state["head.bias"]})
    with pytest.raises(ValueError) as caught:
        load_weights(create_model("tiny"), path)
    assert r"unexpected \x1b[2J[red]" in str(caught.value) and "\x1b" not in str(caught.value)
    path = _saved(tmp_path / "b.pth", {"\x1b[2J": {"a": state["head.bias"]}})
    with pytest.raises(ValueError) as caught:
        load_weights(create_model("tiny"), path)
    assert "\x1b" not in str(caught.value)
