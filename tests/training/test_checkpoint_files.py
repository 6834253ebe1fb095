"""What a checkpoint says of itself is plain data within limits, whoever wrote it."""
import dataclasses
import json
import math

import mindspore as ms
import numpy as np
import pytest

from ghost_ms.checkpoints import checkpoint
from ghost_ms.checkpoints.checkpoint import read_checkpoint, read_state, restore, save_checkpoint
from ghost_ms.checkpoints.manager import CheckpointManager
from ghost_ms.checkpoints.resolve import resolve
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.training.resume import TrainerState, _read
from ghost_ms.weights import ckpt_file, described
from tests.deploy.test_export import _description
from tests.tiny import registered


@pytest.fixture(autouse=True)
def tiny_models():
    with registered():
        yield


@pytest.fixture
def path(tmp_path):
    description = _description("tiny", (32, 32))
    save_checkpoint(description.build(), str(tmp_path / "a.ckpt"), description)
    return str(tmp_path / "a.ckpt")


def _rewrite(path, change=None, arrays=None, **texts):
    """The same checkpoint after `change` of its description's fields, with other arrays or texts."""
    old, own = ckpt_file.read(path)
    old = {name: array.copy() for name, array in old.items()}
    values = json.loads(own["ghost_ms"])
    if change is not None:
        change(values)
    ckpt_file.write(path, {**old, **(arrays or {})}.items(), {"ghost_ms": json.dumps(values), **texts})


@pytest.mark.parametrize("change, reason", [
    (lambda v: v.pop("model"), "no proper model"), (lambda v: v.update(model=3), "no proper model"),
    (lambda v: v.update(model=""), "no proper model"), (lambda v: v.update(model="x" * 2000), "no proper model"),
    (lambda v: v.update(args=[]), "no proper args"), (lambda v: v.update(classes=3), "no proper classes"),
    (lambda v: v.update(classes=["a", 3]), "its classes hold a name that is no text"),
    (lambda v: v.update(classes=["a" * 2000]), "its classes hold a name"),
    (lambda v: v.update(metrics=[1]), "no proper metrics"),
    (lambda v: v.update(metrics={"a": "1"}), "'a', which is no"),
    (lambda v: v.update(metrics={"a": True}), "which is no number"),
    (lambda v: v.update(exits=[]), "holds 'exits', which this version does not know"),
    (lambda v: v.update({"\x1b[2J": 1}), r"\\x1b\[2J"),
    (lambda v: v["args"].update(x=math.nan), "a number that is not finite"),
    (lambda v: v["args"].update(x=[1] * 2000), "more than 1000 values"),
    (lambda v: v["args"].pop("num_classes"), "how many classes"),
    (lambda v: v["args"].update(num_classes="4"), "how many classes"),
    (lambda v: v["preprocessing"].pop("std"), "preprocessing lacks std"),
    (lambda v: v["preprocessing"].update(std=[0, 0, 0]), "preprocessing.std is"),
    (lambda v: v["preprocessing"].update(later=1), "'later', which this version does not know")])
def test_a_description_that_cannot_be_is_one_sentence(change, reason, path):
    _rewrite(path, change)
    with pytest.raises(ValueError, match=f"^'.*a.ckpt' cannot be used: .*{reason}") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100000, '{"model": "tiny", "model": "tiny"}'])
def test_a_description_that_is_no_description(text, path):
    arrays, _ = ckpt_file.read(path)
    arrays = {name: array.copy() for name, array in arrays.items()}
    ckpt_file.write(path, arrays.items(), {"ghost_ms": text})
    with pytest.raises(ValueError, match="^'.*a.ckpt' cannot be used: "):
        read_checkpoint(path)


def test_a_safetensors_file_is_held_to_the_same(tmp_path):
    from safetensors.numpy import save_file

    arrays, good = {"w": np.ones(2, np.float32)}, json.loads(_description("tiny", (32, 32)).to_json())
    for text in ("{", json.dumps({**good, "classes": 3})):
        save_file(arrays, tmp_path / "a.safetensors", {"ghost_ms": text})
        with pytest.raises(ValueError, match="^'.*a.safetensors' cannot be used: "):
            read_checkpoint(str(tmp_path / "a.safetensors"))


