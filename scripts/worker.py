"""Runs one process of a distributed job: places it, and records how it ended.

Started by msrun, mpirun or a launcher once a rank: `worker.py RECORDS [--bind FILE] [--log] -- COMMAND ...`. With --log
the output goes to RECORDS/worker_N.log, where msrun would have put it. The exit code of the command goes into
RECORDS/rank_N.exit (minus the signal where one ended it). A rank without that file was ended from outside together with
this process. So a launcher knows which rank failed first, which msrun's exit code does not tell.

MindSpore now and then crashes, or hangs, while a process of a CPU job leaves. The command makes the file that
GHOST_MS_DONE names when its work is done; a crash after that is told in the log, and counts as a good end, and one that
has not left LEAVE_AFTER seconds (120) later is ended by force, which counts as one too.

Needs Python alone, not MindSpore.
"""
import json
import os
import signal
import subprocess
import sys
import time
from typing import Dict, List, Optional


def place(environment: Dict[str, str]) -> Dict[str, str]:
    """The environment with RANK_ID, RANK_SIZE and DEVICE_ID also where mpirun has set only its own names."""
    environment = dict(environment)
    for ours, theirs in (("RANK_ID", "OMPI_COMM_WORLD_RANK"), ("RANK_SIZE", "OMPI_COMM_WORLD_SIZE"),
                         ("DEVICE_ID", "OMPI_COMM_WORLD_LOCAL_RANK")):
        if theirs in environment:
            environment[ours] = environment[theirs]
    return environment


def record(folder: str, rank: str, code: int) -> None:
    """Write the exit code whole or not at all."""
    path = os.path.join(folder, f"rank_{rank}.exit")
    with open(f"{path}.{os.getpid()}", "w") as file:
        file.write(f"{code}\n")
    os.replace(f"{path}.{os.getpid()}", path)


def bind(path: str, local_rank: int) -> None:
    """Keep to the cores that the file (JSON, a list of cores for each local rank) has for this one."""
    with open(path) as file:
        cores = json.load(file)
    if local_rank < len(cores) and cores[local_rank]:
        os.sched_setaffinity(0, cores[local_rank])


def run(command: List[str], environment: Dict[str, str], done: str, leave_after: float) -> int:
    """Run the command to its end, or for so many seconds after it made the file `done`.

    A signal to this process is handed to the command. The exit code is minus the signal that ended the command, and 0
    for a crash or an end by force after its work.
    """
    child: Optional[subprocess.Popen] = None
    early: List[int] = []

    def forward(number, _):
        if child is None:
            early.append(number)
        elif child.poll() is None:
            child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)
    child = subprocess.Popen(command, env=environment)
    for number in early:
        child.send_signal(number)
    leaves_since = None
    while True:
        try:
            return judge(child.wait(timeout=1), os.path.exists(done))
        except subprocess.TimeoutExpired:
            leaves_since = leaves_since or (time.monotonic() if os.path.exists(done) else None)
        if leaves_since is not None and time.monotonic() - leaves_since >= leave_after:
            child.kill()
            print(f"ghost-ms: the work was done, but MindSpore did not leave within {leave_after:g} s", flush=True)
            return 0


def judge(code: int, finished: bool) -> int:
    """The exit code of a command, 0 for a crash after its work."""
    if not (finished and -code in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)):
        return code
    print(f"ghost-ms: the work was done when MindSpore crashed on leaving ({signal.Signals(-code).name})", flush=True)
    return 0


def remove(path: str) -> None:
    """Remove a file that may not be there."""
    if os.path.exists(path):
        os.remove(path)


def main(argv: List[str]) -> int:
    """Read the arguments, run, record."""
    folder, *options = argv[:argv.index("--")]
    command = argv[argv.index("--") + 1:]
    os.makedirs(folder, exist_ok=True)
    environment = place(dict(os.environ))
    scheduler = environment.get("MS_ROLE") == "MS_SCHED"
    if "--bind" in options and not scheduler:
        # DEVICE_ID counts local ranks everywhere but in a rank table, where it is the card's own number.
        local = environment.get("LOCAL_RANK", environment.get("DEVICE_ID", "0"))
        bind(options[options.index("--bind") + 1], int(local))
    name = "scheduler" if scheduler else environment.get("RANK_ID", "0")
    if "--log" in options:
        log = os.open(os.path.join(folder, f"worker_{name}.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
    done = os.path.join(folder, f"rank_{name}.done")
    remove(done)
    try:
        code = run(command, {**environment, "GHOST_MS_DONE": done}, done, float(environment.get("LEAVE_AFTER", 120)))
    except OSError as error:
        print(f"ghost-ms: error: cannot start {command[0]}: {error.strerror}", file=sys.stderr)
        code = 127
    remove(done)
    record(folder, name, code)
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
