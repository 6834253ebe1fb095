"""Whatever happens in an evaluation, no step of the training is lost."""
import csv
import os
import signal

import mindspore as ms
import numpy as np
import pytest
from PIL import Image

from ghost_ms.checkpoints.checkpoint import read_checkpoint
from ghost_ms.checkpoints.manager import states_in
from ghost_ms.cli import main
from ghost_ms.config import EmaConfig
from ghost_ms.tasks.classification.evaluate import TopEvaluator
from ghost_ms.training import curves, loop
from ghost_ms.training.fit import fit
from tests.same import assert_same_runs
from tests.tiny import Tiny, registered
from tests.training.recipes import small


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch):
    monkeypatch.setattr(curves, "draw_curves", lambda *_: None)
    with registered():
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two epochs that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with registered(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "draw_curves", lambda *_: None)
        fit(_recipe(folder))
    return folder


def _recipe(folder, **train):
    recipe = small(folder, **{"epochs": 2, **train})
    recipe.ema = EmaConfig(0.5)
    return recipe


SAVED = (r"Nothing of the training is lost: {} is saved in '.*/checkpoints/last.ckpt', from where --train.resume auto "
         r"goes on")


@pytest.mark.parametrize("error, words", [
    (ValueError("val/cat/1.jpg cannot be read"), r"val/cat/1.jpg cannot be read\. " + SAVED),
    (OSError(5, "Input/output error", "val/cat/1.jpg"), r"Input/output error.*1.jpg'\. " + SAVED),
    (MemoryError(), "^$"), (RuntimeError("For 'Conv2D', memory isn't enough"), "isn't enough")])
