"""Schedule, optimizer, the compiled step, checkpoints, and a whole small run."""
import csv
import os

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms import create_model
from ghost_ms.checkpoints.checkpoint import load_weights, read_checkpoint, restore, save_checkpoint
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import Config, DataConfig, ModelConfig, OptimizerConfig, RunConfig, ScheduleConfig, TrainConfig
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.tasks.base import NotFinite
from ghost_ms.tasks.classification.evaluate import TopEvaluator
from ghost_ms.tasks.classification.loss import LabelCriterion
from ghost_ms.training.fit import fit
from ghost_ms.training.optimizer import create_optimizer
from ghost_ms.training.step import TrainStep
from tests.tiny import registered


class Linear(nn.Cell):
    """(B, 1, 1, 3) to two logits; small enough to compute by hand."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Dense(3, 2)

    def construct(self, x):
        return self.fc(x.flatten(start_dim=1))


def preprocessing_of_size(size):
    return Preprocessing(size, 3, (0.5,) * 3, (0.5,) * 3, 1.0, "bilinear")


def _description(name="ghostnet_050", **args):
    spec = preprocessing_of_size((32, 32))
    return ModelSpec(name, {"num_classes": 4, "in_channels": 3, **args}, ["a", "b", "c", "d"], spec, {"epoch": 3})


@pytest.mark.parametrize("nesterov", [False, True])
def test_steps_equal_sgd_by_hand(nesterov, graph):
    """Three steps against the formulas of PyTorch's SGD; weights decay, biases do not."""
    net = Linear()
    weight, bias = net.fc.weight.asnumpy().astype(np.float64), net.fc.bias.asnumpy().astype(np.float64)
    rates = [0.5, 0.3, 0.2]
    options = OptimizerConfig(momentum=0.9, nesterov=nesterov, weight_decay=0.1)
    step = TrainStep(net, LabelCriterion(nn.CrossEntropyLoss(label_smoothing=0.1)),
                     create_optimizer(net, options, rates)).set_train()
    velocity = [0.0, 0.0]
    draw = np.random.default_rng(0)
    for index, rate in enumerate(rates):
        x, y = draw.standard_normal((4, 1, 1, 3)).astype(np.float32), draw.integers(0, 2, 4)
        loss, (correct,) = step(ms.Tensor(x), ms.Tensor(y, ms.int32))
        flat = x.reshape(4, 3).astype(np.float64)
        logits = flat @ weight.T + bias
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        target = 0.9 * np.eye(2)[y] + 0.05
        assert float(loss.asnumpy()) == pytest.approx(-(target * np.log(p)).sum() / 4, rel=1e-5)
        assert int(correct.asnumpy()) == (logits.argmax(1) == y).sum()
        gradients = [(p - target).T @ flat / 4 + 0.1 * weight, (p - target).sum(0) / 4]
        velocity = [g if index == 0 else 0.9 * v + g for v, g in zip(velocity, gradients)]
        moves = [g + 0.9 * v if nesterov else v for v, g in zip(velocity, gradients)]
        weight, bias = weight - rate * moves[0], bias - rate * moves[1]
        np.testing.assert_allclose(net.fc.weight.asnumpy(), weight, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(net.fc.bias.asnumpy(), bias, rtol=1e-5, atol=1e-6)


def test_parameter_names_survive_the_step():
    net = create_model("ghostnet_050", num_classes=4)
    names = list(net.parameters_dict())
    TrainStep(net, LabelCriterion(nn.CrossEntropyLoss()), create_optimizer(net, OptimizerConfig(), [0.1]))
    assert list(net.parameters_dict()) == names


def test_evaluate_counts_each_image_once():
    logits = np.array([[3, 2, 1, 0, -1, -2, -3], [0, 1, 2, 3, 4, 5, 6], [0, 9, 0, 0, 0, 0, 0], [7, 0, 0, 0, 0, 0, 1]],
                      np.float32)

    labels = np.array([0, 1, 1])
    padded = np.concatenate([logits[2:3], logits[3:]])
    result = _evaluated([(logits[:2], labels[:2]), (padded, labels[2:])])
    assert result["images"] == 3
    assert result["top1"] == pytest.approx(200 / 3) and result["top5"] == pytest.approx(200 / 3)
    losses = [np.log(np.exp(row - row[label]).sum()) for row, label in zip(logits.astype(float), labels)]
    assert result["loss"] == pytest.approx(np.mean(losses), rel=1e-6)


def _evaluated(batches, total=list, **more):
    """What is measured of logits and labels."""
    evaluator = TopEvaluator(**more)
    for logits, labels in batches:
        evaluator.update([logits], [labels])
    return evaluator.compute(total)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_no_numbers_are_an_error_that_names_the_images(value):
    """Not an answer of class 0, and not a loss of nan."""
    logits = np.zeros((5, 4), np.float32)
    logits[2, 1] = logits[4, 3] = value
    batches = [(logits[:3], np.zeros(3, int)), (logits[3:], np.zeros(2, int))]
    with pytest.raises(NotFinite, match=r"for 2 of 5 test images are not finite \(c\\x1b.jpg, e\\x1b.jpg\)"):
        _evaluated(batches, name=lambda index: f"{'abcde'[index]}\x1b.jpg")
    # The process that has seen them is another one.
    with pytest.raises(NotFinite, match="for 7 of 20 test images are not finite:"):
        _evaluated([(np.zeros((3, 4), np.float32), np.zeros(3, int))], total=lambda sums: [20, 3, 3, 1.0, 7.0])


def test_checkpoint_round_trip(tmp_path):
    path = str(tmp_path / "a.ckpt")
    description = _description(stem_stride=1)
    net = description.build().set_train(False)
    save_checkpoint(net, path, description)
    again, told = restore(path)
    assert told == description and os.listdir(tmp_path) == ["a.ckpt"]
    x = ms.Tensor(np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32))
    np.testing.assert_array_equal(again(x).asnumpy(), net(x).asnumpy())


