"""What a run's folder may hold already, who may write into it, and how names are shown."""
import os
import subprocess
import sys

import pytest

from ghost_ms.checkpoints.manager import CheckpointManager, no_states_in, states_in
from ghost_ms.checkpoints.own_folder import FILES, run_folder
from ghost_ms.cli import main
from ghost_ms.core.lock import Locked
from ghost_ms.training import curves, fit as fitting
from ghost_ms.training.fit import fit
from ghost_ms.training.progress import Reporter
from tests.tiny import registered
from tests.training.recipes import small


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch):
    """Curves cost more than these trainings, and are drawn elsewhere."""
    monkeypatch.setattr(curves, "draw_curves", lambda *_: None)
    with registered():
        yield


def test_a_second_training_is_refused_and_the_first_goes_on(tmp_path):
    """Whatever path leads to the folder."""
    folder = tmp_path / "run"
    fit(small(folder))
    (tmp_path / "other").symlink_to(folder)
    before = {name: (folder / name).read_bytes() for name in ("config.yaml", "metrics.csv", "log.txt")}
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; from ghost_ms.checkpoints.own_folder import run_folder\n"
         "with run_folder(sys.argv[1]): print('held', flush=True); time.sleep(60)", str(folder)],
        stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        for path in (folder, tmp_path / "other"):
            words = (f"a training is under way in '{path}': process {holder.pid} on .*, since .*; wait for its end, "
                     "stop it, or choose another folder with --run.dir")
            with pytest.raises(Locked, match=words):
                fit(small(path, resume="auto"))
    finally:
        holder.kill()
        holder.wait()
    assert {name: (folder / name).read_bytes() for name in before} == before
    # It died with its process.
    fit(small(tmp_path / "other", resume="auto"))
    assert not (folder / ".lock").exists()


def test_a_folder_that_cannot_be_locked_is_told_of(tmp_path, monkeypatch, capsys):
    import fcntl

    def none(handle, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", none)
    fit(small(tmp_path))
    log = (tmp_path / "log.txt").read_text()
    assert "cannot be locked (Function not implemented): nothing will stop a second" in log


def test_a_start_that_is_refused_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match="schedule.warmup_epochs"):
        recipe = small(tmp_path / "a" / "run")
        recipe.schedule.warmup_epochs = 5
        fit(recipe)
    assert os.listdir(tmp_path) == []
    (tmp_path / "run").mkdir()
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        fit(small(tmp_path / "run", resume=str(tmp_path / "none")))
    assert os.listdir(tmp_path) == ["run"] and os.listdir(tmp_path / "run") == []


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
@pytest.mark.parametrize("name", FILES)
def test_what_lies_where_a_file_will_be_written_is_told_before_the_work(name, make, tmp_path):
    """Not at the end of the first epoch; and no pipe without a reader is waited for."""
    (tmp_path / "checkpoints").mkdir()
    make(tmp_path / name)
    with pytest.raises(OSError, match=f"{name}' is there already, and no file: remove it"), run_folder(str(tmp_path)):
        pass