def test_an_error_in_the_evaluation(error, words, whole, tmp_path, monkeypatch, capsys):
    """Of the running means in the second epoch, when the weights have been measured."""
    measure, calls = TopEvaluator.compute, []

    def fails(*args, **kwargs):
        calls.append(None)
        if len(calls) == 4:
            raise error
        return measure(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(TopEvaluator, "compute", fails)
        with pytest.raises(type(error), match=words.format("step 5 of epoch 2")):
            fit(_recipe(tmp_path))
    assert list(states_in(str(tmp_path / "checkpoints"))) == [5, 10]
    if not words.endswith("goes on"):
        # An error that main turns into a sentence of its own, or into the report of a bug.
        assert "Nothing of the training is lost: step 5 of epoch 2" in capsys.readouterr().out
    assert f"ended by an error: {type(error).__name__}: " in (tmp_path / "log.txt").read_text().splitlines()[-1]
    monkeypatch.setattr(loop.TrainStep, "__call__", None)
    fit(_recipe(tmp_path, resume="auto"))
    assert_same_runs(whole, tmp_path)


@pytest.mark.parametrize("when", ["evaluation", "best", "state"])
def test_a_kill_after_the_last_step_of_an_epoch_costs_no_step(when, whole, tmp_path, monkeypatch):
    class Killed(BaseException):
        """In the place of SIGKILL."""

    owner, name = {"evaluation": (TopEvaluator, "compute"), "best": (loop, "_save_best"),
                   "state": (loop.CheckpointManager, "save")}[when]
    real, calls = getattr(owner, name), []

    def killed(*args, **kwargs):
        calls.append(None)
        # Of the states, the second of the first epoch: that with its figures.
        if len(calls) == (2 if when == "state" else 1):
            raise Killed
        return real(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, name, killed)
        fit(_recipe(tmp_path))
    assert list(states_in(str(tmp_path / "checkpoints"))) == [5]
    fit(_recipe(tmp_path, resume="auto"))
    assert_same_runs(whole, tmp_path)


def test_an_unreadable_file_of_the_test_split(tmp_path, capsys):
    """The command says what is wrong, that all is saved, and how to go on; and goes on once it is mended."""
    draw = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for number in range(4):
                Image.fromarray(draw.integers(0, 256, (16, 16, 3), np.uint8)).save(
                    tmp_path / "data" / split / name / f"{number}.png")
    bad = tmp_path / "data" / "val" / "dog" / "3.png"
    content = bad.read_bytes()
    # Sound at both ends: no look at the header finds it.
    bad.write_bytes(content[:60] + bytes(len(content) - 80) + content[-20:])
    recipe = small(tmp_path / "run", data=dict(dataset="image_folder", root=str(tmp_path / "data"), batch_size=4))
    recipe.save(str(tmp_path / "recipe.yaml"))
    command = ["train", "--config", str(tmp_path / "recipe.yaml")]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "dog/3.png" in error and "Nothing of the training is lost: step 2 of epoch 1 is saved in" in error
    bad.write_bytes(content)
    assert main([*command, "--train.resume", "auto"]) == 0
    said = capsys.readouterr().out
    assert "step-00000002.ckpt', step 2 of epoch 1" in said and "epoch 1/1 1/2" not in said


@pytest.fixture
def spoiled(monkeypatch):
    """The network's outputs are not finite in evaluation, while `spoiled` holds anything."""
    on, forward = [True], Tiny.forward_head

    def head(self, x):
        logits = forward(self, x)
        return logits * ms.Tensor(np.nan, ms.float32) if on and not self.training else logits

    monkeypatch.setattr(Tiny, "forward_head", head)
    return on


def test_outputs_that_are_not_finite_stop_the_training(spoiled, tmp_path):
    words = (r"evaluation of the weights after epoch 1: the network's outputs for 40 of 40 test images are not finite "
             r"\(image 0, image 1, .* and 35 more\).*train.on_nan skip\. " + SAVED.format("step 5 of epoch 1"))
    with pytest.raises(ValueError, match=words):
        fit(_recipe(tmp_path))
    assert not (tmp_path / "checkpoints" / "best.ckpt").exists() and not (tmp_path / "metrics.csv").exists()


def test_or_make_an_epoch_without_figures_that_is_no_best(spoiled, tmp_path, monkeypatch, capsys):
    def heal(training, row):
        spoiled.clear()

    callback = loop.Callback()
    callback.on_epoch = heal
    best = fit(_recipe(tmp_path, on_nan="skip"), [callback])
    rows = list(csv.DictReader(open(tmp_path / "metrics.csv")))
    assert best["epoch"] == 2 and rows[0]["epoch"] == "1" and not rows[0].get("test_top1") and rows[1]["test_top1"]
    said = capsys.readouterr().out
    assert "nan" not in said and "epoch 1/2: train loss" in said and "outputs on the test split not finite" in said
    assert read_checkpoint(str(tmp_path / "checkpoints" / "best.ckpt"))[1].metrics["epoch"] == 2


def test_a_run_without_any_figure_has_no_best(spoiled, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    small(tmp_path / "run", on_nan="skip").save(str(recipe))
    assert main(["train", "--config", str(recipe)]) == 0
    assert "best: epoch 1, not measured; results in" in capsys.readouterr().out
    assert not (tmp_path / "run" / "checkpoints" / "best.ckpt").exists()
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


def test_the_accuracy_that_is_told_is_that_of_what_best_holds(tmp_path, monkeypatch, capsys):
    """Weights of 20 % and running means of 32.5 % (as for a decay that is slow to follow), or the other way round."""
    figures = iter([dict(loss=9.0, top1=20.0, top5=90.0), dict(loss=1.0, top1=32.5, top5=95.0),
                    dict(loss=2.0, top1=32.5, top5=94.0), dict(loss=3.0, top1=30.0, top5=93.0)])
    monkeypatch.setattr(TopEvaluator, "compute", lambda *_: next(figures))
    recipe = _recipe(tmp_path / "run")
    recipe.save(str(tmp_path / "recipe.yaml"))
    assert main(["train", "--config", str(tmp_path / "recipe.yaml")]) == 0
    said = capsys.readouterr().out
    assert "best: epoch 1, top-1 32.50 %, top-5 95.00 % (EMA weights); results in" in said
    # As often right, but with a higher loss: not the new best.
    assert said.count("best so far") == 1
    values, told = read_checkpoint(str(tmp_path / "run" / "checkpoints" / "best.ckpt"))
    assert told.metrics["ema"] == 1.0 and told.metrics["epoch"] == 1
    state, _ = read_checkpoint(str(tmp_path / "run" / "checkpoints" / "step-00000005.ckpt"))
    means = state["ema"].asnumpy()
    assert means[:values["stem.0.weight"].size].tobytes() == values["stem.0.weight"].asnumpy().tobytes()


def test_weights_go_on_moving_after_their_means_were_in_their_place(tmp_path):
    """In PyNative mode nn.SGD went on changing memory that the weights had left."""
    moved = []

    class Watch(loop.Callback):
        def on_start(self, training):
            self.before = training.step.net.head.weight.asnumpy().copy()

        def on_step(self, training, loss):
            now = training.step.net.head.weight.asnumpy().copy()
            moved.append(float(np.abs(now - self.before).max()))
            self.before = now

    fit(_recipe(tmp_path), [Watch()])
    assert len(moved) == 10 and min(moved) > 1e-6


def test_a_signal_in_an_evaluation_says_where_the_state_is(tmp_path, monkeypatch):
    """Also where the run goes on from another folder's state whose evaluation was missing."""
    def interrupted(*_):
        os.kill(os.getpid(), signal.SIGTERM)

    for folder, resume in ((tmp_path / "a", "off"), (tmp_path / "b", str(tmp_path / "a"))):
        with monkeypatch.context() as patch:
            patch.setattr(TopEvaluator, "update", interrupted)
            with pytest.raises(loop.Stopped, match=f"at step 5 of epoch 1: saved in '{folder}/checkpoints/last.ckpt'"):
                fit(_recipe(folder, resume=resume))
        assert list(states_in(str(folder / "checkpoints"))) == [5]