@pytest.mark.parametrize("change, reason", [
    (lambda v: v.update(model="nothing"), "there is no model 'nothing'"),
    (lambda v: v["args"].update(num_classes=10 ** 9), "the argument 1000000000, but the largest extent"),
    (lambda v: v["args"].update(drop_rate=[{"a": -10 ** 7}]), "the argument -10000000"),
    (lambda v: v["args"].update(class_path="subprocess.Popen"), "class_path"),
    (lambda v: v["args"].update(pretrained="x.pth"), "pretrained"), (lambda v: v["args"].update(name="x"), "name"),
    (lambda v: v["args"].update(in_channels="three"), ""), (lambda v: v["args"].update(in_channels=0), "")])
def test_a_network_that_cannot_be_built_is_one_sentence(change, reason, path):
    _rewrite(path, change)
    for use in (restore, lambda path: resolve(None, None, path, "")):
        with pytest.raises(ValueError, match=f"^cannot build the network of '.*a.ckpt': .*{reason}") as caught:
            use(path)
        assert "\n" not in str(caught.value)


def _peak_mb():
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1e3


def test_nothing_is_allocated_for_weights_that_the_file_does_not_have(path, monkeypatch):
    """The classifier asked for would take 6.4 GB."""
    _rewrite(path, lambda v: v["args"].update(num_classes=2 * 10 ** 8))
    monkeypatch.setattr(described, "check_sizes", lambda *_: None)
    before = _peak_mb()
    for use in (restore, lambda path: resolve(None, None, path, "")):
        with pytest.raises(ValueError, match="head.weight has the shape .10, 8. .*of another shape"):
            use(path)
    assert _peak_mb() < before + 500


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_refused_for_use(value, path):
    head = ckpt_file.read(path)[0]["head.weight"].copy()
    head[1, 2] = value
    _rewrite(path, arrays={"head.weight": head})
    for use in (restore, lambda path: resolve(None, None, path, "")):
        with pytest.raises(ValueError, match=r"not finite, first in head.weight \(1 of 80\)"):
            use(path)


def test_a_metric_that_is_no_number_is_none(path, tmp_path):
    description = dataclasses.replace(_description("tiny", (32, 32)), metrics={"epoch": 1, "train_loss": math.nan})
    save_checkpoint(description.build(), str(tmp_path / "b.ckpt"), description)
    assert "NaN" not in ckpt_file.read(tmp_path / "b.ckpt")[1]["ghost_ms"]
    # Earlier versions wrote what JSON does not have.
    _rewrite(path, lambda v: v.update(metrics={"epoch": 1, "train_loss": math.nan, "top1": -math.inf}))
    assert "NaN" in ckpt_file.read(path)[1]["ghost_ms"]
    for file, metrics in ((str(tmp_path / "b.ckpt"), {"epoch": 1, "train_loss": None}),
                          (path, {"epoch": 1, "train_loss": None, "top1": None})):
        assert restore(file)[1].metrics == metrics


def test_the_slope_of_half_linear_activations_is_honoured_wherever_the_network_is_used(tmp_path):
    description = dataclasses.replace(_description("tiny_vanilla", (32, 32)), metrics={"activation_slope": 0.25})
    net = description.build().set_train(False)
    net.set_activation_slope(0.25)
    path, images = str(tmp_path / "a.ckpt"), ms.Tensor(np.random.default_rng(0).standard_normal((1, 3, 32, 32)),
                                                      ms.float32)
    save_checkpoint(net, path, description)
    for again, _ in (restore(path), resolve(None, None, path, "")):
        np.testing.assert_allclose(again(images).asnumpy(), net(images).asnumpy(), rtol=1e-6)
    # And of a network that has none it is a number like any other.
    other = dataclasses.replace(_description("tiny", (32, 32)), metrics={"activation_slope": 0.25})
    save_checkpoint(other.build(), path, other)
    restore(path)


