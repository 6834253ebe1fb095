"""A training that is broken off and goes on ends with the bits of one that was not."""
import csv
import dataclasses
import json
import os
import resource
import signal

import pytest

from ghost_ms.checkpoints.checkpoint import read_state, save_checkpoint
from ghost_ms.checkpoints.manager import states_in
from ghost_ms.cli import main
from ghost_ms.config import AugmentConfig, Config, DataConfig, ModelConfig, RunConfig
from ghost_ms.config import EmaConfig, OptimizerConfig, PrecisionConfig, ScheduleConfig, TrainConfig
from ghost_ms.core.files import PREFIX
from ghost_ms.training import curves, interrupt, loop, resume
from ghost_ms.training.fit import fit
from ghost_ms.training.interrupt import Stopped
from ghost_ms.training.step import TrainStep
from tests.same import assert_same_runs
from tests.tiny import registered


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch):
    """Signals are a scheduler's, even where the tests run at a terminal."""
    monkeypatch.setattr(interrupt, "_in_foreground", lambda: False)
    with registered():
        yield


class Killed(BaseException):
    """Takes the place of SIGKILL; no handler of the program catches it."""


def _recipe(folder, resume="off", model="tiny", mode="graph", training=None, **changes):
    """Everything that has a state: five steps an epoch, three of them an update, three epochs."""
    sections = dict(
        augment=AugmentConfig(crop_padding=2, random_erasing=0.5, mixup=0.4),
        optimizer=OptimizerConfig("adamw", lr=5e-3, weight_decay=0.05, clip_norm=1.0),
        schedule=ScheduleConfig(noise=[0.0, 1.0]), ema=EmaConfig(0.9),
        precision=PrecisionConfig("O2", loss_scale=1024, dynamic=True, scale_window=2),
        train=TrainConfig(epochs=3, accumulate=3, checkpoint_every=2, keep=3))
    for key, value in changes.items():
        section, name = key.split("__")
        sections[section] = dataclasses.replace(sections[section], **{name: value})
    sections["train"] = dataclasses.replace(sections["train"], resume=resume)
    return Config(
        model=ModelConfig(model, args=dict(drop_rate=0.3, **(dict(drop_path_rate=0.3) if model == "tiny" else {})),
                          training=training or {}),
        data=DataConfig("synthetic", batch_size=8, eval_batch_size=16, input_size=(16, 16), synthetic_size=40,
                        synthetic_classes=4, workers=1, crop_ratio=1.0),
        run=RunConfig(dir=str(folder), device="CPU", mode=mode), **sections)


def _at_step(monkeypatch, number, action):
    """Run `action` in the place of the step of that number, counted from the start of this process."""
    call, done = TrainStep.__call__, []

    def counted(self, *args):
        done.append(None)
        if len(done) == number:
            action()
        return call(self, *args)

    monkeypatch.setattr(TrainStep, "__call__", counted)


def _kill():
    raise Killed


def _states(folder):
    return list(states_in(str(folder / "checkpoints")))


@pytest.mark.parametrize("mode", ["pynative", pytest.param("graph", marks=pytest.mark.slow)])
def test_a_chain_of_mishaps_ends_with_the_same_bits(mode, tmp_path, monkeypatch, capsys):
    def recipe(*args, **changes):
        return _recipe(*args, mode=mode, **changes)

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fit(recipe(whole))
    assert _states(whole) == [12, 14, 15]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        _at_step(patch, 4, _kill)
        fit(recipe(broken, "auto"))
    assert f"no checkpoint under '{broken}' to resume from: starting anew" in capsys.readouterr().out
    assert _states(broken) == [2]
    (broken / "checkpoints" / "step-00000004.77.tmp.ckpt").write_text("half")
    (broken / "checkpoints" / "step-00000004.77.tmp.tmp").write_text("half")
    (broken / "checkpoints" / f"{PREFIX}77.ckpt").write_text("half")
    (broken / f"{PREFIX}77.png").write_text("half")
    # SIGTERM during a step: saved after it.
    with monkeypatch.context() as patch, pytest.raises(Stopped, match="stopped by SIGTERM at step 4 of epoch 2"):
        _at_step(patch, 7, lambda: os.kill(os.getpid(), signal.SIGTERM))
        fit(recipe(broken, "auto", train__checkpoint_every=3, train__log_every=1))
    assert "step-00000002.ckpt', step 2 of epoch 1" in capsys.readouterr().out
    assert _states(broken) == [5, 8, 9] and not list((broken / "checkpoints").glob("*.tmp*"))
    assert not list(broken.glob(f"**/{PREFIX}*"))
    # The newest state is damaged: the one before it is taken.
    newest = broken / "checkpoints" / "step-00000009.ckpt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.chmod(0o600)
    newest.write_bytes(content)
    # A signal during the evaluation of the second epoch.
    measure = loop.Training._measure

    def interrupted(self, prefix):
        os.kill(os.getpid(), signal.SIGTERM)
        return measure(self, prefix)

    with monkeypatch.context() as patch, pytest.raises(Stopped, match="step 5 of epoch 2.*--train.resume auto"):
        patch.setattr(loop.Training, "_measure", interrupted)
        fit(recipe(broken, "auto"))
    said = capsys.readouterr().out
    assert "step-00000009.ckpt' is not a valid checkpoint" in said and "taking the one before it" in said
    assert "step-00000008.ckpt', step 3 of epoch 2" in said
    fit(recipe(broken, str(broken)))
    assert_same_runs(whole, broken, ("last", "best", "step-00000015"))
    assert _states(broken) == [12, 14, 15]
    assert "resume: 'off'" in (broken / "config.yaml").read_text()


