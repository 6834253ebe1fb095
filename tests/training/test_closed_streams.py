"""A training whose output nobody takes any more goes on to its end, and its exit code tells of the training alone."""
import csv
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
OPTIONS = """--model.name tiny --data.dataset synthetic --data.synthetic_size 40 --data.synthetic_classes 4
--data.batch_size 8 --data.eval_batch_size 16 --data.input_size 16 --data.workers 1 --train.log_every 1
--run.device CPU --run.mode pynative"""
LOST = r"^{} is closed \({}\): nothing is shown any more, and the work goes on$"


def _command(folder, *options):
    script = str(ROOT / "tests/training/tiny_train.py")
    return [sys.executable, script, *OPTIONS.split(), "--run.dir", str(folder), *options]


def _start(folder, *options, **streams):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(_command(folder, *options), env=environment, **streams)


def _assert_whole(folder, epochs):
    """The training ended; returns its log."""
    assert len(list(csv.DictReader(open(folder / "metrics.csv")))) == epochs
    assert (folder / "checkpoints" / "best.ckpt").exists()
    log = (folder / "log.txt").read_text()
    assert f"epoch {epochs}/{epochs}: train loss" in log
    return log


def test_a_reader_that_goes_away(tmp_path):
    """As `| head -n 1`, with standard error in the same pipe (`2>&1`)."""
    child = _start(tmp_path, "--train.epochs", "2", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # The kernels may be compiled first, and that is said.
    assert any(line.startswith("tiny: ") for line in child.stdout)
    child.stdout.close()
    assert child.wait(120) == 0
    log = _assert_whole(tmp_path, 2)
    assert len(re.findall(LOST.format("standard output", "Broken pipe"), log, re.M)) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_under_the_output_and_a_closed_standard_error(tmp_path):
    with open("/dev/full", "w") as full:
        child = _start(tmp_path, "--train.epochs", "1", stdout=full, stderr=subprocess.PIPE)
        child.stderr.close()
        assert child.wait(120) == 0
    assert re.search(LOST.format("standard output", "No space left on device"), _assert_whole(tmp_path, 1), re.M)


def test_streams_that_were_never_open(tmp_path):
    """As `>&- 2>&- <&-`: no file of the run takes their place."""
    command = ["sh", "-c", '"$@" >&- 2>&- <&-', "sh", *_command(tmp_path, "--train.epochs", "1")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    assert subprocess.run(command, env=environment, timeout=120).returncode == 0
    assert "epoch 1/1 5/5: loss" in _assert_whole(tmp_path, 1)


def test_a_terminal_that_is_closed_saves_the_training(tmp_path):
    """The bar is drawn on it; its end sends SIGHUP and makes every write fail."""
    process, terminal = pty.fork()
    if not process:
        os.environ.update(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
        os.execv(sys.executable, _command(tmp_path, "--train.epochs", "10000", "--data.synthetic_size", "4000"))
    try:
        log, end = tmp_path / "log.txt", time.time() + 120
        while time.time() < end and not (log.exists() and "epoch 1/10000 3/500" in log.read_text()):
            os.read(terminal, 100000)
        os.close(terminal)
        _, status = os.waitpid(process, 0)
    finally:
        if "status" not in locals():
            os.kill(process, signal.SIGKILL)
    # The second SIGHUP of a lost terminal may end it once all is saved.
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 or os.WTERMSIG(status) == signal.SIGHUP
    last = log.read_text().splitlines()[-1]
    assert re.match(r"stopped by SIGHUP at step \d+ of epoch 1: saved in", last), last
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()
