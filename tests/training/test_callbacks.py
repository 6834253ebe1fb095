"""Own code beside a training, and what the recipe can switch on: early stopping, a time limit, CSV of steps, events."""
import csv
import json
import os
import signal

import pytest

from ghost_ms.checkpoints.manager import states_in
from ghost_ms.cli import main
from ghost_ms.config import TrainConfig
from ghost_ms.config.checks import duration
from ghost_ms.tasks.classification.task import Classification
from ghost_ms.tasks.classification.evaluate import TopEvaluator
from ghost_ms.training import callbacks, curves
from ghost_ms.training.callbacks import Callback, EarlyStopping
from ghost_ms.training.fit import fit
from ghost_ms.training.interrupt import Stopped
from tests.same import assert_same_runs
from tests.tiny import registered
from tests.training.recipes import small

FIGURES = Classification.figures


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch):
    monkeypatch.setattr(curves, "draw_curves", lambda *_: None)
    with registered():
        yield


class Recorder(Callback):
    """What was called when."""

    def __init__(self):
        self.calls, self.losses = [], []

    def on_start(self, training):
        self.calls.append(("start", training.progress.steps(training.steps)))

    def on_step(self, training, loss):
        self.calls.append(("step", training.progress.epoch, training.progress.step))
        self.losses.append(float(loss.asnumpy()))

    def on_save(self, training):
        self.calls.append("save")

    def on_epoch(self, training, row):
        folder = os.path.join(training.config.run.dir, "checkpoints")
        self.calls.append(("epoch", row["epoch"], list(states_in(folder))))

    def on_end(self, training):
        self.calls.append("end")


def test_own_code_is_called_at_every_turn(tmp_path):
    recorder = Recorder()
    best = fit(small(tmp_path, checkpoint_every=2), [recorder])
    assert recorder.calls == [
        ("start", 0), ("step", 0, 1), ("step", 0, 2), "save", ("step", 0, 3), ("step", 0, 4), "save", ("step", 0, 5),
        "save", "save", ("epoch", 1, [4, 5]), "end"]
    assert sum(recorder.losses) / 5 == pytest.approx(best["train_loss"], abs=1e-5)


def test_own_code_can_save_and_end_a_training(tmp_path, capsys):
    class Stop(Callback):
        ended = 0

        def on_step(self, training, loss):
            if training.progress.step == 3:
                training.stop("my budget is spent")

        def on_end(self, training):
            self.ended += 1

    stop, words = Stop(), "my budget is spent at step 3 of epoch 1: saved in .*--train.resume auto goes on"
    with pytest.raises(Stopped, match=words) as told:
        fit(small(tmp_path), [stop])
    assert told.value.number == 0 and stop.ended == 1 and list(states_in(str(tmp_path / "checkpoints"))) == [3]
    fit(small(tmp_path, resume="auto"))
    fit(small(tmp_path / "whole"))
    assert_same_runs(tmp_path / "whole", tmp_path)


def test_an_error_of_own_code_ends_the_training_in_order(tmp_path):
    class Bad(Recorder):
        def on_save(self, training):
            super().on_save(training)
            raise ZeroDivisionError("mine")

    bad = Bad()
    with pytest.raises(ZeroDivisionError):
        fit(small(tmp_path), [bad])
    # The state is written all the same.
    assert bad.calls[-2:] == ["save", "end"] and list(states_in(str(tmp_path / "checkpoints"))) == [5]
    assert (tmp_path / "log.txt").read_text().splitlines()[-1] == "ended by an error: ZeroDivisionError: mine"


@pytest.mark.parametrize("value, seconds", [
    (0, 0), (90, 90), (1.5, 1.5), ("90", 90), ("90m", 5400), ("1.5h", 5400), ("1h30m", 5400), ("1d12h", 129600),
    ("45s", 45), ("2:30:00", 9000), ("02:30:00", 9000), ("5:30", 330), ("1H", 3600)])
def test_lengths_of_time(value, seconds):
    assert duration("train.time_limit", value) == seconds


@pytest.mark.parametrize("value", ["", "soon", "1 hour", -1, "-1h", "1h30", True, "1:5", "9" * 5000, "1e9999",
                                   float("nan"), "9" * 400 + ":00", [1]])
def test_what_is_no_length_of_time(value):
    with pytest.raises(ValueError, match="train.time_limit is '.*'; it is a number of seconds, or"):
        duration("train.time_limit", value)


