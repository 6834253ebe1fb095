"""Whole small runs of recipes on a network of a few hundred weights."""
import csv
import dataclasses

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from ghost_ms.checkpoints.checkpoint import read_checkpoint, restore, save_checkpoint
from ghost_ms.config import Config, DataConfig, ModelConfig, RunConfig
from ghost_ms.config import (DistillConfig, EmaConfig, LossConfig, OptimizerConfig, PrecisionConfig, ScheduleConfig,
                             TrainConfig)
from ghost_ms.deploy.export import export_mindir
from ghost_ms.layers.drop import DropPath
from ghost_ms.runtime.signature import ExportSignature
from ghost_ms.surgery.replayable_dropout import StepDropout, make_restorable
from ghost_ms.models.backbones.vanillanet import slope_of
from ghost_ms.tasks.registry import create_task
from ghost_ms.training.fit import describe, fit
from ghost_ms.training.precision import mixed, synchronize_batch_norm
from tests.tiny import Tiny, registered


@pytest.fixture(autouse=True)
def tiny_models():
    with registered():
        yield


def _recipe(folder, model="tiny", epochs=2, mode="graph", **sections):
    args, training = sections.pop("args", {}), sections.pop("training", {})
    return Config(
        model=ModelConfig(model, args=args, training=training),
        data=DataConfig("synthetic", batch_size=8, eval_batch_size=16, input_size=(16, 16), synthetic_size=32,
                        synthetic_classes=4, workers=1, crop_ratio=1.0),
        train=TrainConfig(**{"epochs": epochs, **sections.pop("train", {})}),
        run=RunConfig(dir=str(folder), device="CPU", mode=mode), **sections)


def _state(folder, name="last"):
    values, _ = read_checkpoint(str(folder / "checkpoints" / f"{name}.ckpt"))
    return {key: value.asnumpy() for key, value in values.items()}


def _teacher(folder):
    """A checkpoint of an untrained tiny network."""

    recipe = _recipe(folder)
    task = create_task("classification")
    description = describe(recipe, task, task.open(recipe.data, "train"))
    net = description.build()
    save_checkpoint(net, str(folder / "teacher.ckpt"), description)
    return net, description


@pytest.mark.parametrize("mode", ["graph", "pynative"])
def test_everything_at_once(mode, tmp_path, capsys):
    """LAMB, binary cross-entropy, accumulation, running means, a teacher, clipping and noise in one recipe."""
    _teacher(tmp_path)
    best = fit(_recipe(
        tmp_path / "run", mode=mode, train=dict(accumulate=2, restorable_masks=True), args=dict(drop_rate=0.2),
        loss=LossConfig("binary_cross_entropy", label_smoothing=0.1), ema=EmaConfig(0.9),
        optimizer=OptimizerConfig("lamb", lr=5e-3, base_batch=8, clip_norm=1.0, layer_decay=0.8, weight_decay=0.05),
        schedule=ScheduleConfig("polynomial", noise=[0.0, 1.0]), distill=DistillConfig(str(tmp_path / "teacher.ckpt"))))
    rows = list(csv.DictReader(open(tmp_path / "run" / "metrics.csv")))
    assert [row["epoch"] for row in rows] == ["1", "2"] and {"ema_loss", "ema_top1", "ema_top5"} <= set(rows[0])
    assert best["epoch"] in (1, 2) and "with EMA weights" in capsys.readouterr().out
    state = _state(tmp_path / "run")
    assert state["clock"] == 8 and state["global_step"] == 4 and state["micro_step"] == 0
    assert {"ema", "ema_updates", "moment1.0", "moment2.0", "accumulated.head.weight"} <= set(state)
    assert not any(name.startswith("teacher.") for name in state)
    assert set(_state(tmp_path / "run", "best")) == set(Tiny().parameters_dict())
    restore(str(tmp_path / "run" / "checkpoints" / "best.ckpt"))