def test_a_kill_in_graph_mode(tmp_path, monkeypatch):
    plain = dict(precision__level="O0", precision__loss_scale=1, precision__dynamic=False, train__accumulate=1,
                 optimizer__name="sgd", optimizer__clip_norm=0.0, train__epochs=2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fit(_recipe(whole, **plain))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        _at_step(patch, 8, _kill)
        fit(_recipe(broken, "auto", **plain))
    fit(_recipe(broken, "auto", **plain))
    assert_same_runs(whole, broken, ("last", "best", "step-00000010"))


@pytest.mark.slow
def test_the_activation_slope_follows_the_epoch(tmp_path, monkeypatch):
    def recipe(*args):
        return _plain(*args, model="tiny_vanilla", train__epochs=3, training={"activation_epochs": 2})

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fit(recipe(whole))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        _at_step(patch, 13, _kill)
        fit(recipe(broken))
    assert _states(broken) == [5, 10]
    assert fit(recipe(broken, "auto"))["activation_slope"] == 1
    assert_same_runs(whole, broken, ("last", "best", "step-00000015"))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run of two epochs without anything that costs time."""
    folder = tmp_path_factory.mktemp("done") / "run"
    with registered():
        fit(_plain(folder))
    return folder


def _plain(folder, resume="off", **changes):
    return _recipe(folder, resume, mode="pynative", **{
        "precision__level": "O0", "precision__loss_scale": 1, "precision__dynamic": False, "train__epochs": 2,
        "train__accumulate": 1, "train__checkpoint_every": 0, "schedule__name": "constant", "schedule__noise": None,
        "optimizer__name": "sgd", "optimizer__clip_norm": 0.0, "ema__decay": 0.0, **changes})


def test_a_finished_run_says_so(done, capsys):
    (done / "metrics.csv").unlink()
    best = fit(_plain(done, "auto"))
    assert "is of a finished training (2 epochs): nothing is left to do" in capsys.readouterr().out
    assert len(list(csv.DictReader(open(done / "metrics.csv")))) == 2 and best["epoch"] in (1, 2)


def test_more_epochs_in_another_folder(done, tmp_path, monkeypatch):
    """The rates so far stay what they were; metrics and best network come along."""
    folder = tmp_path / "longer"
    longer = _plain(folder, str(done), train__epochs=3)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        _at_step(patch, 1, _kill)
        fit(longer)
    assert _states(folder) == [] and len((folder / "metrics.csv").read_text().splitlines()) == 3
    assert (folder / "checkpoints/best.ckpt").read_bytes() == (done / "checkpoints/best.ckpt").read_bytes()
    fit(longer)
    fit(_plain(tmp_path / "whole", train__epochs=3))
    assert_same_runs(tmp_path / "whole", tmp_path / "longer", ("last", "best", "step-00000015"))


@pytest.mark.parametrize("changes, words", [
    (dict(optimizer__name="lion"), "optimizer.name is lion, but '.*' comes of a training with sgd; set it back"),
    (dict(optimizer__lr=0.1), "optimizer.lr is 0.1, but .* 0.005"),
    (dict(augment__mixup=0.0), "augment.mixup is 0.0, but .* 0.4"),
    (dict(train__accumulate=2), "train.accumulate is 2, but .* 1"),
    (dict(model="tiny_vanilla"), "model.name is tiny_vanilla, but .* tiny"),
])
def test_a_changed_recipe_is_refused(changes, words, done):
    with pytest.raises(ValueError, match=words):
        fit(_plain(done, "auto", **changes))


def test_what_else_must_not_change(done):
    found = resume.find(_plain(done, "auto"), resume.World())
    same = (_plain(done, "auto"), resume.World(), 40, found.description.classes, lambda epochs: [], lambda progress: 10)
    resume.check_unchanged(found, *same)
    for index, value, words in ((1, resume.World(0, 2), r"has 2 rank\(s\), but .* with 1; start as many"),
                                (2, 41, "41 training images, but .* 40"), (3, ["a"], "other classes")):
        with pytest.raises(ValueError, match=words):
            resume.check_unchanged(found, *same[:index], value, *same[index + 1:])
    longer = _plain(done, "auto", train__epochs=3)
    with pytest.raises(ValueError, match=r"train.epochs is 3, but .* with 2, and its learning rates so far would have "
                                         r"been others \(schedule.name constant\); set it back"):
        resume.check_unchanged(found, longer, *same[1:4], lambda epochs: [1 / epochs] * 15, same[5])
    batch = _plain(done, "auto")
    batch.data.batch_size = 4
    with pytest.raises(ValueError, match="data.batch_size is 4, but .* 8"):
        resume.check_unchanged(found, batch, *same[1:])


def test_what_cannot_be_gone_on_from(done, tmp_path):
    with pytest.raises(FileNotFoundError, match="train.resume is '.*none.ckpt', but there is no such checkpoint"):
        fit(_plain(tmp_path, str(tmp_path / "none.ckpt")))
    with pytest.raises(ValueError, match="best.ckpt' does not say where its training stood"):
        fit(_plain(tmp_path, str(done / "checkpoints" / "best.ckpt")))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-00000003.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="no valid checkpoint to resume from: start anew with --train.resume off"):
        fit(_plain(tmp_path, "auto"))


def test_a_progress_that_is_none(done, tmp_path):
    """A file of strangers, or one damaged in a way that its checksum does not tell; nothing is built of it."""
    path = str(done / "checkpoints" / "last.ckpt")
    values, description, text = read_state(path)
    sound = json.loads(text)
    for change in (dict(epoch=10 ** 9), dict(epoch=-1), dict(epoch=True), dict(epoch="2"), dict(step=-1),
                   dict(step=1.5), dict(rows=None), dict(rows=[{}]), dict(rows=[{"epoch": 1}, {"epoch": "x"}]),
                   dict(recipe=[]), dict(recipe={}), dict(seconds="1"), dict(seconds=float("nan")), dict(surprise=1),
                   dict(ranks=None)):
        with pytest.raises(ValueError, match="its progress h|it does not say where a training stood"):
            resume.TrainerState.from_json(json.dumps({**sound, **change}))
    for broken in ("", "[]", "null", "[" * 100000):
        with pytest.raises(ValueError, match="it is no JSON|its progress is no list of fields|levels deep"):
            resume.TrainerState.from_json(broken)
    # Rows of an earlier version, which counted what was no number.
    rows = [{**row, "test_loss": float("nan")} for row in sound["rows"]]
    assert "test_loss" not in resume.TrainerState.from_json(json.dumps({**sound, "rows": rows})).rows[0]
    save_checkpoint(values, str(tmp_path / "odd.ckpt"), description, json.dumps(
        {**sound, "epoch": 1, "rows": sound["rows"][:1], "step": 77}))
    with pytest.raises(ValueError, match="odd.ckpt' is damaged: it is of step 77 of an epoch, which has 5"):
        fit(_plain(tmp_path / "run", str(tmp_path / "odd.ckpt")))
    save_checkpoint(values, str(tmp_path / "none.ckpt"), description, "{}")
    with pytest.raises(ValueError, match="none.ckpt' cannot be resumed from: it does not say where a training stood"):
        fit(_plain(tmp_path / "run", str(tmp_path / "none.ckpt")))


def test_a_checkpoint_cut_between_two_parameters_is_noticed(done, tmp_path):
    """MindSpore itself loads such a file, as if the rest had never been."""
    from mindspore.train.checkpoint_pb2 import Checkpoint

    content = (done / "checkpoints" / "last.ckpt").read_bytes()
    whole = Checkpoint()
    whole.ParseFromString(content[:content.rindex(b"crc_num")])
    del whole.value[-1]
    (tmp_path / "cut.ckpt").write_bytes(whole.SerializeToString())
    with pytest.raises(ValueError, match="does not say where its training stood.*or is cut"):
        fit(_plain(tmp_path, str(tmp_path / "cut.ckpt")))


def test_a_new_run_keeps_the_old_states_until_it_has_its_own(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    fit(_plain(folder, train__keep=1))
    assert _states(folder) == [10]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        _at_step(patch, 2, _kill)
        fit(_plain(folder))
    assert _states(folder) == [10]
    assert "holds the checkpoints of an earlier training" in capsys.readouterr().out
    with monkeypatch.context() as patch, pytest.raises(Killed):
        _at_step(patch, 7, _kill)
        fit(_plain(folder))
    assert _states(folder) == [5]


def test_a_failed_write_leaves_the_state_before(tmp_path, monkeypatch, capfd):
    """A file may not grow past 16 KB: the system refuses the rest of the third epoch's state, as on a full disk."""
    fit(_plain(tmp_path))
    monkeypatch.setattr(curves, "draw_curves", lambda *_: None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    capfd.readouterr()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16384, hard))
        with pytest.raises(OSError, match="cannot write the checkpoint '.*step-00000015.ckpt': .*File too large"):
            fit(_plain(tmp_path, "auto", train__epochs=9))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "CRITICAL" not in capfd.readouterr().err
    assert _states(tmp_path) == [5, 10] and not list((tmp_path / "checkpoints").glob("*.tmp*"))
    assert resume.find(_plain(tmp_path, "auto"), resume.World()).progress.epoch == 2