def test_the_recipe_takes_them(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    # YAML 1.1 itself reads the first as 9000 seconds.
    for text, seconds in (("2:30:00", 9000), ("'2:30:00'", 9000), ("90m", 5400), ("0", 0)):
        recipe.write_text(f"train: {{time_limit: {text}}}\n")
        from ghost_ms.config import load

        assert duration("x", load(str(recipe)).train.time_limit) == seconds
        assert duration("x", load(str(recipe), ["--train.time_limit", "1h30m"]).train.time_limit) == 5400


def test_a_time_limit_saves_and_ends_well(tmp_path, monkeypatch, capsys):
    """Counted from the start; looked at after every step."""
    now = [0.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])

    class Clock(Callback):
        def on_step(self, training, loss):
            now[0] += 100

    recipe = tmp_path / "recipe.yaml"
    small(tmp_path / "run", epochs=2).save(str(recipe))
    build = callbacks.of_recipe
    monkeypatch.setattr("ghost_ms.training.fit.of_recipe", lambda *a: [Clock(), *build(*a)])
    assert main(["train", "--config", str(recipe), "--train.time_limit", "5m"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"train.time_limit (5m) is over at step 3 of epoch 1: saved in '{tmp_path}/run/checkpoints/last.ckpt'; the "
        "same command with --train.resume auto goes on")
    # The limit may be another when it goes on. It is over with the last step: only the evaluation is missing.
    assert main(["train", "--config", str(recipe), "--train.resume", "auto", "--train.time_limit", "700"]) == 0
    assert "(700) is over at step 5 of epoch 2" in capsys.readouterr().out
    assert main(["train", "--config", str(recipe), "--train.resume", "auto", "--train.time_limit", "700"]) == 0
    assert "best: epoch" in capsys.readouterr().out
    fit(small(tmp_path / "whole", epochs=2))
    assert_same_runs(tmp_path / "whole", tmp_path / "run")


def _scripted(monkeypatch, accuracies):
    """Evaluations give these accuracies, one an epoch."""
    figures = iter(accuracies)
    monkeypatch.setattr(TopEvaluator, "compute", lambda *_: dict(loss=1.0, top1=next(figures), top5=100.0))


def test_early_stopping(tmp_path, monkeypatch, capsys):
    _scripted(monkeypatch, [50.0, 60.0, 60.0, 59.0, 70.0])
    best = fit(small(tmp_path, epochs=9, early_stopping=2))
    assert best["epoch"] == 2
    words = "no epoch since epoch 2 was better, 2 in a row (train.early_stopping): the training ends here"
    assert capsys.readouterr().out.splitlines()[-1] == words
    assert list(states_in(str(tmp_path / "checkpoints"))) == [15, 20]
    # To go on with it is to be through.
    assert fit(small(tmp_path, epochs=9, early_stopping=2, resume="auto"))["epoch"] == 2
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == words and "epoch 5/9" not in said
    # With more patience it goes on.
    assert fit(small(tmp_path, epochs=5, early_stopping=3, resume="auto"))["epoch"] == 5


def test_early_stopping_waits_for_linear_activations():
    class Training:
        finished = ""

        class progress:  # noqa: N801
            rows = []

        def finish(self, reason):
            self.finished = reason

    training = Training()
    slopes = [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    for epoch, slope in enumerate(slopes, 1):
        training.progress.rows.append({"epoch": epoch, "test_top1": 90.0 - epoch, "test_loss": 1.0,
                                       "activation_slope": slope})
        EarlyStopping(2, FIGURES).on_epoch(training, {})
        assert bool(training.finished) == (epoch == 7)


def _steps(folder):
    return list(csv.DictReader(open(folder / "steps.csv")))


def _without_speed(rows):
    return [{key: value for key, value in row.items() if key != "images_per_second"} for row in rows]


def test_a_line_of_every_step(tmp_path, monkeypatch):
    """Its losses are the true ones, and after a kill it is as if nothing had happened."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    recorder = Recorder()
    recipe = small(whole, run=dict(step_csv=True), epochs=2, accumulate=2, checkpoint_every=3)
    recipe.schedule.name = "cosine"
    fit(recipe, [recorder])
    rows = _steps(whole)
    assert [row["step"] for row in rows] == [str(step) for step in range(1, 11)]
    assert [row["epoch"] for row in rows] == ["1"] * 5 + ["2"] * 5
    assert [float(row["loss"]) for row in rows] == pytest.approx(recorder.losses, rel=1e-5)
    assert float(rows[0]["lr"]) == 0.005 and [row["lr"] for row in rows[::2]] == [row["lr"] for row in rows[1::2]]
    assert len({row["lr"] for row in rows}) == 5 and all(float(row["images_per_second"]) > 0 for row in rows)

    class Killed(BaseException):
        """In the place of SIGKILL."""

    class Kill(Callback):
        def on_step(self, training, loss):
            if training.progress.steps(5) == 9:
                raise Killed

    again = small(broken, run=dict(step_csv=True), epochs=2, accumulate=2, checkpoint_every=3)
    again.schedule.name = "cosine"
    with pytest.raises(Killed):
        fit(again, [Kill()])
    assert [row["step"] for row in _steps(broken)] == [str(step) for step in range(1, 9)]
    # A killed process may also have written lines of steps that no state holds, the last one in part.
    with open(broken / "steps.csv", "a") as file:
        file.write("9,2,1.5,0.1,3\r\n10,2,1.")
    again.train.resume = "auto"
    fit(again)
    assert _without_speed(_steps(broken)) == _without_speed(rows)
    # A new training in the folder begins a new file.
    fit(small(broken, run=dict(step_csv=True)))
    assert len(_steps(broken)) == 5


def test_a_file_of_steps_that_cannot_be_written_ends_no_training(tmp_path, capsys):
    class Remove(Callback):
        def on_start(self, training):
            os.remove(tmp_path / "steps.csv")
            os.mkdir(tmp_path / "steps.csv")

    fit(small(tmp_path, run=dict(step_csv=True)), [Remove()])
    assert capsys.readouterr().out.count("steps.csv' (Is a directory): the training goes on without it") == 1


def test_events_for_tensorboard_need_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.compat.proto", None)
    with pytest.raises(ValueError, match=r"run.tensorboard needs the package tensorboard .*pip install tensorboard"):
        fit(small(tmp_path / "run", run=dict(tensorboard=True)))
    assert os.listdir(tmp_path) == []


def _scalars(folder):
    """tag -> [(step, value)] as TensorBoard itself reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_events_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    recipe = small(tmp_path, run=dict(tensorboard=True, step_csv=True), epochs=3, log_every=2)

    class Kill(Callback):
        def on_step(self, training, loss):
            if training.progress.steps(5) == 13:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, [Kill()])
    recipe.train.resume = "auto"
    fit(recipe)
    scalars, rows = _scalars(tmp_path), list(csv.DictReader(open(tmp_path / "metrics.csv")))
    losses = {int(row["step"]): float(row["loss"]) for row in _steps(tmp_path)}
    assert [step for step, _ in scalars["step/loss"]] == [2, 4, 5, 7, 9, 10, 12, 14, 15]
    assert all(value == pytest.approx(losses[step], rel=1e-5) for step, value in scalars["step/loss"])
    assert scalars["step/lr"][0][1] == pytest.approx(0.005)
    assert scalars["test/top1"] == [(5 * int(row["epoch"]), pytest.approx(float(row["test_top1"]))) for row in rows]
    assert {"train/loss", "test/loss", "epoch/lr", "epoch/images_per_second"} <= set(scalars)
    # Another training in the folder takes the place of this one.
    fit(small(tmp_path, run=dict(tensorboard=True), log_every=2))
    assert [step for step, _ in _scalars(tmp_path)["step/loss"]] == [2, 4, 5]


def test_the_summary_for_mindinsight_is_gone(tmp_path):
    from ghost_ms.config import load

    recipe = tmp_path / "config.yaml"
    for value in ("false", "null"):
        recipe.write_text(f"run: {{summary: {value}, seed: 3}}\n")
        assert load(str(recipe)).run.seed == 3
    recipe.write_text("run: {summary: true}\n")
    with pytest.raises(ValueError, match="config.yaml: the key 'run.summary' is gone: .*run.tensorboard: true"):
        load(str(recipe))
    (tmp_path / "plain.yaml").write_text("run: {seed: 3}\n")
    with pytest.raises(ValueError, match="the option '--run.summary' is gone: MindInsight"):
        load(str(tmp_path / "plain.yaml"), ["--run.summary", "true"])


@pytest.mark.parametrize("changes", [dict(early_stopping=-1), dict(time_limit="soon")])
def test_values_without_a_meaning(changes):
    with pytest.raises(ValueError, match=f"train.{next(iter(changes))}"):
        config = TrainConfig(**changes)
        (getattr(config, "validate", None) or config.check)()


def test_a_state_of_an_earlier_version_still_resumes(tmp_path):
    """Its recipe has keys that are gone and lacks those that are new."""
    from ghost_ms.checkpoints.checkpoint import read_state, save_checkpoint

    fit(small(tmp_path, checkpoint_every=2))
    path = tmp_path / "checkpoints" / "step-00000004.ckpt"
    values, description, progress = read_state(str(path))
    told = json.loads(progress)
    told["recipe"]["run.summary"] = False
    for key in ("train.early_stopping", "train.time_limit", "run.step_csv", "run.tensorboard"):
        del told["recipe"][key]
    save_checkpoint(values, str(tmp_path / "old.ckpt"), description, json.dumps(told))
    fit(small(tmp_path / "again", resume=str(tmp_path / "old.ckpt")))
    assert_same_runs(tmp_path, tmp_path / "again", ("last",))
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