@pytest.mark.parametrize("keep", [0, 10, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(keep, tmp_path):
    path = tmp_path / "a.ckpt"
    save_checkpoint(_description().build(), str(path), _description())
    content = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(content[:keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(ValueError, match="not a valid checkpoint|not a checkpoint of|does not say"):
        restore(str(path))


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "a.ckpt"
    save_checkpoint(_description().build(), str(path), _description())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.chmod(0o600)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a valid checkpoint"):
        read_checkpoint(str(path))


def test_a_checkpoint_of_another_network_is_refused_and_nothing_is_loaded(tmp_path):
    path = str(tmp_path / "a.ckpt")
    save_checkpoint(create_model("ghostnet_050", num_classes=4), path, _description())
    net = create_model("ghostnet_100", num_classes=4)
    before = net.conv_stem.weight.asnumpy().copy()
    with pytest.raises(ValueError, match="not a checkpoint of this GhostNet"):
        load_weights(net, read_checkpoint(path)[0], path)
    np.testing.assert_array_equal(net.conv_stem.weight.asnumpy(), before)


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = str(tmp_path / "a.ckpt")
    net = create_model("ghostnet_050", num_classes=4)
    save_checkpoint(net, path, _description())
    before = open(path, "rb").read()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="cannot write the checkpoint .*No space left"):
        save_checkpoint(net, path, _description())
    assert open(path, "rb").read() == before and os.listdir(tmp_path) == ["a.ckpt"]


@pytest.fixture
def tiny():
    with registered():
        yield


def _small_run(folder, **train):
    return Config(
        model=ModelConfig("tiny"), data=DataConfig("synthetic", batch_size=16, eval_batch_size=40, input_size=(32, 32),
                                             synthetic_size=64, synthetic_classes=4, workers=1, crop_ratio=1.0),
        optimizer=OptimizerConfig(lr=0.05), schedule=ScheduleConfig(warmup_epochs=0.5),
        train=TrainConfig(**{"epochs": 2, "log_every": 2, **train}),
        run=RunConfig(dir=str(folder), device="CPU"))


@pytest.mark.usefixtures("tiny")
def test_a_run_learns_and_leaves_what_it_promises(tmp_path, capsys):
    recipe = _small_run(tmp_path / "run", epochs=8)
    recipe.optimizer.lr = 0.2
    best = fit(recipe)
    folder = tmp_path / "run"
    assert sorted(os.listdir(folder)) == ["checkpoints", "config.yaml", "curves.png", "log.txt", "metrics.csv"]
    assert sorted(os.listdir(folder / "checkpoints")) == ["best.ckpt", "last.ckpt", "step-00000028.ckpt",
                                                          "step-00000032.ckpt"]
    # A second name, not a second file.
    assert os.path.samefile(folder / "checkpoints" / "last.ckpt", folder / "checkpoints" / "step-00000032.ckpt")
    rows = list(csv.DictReader(open(folder / "metrics.csv")))
    assert len(rows) == 8 and float(rows[-1]["train_loss"]) < 0.7 * float(rows[0]["train_loss"])
    assert max(float(row["test_top1"]) for row in rows) == best["test_top1"]
    for row in rows:
        assert 0 < float(row["data_wait"]) < 100 and float(row["peak_mb"]) > 100
        # 64 training images, and the evaluation after them.
        assert float(row["seconds"]) > 64 / float(row["images_per_second"]) > 0
    assert float(rows[0]["lr"]) > float(rows[-1]["lr"]) >= 0
    printed = capsys.readouterr().out
    assert "epoch 8/8" in printed and "images/s" in printed and "left" in printed
    assert printed == (folder / "log.txt").read_text()
    assert (folder / "curves.png").read_bytes()[:4] == b"\x89PNG"
    _, told = restore(str(folder / "checkpoints" / "best.ckpt"))
    assert told.metrics["epoch"] == best["epoch"] and told.classes == [f"class {i}" for i in range(4)]


@pytest.mark.usefixtures("tiny")
def test_the_same_seed_gives_the_same_bits(tmp_path):
    values = []
    for name in ("a", "b"):
        recipe = _small_run(tmp_path / name, epochs=1)
        recipe.model.args = {"drop_rate": 0.2, "drop_path_rate": 0.2}
        fit(recipe)
        values.append(read_checkpoint(str(tmp_path / name / "checkpoints" / "last.ckpt"))[0])
    for name in values[0]:
        np.testing.assert_array_equal(values[0][name].asnumpy(), values[1][name].asnumpy(), err_msg=name)
