"""Processes that tests start: ports for them, and their end."""
import contextlib
import glob
import os
import random
import signal
import socket

#: A variable that every process started by a test inherits; its value tells the tests apart.
MARK = "GHOST_MS_TEST"


def free_port():
    """A port that nobody holds and that no outgoing connection is given (those begin at 32768)."""
    while True:
        port = random.SystemRandom().randrange(20000, 32768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port


def marked(value):
    """Ids of the living processes that carry the mark."""
    wanted, found = f"{MARK}={value}".encode(), []
    for path in glob.glob("/proc/[0-9]*/environ"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if wanted in file.read().split(b"\0"):
                found.append(int(path.split("/")[2]))
    return found


def end_marked(value):
    """End them by force: MindSpore's ranks spin, and would slow down every later test."""
    for pid in marked(value):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
