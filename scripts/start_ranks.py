"""`start_ranks.py RECORDS SIZE RANK:DEVICE ... [--bind FILE] -- COMMAND ...`: the ranks of a rank table on this server.

Starts one scripts/worker.py a rank, each with RANK_ID, DEVICE_ID and RANK_SIZE, as HCCL's rank table wants them, and
waits for all. What the operator compiler writes goes into a folder of each rank's own (ASCEND_WORK_PATH). A signal to
this process ends the ranks.
"""
import os
import re
import signal
import subprocess
import sys
from typing import List

from outside import brief

WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")


def main(argv: List[str]) -> int:
    """Start, wait, and return the first exit code that is not 0; 2 with a sentence where the arguments are wrong."""
    cut = argv.index("--") if "--" in argv[2:-1] else 0
    (records, size, *ranks), command = argv[:cut] or ("", ""), argv[cut:]
    options = []
    if "--bind" in ranks:
        at = ranks.index("--bind")
        ranks, options = ranks[:at], ranks[at:]
    strange = [word for word in (size, *(number for pair in ranks for number in pair.split(":", 1)))
               if not re.fullmatch("[0-9]{1,6}", word)]
    if strange or not all(":" in pair for pair in ranks):
        print(f"ghost-ms: error: usage: start_ranks.py RECORDS SIZE RANK:DEVICE ... [--bind FILE] -- COMMAND ...; "
              f"'{brief((strange or ranks)[0])}' is none of these numbers", file=sys.stderr)
        return 2
    started: List[subprocess.Popen] = []

    def forward(*_):
        # Whichever it is: SIGTERM is what a training saves its state on.
        for process in started:
            process.terminate()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup: a hangup is not for this job.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, forward)
    for local, pair in enumerate(ranks):
        rank, device = pair.split(":")
        work = os.path.join(records, f"rank_{rank}")
        os.makedirs(work, exist_ok=True)
        environment = {**os.environ, "RANK_ID": rank, "DEVICE_ID": device, "RANK_SIZE": size, "LOCAL_RANK": str(local),
                       "ASCEND_WORK_PATH": work}
        # A process group each, as msrun does it, so that one rank's end leaves the launcher alive to tell of it.
        started.append(subprocess.Popen([sys.executable, WORKER, records, "--log", *options, *command],
                                        env=environment, start_new_session=True))
    codes = [process.wait() for process in started]
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
