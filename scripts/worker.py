"""Runs one process of a distributed job: places it, and records how it ended.

Started by msrun, mpirun or a launcher once a rank: `worker.py RECORDS [--bind FILE] [--log] -- COMMAND ...`. With --log
the output goes to RECORDS/worker_N.log, where msrun would have put it. The exit code of the command goes into
RECORDS/rank_N.exit (minus the signal where one ended it). A rank without that file was ended from outside together with
this process. So a launcher knows which rank failed first, which msrun's exit code does not tell. Where the launcher
(GHOST_MS_LAUNCHER) is gone without having ended its job, the command is asked to save its state and end.

MindSpore now and then crashes, or hangs, while a process of a CPU job leaves. The command makes the file that
GHOST_MS_DONE names when its work is done; a crash after that is told in the log, and counts as a good end, and one that
has not left LEAVE_AFTER seconds (120) later is ended by force, which counts as one too.

Needs Python alone, not MindSpore.
"""
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from typing import Dict, List, Optional

from outside import brief, new_file, printable, read_text

#: Seconds that a command has for saving its state when its launcher is gone.
STOP_AFTER = 120


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
    temporary = f"{path}.{secrets.token_hex(8)}"
    with open(new_file(temporary), "w") as file:
        file.write(f"{code}\n")
    os.replace(temporary, path)


def bind(path: str, local_rank: int) -> None:
    """Keep to the cores that the file (JSON, a list of cores for each local rank) has for this one.

    Raises:
        ValueError: the file is no such list, or the rank is none of it.
    """
    cores = json.loads(read_text(path))
    if not isinstance(cores, list) or not all(isinstance(own, list) and all(type(core) is int for core in own)
                                              for own in cores):
        raise ValueError(f"'{printable(path)}' is no list of cores for each rank")
    if 0 <= local_rank < len(cores) and cores[local_rank]:
        os.sched_setaffinity(0, cores[local_rank])


def begun(pid: str) -> str:
    """When a process began, in ticks since the host did; empty where there is none of that id, or it has ended."""
    try:
        with open(f"/proc/{int(pid)}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return fields[19] if fields[0] not in "ZX" else ""


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
        # nohup: a hangup is not for this job.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, forward)
    child = subprocess.Popen(command, env=environment)
    for number in early:
        child.send_signal(number)
    leaves_since = alone_since = None
    launcher, _, beginning = environment.get("GHOST_MS_LAUNCHER", "").partition(" ")
    # On another host, or where /proc hides it, the launcher is not seen from the start.
    seen = bool(beginning) and begun(launcher) == beginning
    while True:
        try:
            return judge(child.wait(timeout=1), os.path.exists(done))
        except subprocess.TimeoutExpired:
            leaves_since = leaves_since or (time.monotonic() if os.path.exists(done) else None)
        if alone_since is None and seen and begun(launcher) != beginning:
            alone_since = time.monotonic()
            print("ghost-ms: the launcher is gone: the training saves its state and ends", flush=True)
            child.terminate()
        if alone_since is not None and time.monotonic() - alone_since >= STOP_AFTER:
            child.kill()
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
    """Remove a file that may not be there, or a link that leads nowhere."""
    if os.path.lexists(path):
        os.remove(path)


def number_in(environment: Dict[str, str], *names: str) -> int:
    """The first of these variables that is set, 0 without any; ValueError unless it is a whole number."""
    name = next((name for name in names if name in environment), "")
    value = environment.get(name, "0")
    if not re.fullmatch("[0-9]{1,6}", value):
        raise ValueError(f"{name} is '{brief(value)}'; it is a whole number")
    return int(value)


def main(argv: List[str]) -> int:
    """Read the arguments, run, record; 2 with a sentence where there is nothing that could be run."""
    environment = place(dict(os.environ))
    scheduler = environment.get("MS_ROLE") == "MS_SCHED"
    try:
        if "--" not in argv[1:-1]:
            raise ValueError("usage: worker.py RECORDS [--bind FILE] [--log] -- COMMAND ...")
        folder, *options = argv[:argv.index("--")]
        os.makedirs(folder, exist_ok=True)
        name = "scheduler" if scheduler else str(number_in(environment, "RANK_ID"))
        if "--log" in options:
            log = new_file(os.path.join(folder, f"worker_{name}.log"))
            os.dup2(log, 1)
            os.dup2(log, 2)
    except (OSError, ValueError) as error:
        print(f"ghost-ms: error: {error}", file=sys.stderr)
        return 2
    code = prepare_and_run(folder, name, [] if scheduler else options, argv[argv.index("--") + 1:], environment)
    record(folder, name, code)
    return 128 - code if code < 0 else code


def prepare_and_run(folder: str, name: str, options: List[str], command: List[str], environment: Dict[str, str]) -> int:
    """The exit code of the command, or 2 or 127 where it could not be started."""
    done = os.path.join(folder, f"rank_{name}.done")
    remove(done)
    try:
        if "--bind" in options:
            # DEVICE_ID counts local ranks everywhere but in a rank table, where it is the card's own number.
            bind(options[options.index("--bind") + 1], number_in(environment, "LOCAL_RANK", "DEVICE_ID"))
        leave_after = number_in({"LEAVE_AFTER": "120", **environment}, "LEAVE_AFTER")
        return run(command, {**environment, "GHOST_MS_DONE": done}, done, leave_after)
    except ValueError as error:
        print(f"ghost-ms: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"ghost-ms: error: cannot start {printable(command[0])}: {error.strerror}", file=sys.stderr)
        return 127
    finally:
        remove(done)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