def test_an_exported_teacher_teaches_as_its_checkpoint(tmp_path):
    net, description = _teacher(tmp_path)
    export_mindir(net, description, str(tmp_path / "teacher.mindir"), 1)
    losses = []
    for kind in ("ckpt", "mindir"):
        losses.append(fit(_recipe(tmp_path / kind, epochs=1, distill=DistillConfig(
            str(tmp_path / f"teacher.{kind}"), temperature=2.0)))["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] != pytest.approx(fit(_recipe(tmp_path / "none", epochs=1))["train_loss"], rel=1e-3)
    with pytest.raises(ValueError, match="features needs a teacher whose feature map"):
        fit(_recipe(tmp_path / "x", distill=DistillConfig(str(tmp_path / "teacher.mindir"), method="features")))
    other = dataclasses.replace(description, args={**description.args, "num_classes": 9})
    save_checkpoint(other.build(), str(tmp_path / "other.ckpt"), other)
    with pytest.raises(ValueError, match="knows 9 classes and the student 4"):
        fit(_recipe(tmp_path / "x", distill=DistillConfig(str(tmp_path / "other.ckpt"))))
    export_mindir(net, description, str(tmp_path / "soft.mindir"), 1, ExportSignature(softmax=True))
    with pytest.raises(ValueError, match="exported with --softmax"):
        fit(_recipe(tmp_path / "x", distill=DistillConfig(str(tmp_path / "soft.mindir"))))


def test_the_activations_become_linear(tmp_path):
    best = fit(_recipe(tmp_path, "tiny_vanilla", epochs=4, training=dict(activation_epochs=2),
                       optimizer=OptimizerConfig("adamw", lr=1e-3)))
    rows = list(csv.DictReader(open(tmp_path / "metrics.csv")))
    assert [float(row["activation_slope"]) for row in rows] == [0, 0.5, 1, 1]
    assert best["epoch"] >= 3
    net, _ = restore(str(tmp_path / "checkpoints" / "best.ckpt"))
    net.reparameterize()
    assert slope_of(1, 4, "cosine") == pytest.approx(
        (1 - np.cos(np.pi / 4)) / 2)
    with pytest.raises(ValueError, match="at least one epoch must follow"):
        fit(_recipe(tmp_path, "tiny_vanilla", epochs=2, training=dict(activation_epochs=2)))
    with pytest.raises(ValueError, match="a Tiny takes nothing there"):
        fit(_recipe(tmp_path, training=dict(activation_epochs=1)))


def test_a_diverging_run_stops_before_its_checkpoint(tmp_path):
    wild = dict(optimizer=OptimizerConfig(lr=1e25), schedule=ScheduleConfig("constant"))
    words = r"not finite at step \d of epoch 1.* .image \d+, .* and 4 more.; the learning rate was 1e\+25.*on_nan skip"
    with pytest.raises(ValueError, match=words):
        fit(_recipe(tmp_path, **wild))
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()
    with pytest.raises(ValueError, match=r"3 steps in a row.*raise train.max_skipped"):
        fit(_recipe(tmp_path, train=dict(on_nan="skip", max_skipped=2), **wild))


def test_restorable_masks_give_the_same_bits_twice(tmp_path):
    """The masks of `nn.Dropout` come of a state inside its kernel, which a second run in one process goes on with."""
    states = []
    for name in ("a", "b"):
        fit(_recipe(tmp_path / name, train=dict(restorable_masks=True), epochs=1,
                    args=dict(drop_rate=0.3, drop_path_rate=0.3)))
        states.append(_state(tmp_path / name))
    for name, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][name], err_msg=name)


def test_masks_are_a_function_of_the_step(graph):
    clock = Parameter(Tensor(5, ms.int32), name="clock")
    net = nn.SequentialCell(nn.Dropout(p=0.25), nn.Dropout(p=0.25), DropPath(0.5), nn.Dropout(p=0.0))
    assert make_restorable(net, clock, 1) == 3
    drop = net[0].set_train()
    x = Tensor(np.ones((64, 1000), np.float32))
    first = drop(x).asnumpy()
    assert set(np.unique(first)) == {np.float32(0), np.float32(1) * np.float32(1 / 0.75)}
    assert (first == 0).mean() == pytest.approx(0.25, abs=0.006)
    np.testing.assert_array_equal(drop(x).asnumpy(), first)
    other = net[1].set_train()(x).asnumpy()
    clock.set_data(Tensor(6, ms.int32))
    later = drop(x).asnumpy()
    for mask in (other, later):
        # Independent masks agree where both keep or both drop: 0.75 ** 2 + 0.25 ** 2.
        assert ((mask == 0) == (first == 0)).mean() == pytest.approx(0.625, abs=0.01)
    clock.set_data(Tensor(5, ms.int32))
    np.testing.assert_array_equal(drop(x).asnumpy(), first)
    np.testing.assert_array_equal(drop.set_train(False)(x).asnumpy(), x.asnumpy())


