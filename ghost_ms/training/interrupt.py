"""SIGTERM and Ctrl-C: noted when they come, obeyed between two steps."""
import os
import signal
import threading


class Stopped(Exception):
    """A training that was asked to stop and has saved its state.

    Args:
        message: where it stands, where it is saved, and how to go on.
        number: of the signal.
    """

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.number = number


class Interruption:
    """While it is entered, the first SIGTERM or SIGINT is only noted, in `number`; a second one acts as ever.

    Signals reach the main thread of Python alone, so in another thread this does nothing.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self):
        self.number = 0
        self._before = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, _) -> None:
        # Every run of a compiled graph sets a handler of MindSpore's for SIGINT, which sends SIGTERM to its own
        # process. So a SIGTERM to the process that a terminal's keys go to was most likely Ctrl-C.
        self.number = signal.SIGINT if _in_foreground() else number
        self._restore()
        # Not print: the signal may have come in the middle of one.
        os.write(2, b"\nghost-ms: stopping, the state will be saved; once more to stop at once\n")


def _in_foreground() -> bool:
    """Whether this process belongs to those that the keys of a terminal go to."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