GOOD = TrainerState(1, 1, 0.5, 0.25, [{"epoch": 1, "test_top1": 50.0, "train_loss": 0.5}], {"train.epochs": 3}, 1, 40)


def test_progress_is_what_it_was(path):
    _rewrite(path, ghost_ms_progress=GOOD.to_json())
    assert _read(path).progress.to_json() == GOOD.to_json()


@pytest.mark.parametrize("changes, reason", [
    (dict(epoch=-1), "no proper epoch"), (dict(epoch=1.0), "no proper epoch"), (dict(epoch=2 ** 40), "no proper epoch"),
    (dict(step=None), "no proper step"), (dict(step=True), "no proper step"), (dict(seconds="1"), "no proper seconds"),
    (dict(seconds=math.nan), "no proper seconds"), (dict(waited=math.inf), "no proper waited"),
    (dict(rows={}), "no proper rows"), (dict(rows=[1]), "no proper rows"), (dict(rows=[{}]), "no proper rows"),
    (dict(rows=[{"epoch": 1, "a": "b"}]), "no proper rows"), (dict(recipe=[]), "no proper recipe"),
    (dict(recipe={}), "no proper recipe"), (dict(recipe={"train.epochs": 10 ** 9}), "no proper recipe"),
    (dict(ranks=0), "no proper ranks"), (dict(images=-3), "no proper images"),
    (dict(__class__="x"), "holds '__class__', which this version does not know"),
    (dict(later=1), "holds 'later', which this version does not know")])
def test_progress_that_cannot_be_is_one_sentence(changes, reason, path):
    _rewrite(path, ghost_ms_progress=json.dumps({**dataclasses.asdict(GOOD), **changes}))
    with pytest.raises(ValueError, match=f"^'.*a.ckpt' cannot be resumed from: .*{reason}"):
        _read(path)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 10 ** 5])
def test_progress_that_is_no_progress(text, path):
    _rewrite(path, ghost_ms_progress=text)
    with pytest.raises(ValueError, match="^'.*a.ckpt' cannot be resumed from: "):
        _read(path)


def test_a_state_holds_the_same_bits_as_ever(tmp_path):
    """A file as MindSpore wrote it for earlier versions: with and without a checksum, ranks' own values beside."""
    description = _description("tiny", (32, 32))
    parameters = {"w": ms.Parameter(ms.Tensor(np.random.default_rng(0).standard_normal((3, 4)), ms.float32)),
                  "ranks.w": ms.Parameter(ms.Tensor(np.arange(24).reshape(2, 3, 4), ms.float32)),
                  "clock": ms.Parameter(ms.Tensor(7, ms.int32))}
    for check in (True, False):
        path = str(tmp_path / f"{check}.ckpt")
        ms.save_checkpoint([{"name": name, "data": value} for name, value in parameters.items()], path, crc_check=check,
                           append_dict={"ghost_ms": description.to_json(), "ghost_ms_progress": GOOD.to_json()})
        values, told, progress = read_state(path)
        assert told == description and progress == GOOD.to_json() and list(values) == list(parameters)
        for name, value in parameters.items():
            assert values[name].dtype == value.dtype and values[name].shape == value.shape and values[name].name == name
            assert values[name].asnumpy().tobytes() == value.asnumpy().tobytes()
            assert values[name].asnumpy().tobytes() == ms.load_checkpoint(path)[name].asnumpy().tobytes()


def test_half_written_states_are_removed(tmp_path):
    (tmp_path / ".writing-0123.ckpt").write_bytes(b"half")
    (tmp_path / "step-00000001.ckpt").write_bytes(b"whole")
    CheckpointManager(str(tmp_path), 3)
    assert [file.name for file in tmp_path.iterdir()] == ["step-00000001.ckpt"]


def test_a_description_that_is_given_overrides_the_files_own(path):
    given = dataclasses.replace(_description("tiny", (32, 32)), classes=["x"] * 10)
    assert restore(path, given)[1] is given
    assert isinstance(checkpoint.read_checkpoint(path)[1], ModelSpec)