def test_the_hash_is_what_it_is_said_to_be():
    clock = Parameter(Tensor(7, ms.int32), name="clock")
    with np.errstate(over="ignore"):
        h = np.arange(100, dtype=np.uint32) * np.uint32(2654435769) + np.uint32((3 * 2246822519) & 0xFFFFFFFF)
        h = h + np.uint32(7) * np.uint32(0x9E3779B1)
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x21F0AAAD)
        h = (h ^ (h >> np.uint32(15))) * np.uint32(0x735A2D97)
        h = h ^ (h >> np.uint32(15))
    np.testing.assert_array_equal(StepDropout(0.5, clock, 3).uniform(100).asnumpy(), (h >> np.uint32(8)) / 2.0 ** 24)


@pytest.mark.parametrize("level,dynamic", [("O2", True), ("O3", False), ("auto", True)])
def test_mixed_precision_trains(level, dynamic, tmp_path):
    fit(_recipe(tmp_path, precision=PrecisionConfig(level, loss_scale=1024, dynamic=dynamic), epochs=3,
                optimizer=OptimizerConfig(lr=0.05)))
    rows = list(csv.DictReader(open(tmp_path / "metrics.csv")))
    assert float(rows[2]["train_loss"]) < float(rows[0]["train_loss"])
    state = _state(tmp_path)
    assert state["loss_scale"] == 1024 and ("loss_scale_counter" in state) == dynamic
    assert state["head.weight"].dtype == np.float32


def test_lower_precision_is_used():
    net = Tiny().set_train(False)
    x = Tensor(np.random.default_rng(0).standard_normal((2, 3, 16, 16)), ms.float32)
    full = net(x).asnumpy()
    half = mixed(net, PrecisionConfig("O2"))(x).asnumpy()
    assert half.dtype == np.float32 and 1e-6 < abs(half - full).max() < 1e-2


@pytest.mark.parametrize("precision,words", [
    (dict(level="O2", dtype="bfloat16"), "bfloat16 needs an Ascend or a GPU"),
    (dict(sync_batchnorm=True), "sync_batchnorm needs an Ascend or a GPU")])
def test_what_a_cpu_cannot_do(precision, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        fit(_recipe(tmp_path, precision=PrecisionConfig(**precision)))


def test_synchronized_batch_norm_is_the_same_on_one_device():
    net = Tiny()
    net.stem[1].moving_mean.set_data(Tensor(np.linspace(-1, 1, 8), ms.float32))
    names = list(net.parameters_dict())
    x = Tensor(np.random.default_rng(0).standard_normal((2, 3, 16, 16)), ms.float32)
    before = net.set_train(False)(x).asnumpy()
    assert synchronize_batch_norm(net) == 2 and isinstance(net.stem[1], nn.SyncBatchNorm)
    assert list(net.parameters_dict()) == names
    np.testing.assert_allclose(net(x).asnumpy(), before, atol=1e-6)


def test_frozen_stages_stay_as_they_are(tmp_path):
    recipe = _recipe(tmp_path, epochs=1)
    recipe.model.freeze = 1
    fit(recipe)
    state, start = _state(tmp_path), Tiny()
    np.testing.assert_array_equal(state["stem.1.moving_mean"], np.zeros(8))
    np.testing.assert_array_equal(state["stem.1.gamma"], start.stem[1].gamma.asnumpy())
    assert (state["stage.1.gamma"] != 1).all() and (state["stage.1.moving_mean"] != 0).any()
    assert not any("stem.0.weight" in name for name in state if name != "stem.0.weight")
