"""Launchers whose reader, terminal or own life ends: the job goes on, or ends with its work saved; nothing is left."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.ascend.conftest import ROOT, listen
from tests.ascend.jobs import job_of, left, text_of, write_job

SAVES = "trap 'echo saved $RANK_ID; exit 0' TERM; echo ready; while true; do sleep 0.1; done"


def _wait(condition, seconds=30):
    deadline = time.time() + seconds
    while time.time() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def _both(logs, words):
    return all(words in text_of(logs / f"worker_{rank}.log") for rank in (0, 1))


def test_ranks_of_a_launcher_that_is_killed_save_and_end(tmp_path):
    """Nobody is left who would watch them; a killed launcher cannot say so itself."""
    job, logs = job_of(tmp_path, SAVES)
    assert _wait(lambda: _both(logs, "ready"))
    job.kill()
    job.wait(timeout=30)
    assert _wait(lambda: not left(logs)), left(logs)
    assert _both(logs, "ghost-ms: the launcher is gone: the training saves its state and ends")
    assert [f"saved {rank}" in text_of(logs / f"worker_{rank}.log") for rank in (0, 1)] == [True, True]
    assert [(logs / f"rank_{rank}.exit").read_text() for rank in (0, 1)] == ["0\n", "0\n"]


def test_a_launcher_that_was_never_seen_is_not_missed(tmp_path):
    """On another host its number may be anybody's."""
    done = subprocess.run([sys.executable, ROOT / "scripts/worker.py", tmp_path, "--", "sleep", "2.5"], timeout=60,
                          stdout=subprocess.PIPE, env={**os.environ, "GHOST_MS_LAUNCHER": f"{os.getpid()} 1"})
    assert done.returncode == 0 and done.stdout == b""


def test_under_nohup_a_hangup_counts_for_nothing(tmp_path):
    script, logs = write_job(tmp_path, "trap 'echo saved' TERM; echo ready; sleep 2; echo worked")
    job = subprocess.Popen(["bash", "-c", f"trap '' HUP; exec bash {script}"], stdout=subprocess.PIPE, text=True,
                           start_new_session=True)
    assert _wait(lambda: _both(logs, "ready"))
    os.killpg(job.pid, signal.SIGHUP)
    for pid in left(logs):
        if "/scripts/worker.py" in pathlib.Path(f"/proc/{pid}/cmdline").read_text(errors="replace"):
            os.kill(int(pid), signal.SIGHUP)
    out, _ = job.communicate(timeout=60)
    assert job.returncode == 0 and "done: every rank ended well" in out and _both(logs, "worked")
    assert "saved" not in "".join(map(text_of, logs.glob("worker_*.log")))


@pytest.mark.parametrize("how, code", [("| head -n 1", 0), ("| head -n 1", 3), ("| (exec <&-; sleep 1)", 0),
                                       (">&- 2>&- <&-", 0), ("2>&-", 3)])
def test_a_reader_that_is_gone_ends_no_job(how, code, tmp_path):
    """`launcher | head`, a pager that is left, a closed stream."""
    script, logs = write_job(tmp_path, f"echo a; sleep 0.7; echo b; sleep 0.7; echo worked; exit {code}")
    subprocess.run(["bash", "-c", f"bash {script} {how}; echo ${{PIPESTATUS[0]}} > {tmp_path}/status"],
                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert (tmp_path / "status").read_text() == f"{int(bool(code))}\n"
    assert "worked" in text_of(logs / "worker_0.log") + text_of(logs / "worker_1.log") and not left(logs)
    assert f"{code}\n" in [path.read_text() for path in logs.glob("rank_*.exit")]


# The quickstart, with a stand-in for its interpreter.

STAND_IN = """#!/usr/bin/env bash
case "$*" in
    "-c import sys"*) exit 0 ;;
    train.py*) trap 'echo saved; exit 0' TERM; echo $$ > {folder}/train; while true; do sleep 0.1; done ;;
    *) touch {folder}/went-on ;;
esac
"""


@pytest.fixture
def quickstart(tmp_path):
    """The running script, in a clone whose environment is there already."""
    clone = tmp_path / "a clone"
    for name in ("scripts/quickstart.sh", "scripts/setup_env.sh", "setup.py", "constraints.txt"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(STAND_IN.format(folder=tmp_path))
    python.chmod(0o755)
    mark = subprocess.run(["bash", "-c", 'printf %s " $(cksum setup.py constraints.txt | cksum)"'], cwd=clone,
                          stdout=subprocess.PIPE, text=True, check=True).stdout
    (clone / ".venv" / "installed").write_text(mark)
    job = subprocess.Popen(["bash", clone / "scripts/quickstart.sh"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, preexec_fn=listen, start_new_session=True)
    assert _wait(lambda: (tmp_path / "train").exists() and (tmp_path / "train").read_text().strip())
    return job


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_quickstart_ends_what_it_runs(number, quickstart, tmp_path):
    """Ctrl-C reaches the whole group of the terminal, kill the script alone; the training hears of it once."""
    if number == signal.SIGINT:
        os.killpg(quickstart.pid, number)
    else:
        os.kill(quickstart.pid, number)
    out, _ = quickstart.communicate(timeout=30)
    assert quickstart.returncode == 130 and out.count("saved") == 1 and not (tmp_path / "went-on").exists()
    assert not os.path.exists(f"/proc/{(tmp_path / 'train').read_text().strip()}")


@pytest.mark.parametrize("kind, jobs", [("teacher", 1), ("plain_seed1", 1), ("plain_seed2", 2)])
def test_a_signal_to_the_comparison_ends_its_trainings(kind, jobs, tmp_path):
    """Not before they have saved, however long that takes; none is begun after it."""
    python = tmp_path / "python"
    python.write_text(f"#!/usr/bin/env bash\ncd {tmp_path}\ncase \"$*\" in *train.py*) ;; *) exit ;; esac\n"
                      "trap 'sleep 1; echo saved; exit 1' TERM\necho one >> began\n"
                      f"case {kind}:\"$*\" in teacher:* | plain*:*_seed*) while true; do sleep 0.1; done ;; esac\n")
    python.chmod(0o755)
    (tmp_path / "data").mkdir()
    job = subprocess.Popen(["bash", ROOT / "scripts/compare_distillation.sh", "data", "--output", "out", "--jobs",
                            str(jobs)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           preexec_fn=listen, start_new_session=True, env={**os.environ, "PYTHON": str(python)})
    begins = 1 + jobs * (kind != "teacher")
    assert _wait(lambda: text_of(tmp_path / "began").count("one") == begins)
    os.kill(job.pid, signal.SIGTERM)
    assert job.wait(timeout=30) == 130 and text_of(tmp_path / f"out/{kind}.log").endswith("saved\n")
    assert not left(tmp_path) and text_of(tmp_path / "began").count("one") == begins
