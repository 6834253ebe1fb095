"""Jobs without MindSpore, for tests of how a launcher watches and ends one."""
import os
import shlex
import subprocess
import sys

from tests.ascend.conftest import ROOT, listen

# Ranks under scripts/worker.py, each in a process group of its own as msrun starts them.
JOB = """
. {root}/scripts/launch.sh
PYTHON={python}
export PYTHON
LOG_DIR={logs}
{before}
start 0 2 bash -c '{starter_begins}
for rank in 0 1; do
    RANK_ID=$rank setsid {python} {root}/scripts/worker.py {logs} --log -- bash -c "$1" &
done
wait
{starter_ends}' job {command}
"""


def write_job(folder, command, before="", starter_begins="", starter_ends=""):
    """(script of a launcher whose two ranks run the command in a shell, folder of its logs)."""
    logs = folder / "logs"
    logs.mkdir()
    script = folder / "job.sh"
    script.write_text("#!/usr/bin/env bash\n" + JOB.format(
        root=ROOT, python=sys.executable, logs=logs, command=shlex.quote(command), before=before,
        starter_begins=starter_begins, starter_ends=starter_ends))
    return script, logs


def job_of(folder, command, before="", starter_begins="", starter_ends="", **variables):
    """(running launcher, folder of its logs)."""
    script, logs = write_job(folder, command, before, starter_begins, starter_ends)
    return subprocess.Popen(["bash", str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True, preexec_fn=listen, env={**os.environ, **variables}), logs


def left(folder):
    """Ids of processes that still name the folder of a job."""
    return subprocess.run(["pgrep", "-f", str(folder)], stdout=subprocess.PIPE, text=True).stdout.split()


def text_of(path):
    """What a file holds, nothing where there is none."""
    return path.read_text() if path.exists() else ""