@pytest.mark.parametrize("at_terminal, code", [(False, 0), (True, 130)])
def test_the_command_stops_at_a_signal(at_terminal, code, tmp_path, monkeypatch, capsys):
    """A scheduler's SIGTERM is no failure; after Ctrl-C a script does not go on."""
    monkeypatch.setattr(interrupt, "_in_foreground", lambda: at_terminal)
    recipe = tmp_path / "recipe.yaml"
    _plain(tmp_path / "run").save(str(recipe))
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        _at_step(patch, 7, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert main(["train", "--config", str(recipe)]) == code
    last = capsys.readouterr().out.splitlines()[-1]
    name = "SIGINT" if at_terminal else "SIGTERM"
    assert last == (f"stopped by {name} at step 2 of epoch 2: saved in '{tmp_path}/run/checkpoints/last.ckpt'; the "
                    "same command with --train.resume auto goes on")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert (tmp_path / "run" / "log.txt").read_text().splitlines()[-1] == last


def test_a_lost_terminal_saves_the_state(tmp_path, monkeypatch, capsys):
    """However often it says so; and where it was ignored from the start (nohup), it stays ignored."""
    def hang_up():
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)

    # Tests that were started by nohup begin with it ignored.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with monkeypatch.context() as patch, pytest.raises(Stopped, match="stopped by SIGHUP at step 2 of epoch 1: saved"):
        _at_step(patch, 2, hang_up)
        fit(_plain(tmp_path))
    assert _states(tmp_path) == [2] and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with monkeypatch.context() as patch:
            _at_step(patch, 2, hang_up)
            fit(_plain(tmp_path, "auto"))
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert _states(tmp_path) == [2, 5, 10]


def test_the_second_signal_acts_as_ever(capfd):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # Tests in the background begin with it ignored.
    with pytest.raises(KeyboardInterrupt), interrupt.Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.number == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)
    assert "the state will be saved; once more to stop at once" in capfd.readouterr().err


def test_a_spoiled_state_is_not_saved(tmp_path):
    """Looked at before every save, not at every tenth step alone."""
    with pytest.raises(ValueError, match="not finite at step 3 of epoch 1"):
        config = _plain(tmp_path, train__checkpoint_every=1, optimizer__lr=1e25)
        # How far numbers go at such a rate is MindSpore's operators' own.
        config.run.kernels = "off"
        fit(config)
    assert _states(tmp_path) == [1, 2]