def _clutter(folder):
    """Everything that a name of a state can be without being one, all newer than any state."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "step-99999999.ckpt").mkdir()
    (folder / "step-99999998.ckpt").symlink_to("nowhere")
    os.mkfifo(folder / "step-99999997.ckpt")
    (folder / f"step-{'9' * 200}.ckpt").write_text("huge")
    (folder / "step-7.ckpt").write_text("another spelling")
    (folder / "step-٣٣٣٣٣٣٣٣.ckpt").write_text("other digits")
    return ["step-7.ckpt", "step-99999997.ckpt", "step-99999998.ckpt", "step-99999999.ckpt", f"step-{'9' * 200}.ckpt"]


def test_names_of_states_that_are_none(tmp_path):
    expected = _clutter(tmp_path)
    (tmp_path / "step-00000005.ckpt").write_text("a file")
    (tmp_path / "step-00000006.ckpt").symlink_to("step-00000005.ckpt")
    assert list(states_in(str(tmp_path))) == [5, 6] and no_states_in(str(tmp_path)) == expected


def test_they_block_neither_saving_nor_going_on(tmp_path, capsys):
    fit(small(tmp_path))
    _clutter(tmp_path / "checkpoints")
    before = sorted(os.listdir(tmp_path / "checkpoints"))
    # A regular file of such a name is read, found to be none, and the state before it is taken.
    (tmp_path / "checkpoints" / "step-88888888.ckpt").write_bytes(b"garbage")
    fit(small(tmp_path, resume="auto", epochs=2, keep=1))
    said = capsys.readouterr().out
    assert "step-99999999.ckpt' is named as a state of a training and is none: passed over" in said
    assert "step-88888888.ckpt' is not a valid checkpoint" in said and "step-00000005.ckpt', the end of epoch 1" in said
    after = sorted(os.listdir(tmp_path / "checkpoints"))
    assert after == sorted(set(before) - {"step-00000005.ckpt"} | {"step-00000010.ckpt"})


def test_a_state_that_cannot_be_read_is_passed_over(tmp_path, monkeypatch, capsys):
    fit(small(tmp_path, keep=2, checkpoint_every=3))
    real = fitting.find.__globals__["read_state"]

    def refused(path):
        if path.endswith("step-00000005.ckpt"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setitem(fitting.find.__globals__, "read_state", refused)
    fit(small(tmp_path, keep=2, checkpoint_every=3, resume="auto"))
    assert "step-00000005.ckpt' cannot be read (Permission denied); taking the one before it" in capsys.readouterr().out


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for name in (".writing-1", "checkpoints/.writing-2.ckpt", "checkpoints/step-00000004.77.tmp.ckpt",
                 "checkpoints/step-00000004.77.tmp.tmp", "checkpoints/best.ckpt.tmp", "checkpoints/last.ckpt.tmp"):
        (tmp_path / name).write_text("half")
    (tmp_path / ".writing-3").mkdir()
    (tmp_path / ".writing-3" / "trace").write_text("half")
    for name in ("notes.tmp.txt", "checkpoints/mine.tmp"):
        (tmp_path / name).write_text("the user's")
    with run_folder(str(tmp_path)):
        CheckpointManager(str(tmp_path / "checkpoints"), 2)
    assert sorted(os.listdir(tmp_path)) == ["checkpoints", "notes.tmp.txt"]
    assert os.listdir(tmp_path / "checkpoints") == ["mine.tmp"]


class Terminal:
    """A text stream that says it is one, and remembers."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return True


NAME = "run [/] [red]x[/red] :smile: \x1b[2J\x1b]0;title\x07"


def test_names_are_shown_as_they_are_and_control_nothing(tmp_path, monkeypatch):
    """Brackets are rich's markup to some, and escape sequences a terminal's."""
    folder, terminal = tmp_path / NAME, Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["train", "--model.name", "tiny", "--data.dataset", "synthetic", "--data.synthetic_size", "8",
                 "--data.input_size", "16", "--data.batch_size", "4", "--data.synthetic_classes", "4", "--train.epochs",
                 "1", "--run.device", "CPU", "--run.mode", "pynative", "--train.resume", "auto", "--run.dir",
                 str(folder)]) == 0
    shown = "run [/] [red]x[/red] :smile: \\x1b[2J\\x1b]0;title\\x07"
    assert f"there is no checkpoint under '{tmp_path}/{shown}' to resume from" in terminal.text
    assert terminal.text.endswith(f"results in {tmp_path}/{shown}\n")
    assert "\x1b[2J" not in terminal.text and "\x07" not in terminal.text
    assert shown in (folder / "log.txt").read_text() and "\x1b" not in (folder / "log.txt").read_text()


@pytest.mark.parametrize("terminal", [True, False])
def test_the_progress_too(terminal, monkeypatch, capsys, tmp_path):
    stream = Terminal()
    stream.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stdout", stream)
    with open(tmp_path / "log", "w+") as log:
        with Reporter(log, every=1).task("[/] \x1b[2J", 2, 1) as advance:
            advance(1, "[/bold] \x1b[2J")
        log.seek(0)
        assert "[/] \\x1b[2J 1/2: [/bold] \\x1b[2J, " in log.read()
    assert "\x1b[2J" not in stream.text
    if not terminal:
        assert "[/] \\x1b[2J 1/2: [/bold] " in stream.text
