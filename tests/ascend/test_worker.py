"""One rank: its variables, cores, log and record; and the ranks of a rank table."""
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import worker

from tests import processes
from tests.ascend.conftest import ROOT

SHOW = "import os; print(*(os.environ.get(n) for n in ('RANK_ID', 'RANK_SIZE', 'DEVICE_ID', 'ASCEND_WORK_PATH')))"


def _run(folder, *arguments, **variables):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RANK", "MS_", "OMPI"))}
    return subprocess.run([sys.executable, ROOT / "scripts" / arguments[0], folder, *arguments[1:]],
                          env={**clean, **variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60)


@pytest.mark.parametrize("code, recorded, returned", [("raise SystemExit(3)", "3\n", 3), ("pass", "0\n", 0),
                                                      ("import os; os.kill(os.getpid(), 9)", "-9\n", 137)])
def test_the_end_of_a_rank_is_recorded(code, recorded, returned, tmp_path):
    done = _run(tmp_path, "worker.py", "--", sys.executable, "-c", code, RANK_ID="5")
    assert done.returncode == returned and (tmp_path / "rank_5.exit").read_text() == recorded
    assert os.listdir(tmp_path) == ["rank_5.exit"]


@pytest.mark.parametrize("done, number, recorded", [(True, 11, 0), (False, 11, -11), (True, 9, -9)])
def test_a_crash_after_the_work_is_a_good_end(done, number, recorded, tmp_path):
    (tmp_path / "rank_5.done").write_text("of an earlier job")
    code = "import os; " + "open(os.environ['GHOST_MS_DONE'], 'w'); " * done + f"os.kill(os.getpid(), {number})"
    result = _run(tmp_path, "worker.py", "--", sys.executable, "-c", code, RANK_ID="5")
    assert result.returncode == (128 - recorded if recorded else 0) and os.listdir(tmp_path) == ["rank_5.exit"]
    assert (tmp_path / "rank_5.exit").read_text() == f"{recorded}\n"
    assert ("MindSpore crashed on leaving (SIGSEGV)" in result.stdout) == (recorded == 0)


def test_a_command_that_does_not_leave_after_its_work(tmp_path):
    code = "import os, time; open(os.environ['GHOST_MS_DONE'], 'w'); time.sleep(300)"
    result = _run(tmp_path, "worker.py", "--", sys.executable, "-c", code, RANK_ID="5", LEAVE_AFTER="1")
    assert result.returncode == 0 and "MindSpore did not leave within 1 s" in result.stdout
    assert (tmp_path / "rank_5.exit").read_text() == "0\n" and os.listdir(tmp_path) == ["rank_5.exit"]


def test_a_command_has_all_time_for_its_work(tmp_path):
    result = _run(tmp_path, "worker.py", "--", sys.executable, "-c", "import time; time.sleep(3)", RANK_ID="5",
                  LEAVE_AFTER="1")
    assert result.returncode == 0 and result.stdout == ""


def test_a_signal_to_the_starter_of_a_rank_table_reaches_the_ranks(tmp_path):
    code = ("import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print('up', flush=True); "
            "time.sleep(60)")
    job = subprocess.Popen([sys.executable, ROOT / "scripts/start_ranks.py", tmp_path, "2", "0:0", "1:1", "--",
                            sys.executable, "-c", code])
    logs, deadline = [tmp_path / f"worker_{rank}.log" for rank in (0, 1)], time.time() + 30
    while time.time() < deadline and not all(log.exists() and log.read_text() for log in logs):
        time.sleep(0.1)
    job.send_signal(signal.SIGINT)
    assert job.wait(timeout=30) == 7
    assert [(tmp_path / f"rank_{rank}.exit").read_text() for rank in (0, 1)] == ["7\n", "7\n"]


def test_a_command_that_is_not_there(tmp_path):
    done = _run(tmp_path, "worker.py", "--log", "--", "/nowhere/python", RANK_ID="0")
    assert done.returncode == 127 and (tmp_path / "rank_0.exit").read_text() == "127\n"
    assert (tmp_path / "worker_0.log").read_text() == ("ghost-ms: error: cannot start /nowhere/python: No such file or "
                                                       "directory\n")


def test_variables_of_mpirun():
    assert worker.place({"OMPI_COMM_WORLD_RANK": "9", "OMPI_COMM_WORLD_SIZE": "16", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
                         "DEVICE_ID": "7"}) == {
        "OMPI_COMM_WORLD_RANK": "9", "OMPI_COMM_WORLD_SIZE": "16", "OMPI_COMM_WORLD_LOCAL_RANK": "1", "RANK_ID": "9",
        "RANK_SIZE": "16", "DEVICE_ID": "1"}


def test_the_scheduler_has_a_record_of_its_own_and_no_cores(tmp_path):
    cores = tmp_path / "cores"
    cores.write_text("[[999]]")
    done = _run(tmp_path / "r", "worker.py", "--bind", cores, "--", sys.executable, "-c", "", MS_ROLE="MS_SCHED",
                RANK_ID="0")
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path / "r") == ["rank_scheduler.exit"]


def test_a_rank_keeps_to_its_cores(tmp_path):
    mine = sorted(os.sched_getaffinity(0))[-1]
    cores = tmp_path / "cores"
    cores.write_text(json.dumps([[], [mine]]))
    done = _run(tmp_path, "worker.py", "--bind", cores, "--", sys.executable, "-c",
                "import os; print(os.sched_getaffinity(0))", RANK_ID="3", DEVICE_ID="1")
    assert done.stdout == f"{{{mine}}}\n"


def test_ranks_of_a_rank_table(tmp_path):
    """Each has its rank, its card, and a folder of its own; the first failure is the exit code."""
    done = _run(tmp_path, "start_ranks.py", "4", "2:0", "3:5", "--", sys.executable, "-c",
                SHOW + "; raise SystemExit(int(os.environ['RANK_ID']) == 3)")
    assert done.returncode == 1
    assert (tmp_path / "worker_2.log").read_text() == f"2 4 0 {tmp_path}/rank_2\n"
    assert (tmp_path / "worker_3.log").read_text() == f"3 4 5 {tmp_path}/rank_3\n"
    assert [(tmp_path / f"rank_{rank}.exit").read_text() for rank in (2, 3)] == ["0\n", "1\n"]


def test_what_a_test_leaves_behind_is_ended(tmp_path):
    left = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"],
                            start_new_session=True, stdout=subprocess.PIPE)
    left.stdout.readline()  # before a process runs, /proc does not show its variables
    assert processes.marked(tmp_path) == [left.pid]
    processes.end_marked(tmp_path)
    assert left.wait(timeout=30) == -signal.SIGKILL and processes.marked(tmp_path) == []
