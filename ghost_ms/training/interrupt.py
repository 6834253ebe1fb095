"""SIGTERM, Ctrl-C and a lost terminal: noted when they come, obeyed between two steps."""
import contextlib
import os
import signal
import threading
from typing import Tuple


class Stopped(Exception):
    """A training that was asked to stop and has saved its state.

    Args:
        message: where it stands, where it is saved, and how to go on.
        number: of the signal; 0 where it was none.
    """

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.number = number


class Interruption:
    """While it is entered, the first SIGTERM or SIGINT is only noted, in `number`; a second one acts as ever.

    So is SIGHUP, unless it was ignored (`nohup`); but a second one does nothing more, since a terminal that goes away
    sends several. Signals reach the main thread of Python alone, so in another thread this does nothing.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)
    HANGUP = getattr(signal, "SIGHUP", None)
    ALL = (*SIGNALS, *([HANGUP] if HANGUP else []))

    def __init__(self):
        self.number = 0
        self._before = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
            if self.HANGUP is not None and signal.getsignal(self.HANGUP) != signal.SIG_IGN:
                self._before[self.HANGUP] = signal.signal(self.HANGUP, self._note)
        return self

    def __exit__(self, *_) -> None:
        self._restore(tuple(self._before))

    def _restore(self, numbers: Tuple[int, ...]) -> None:
        for number in numbers:
            handler = self._before.pop(number, None)
            if handler is not None:
                signal.signal(number, handler)

    def _note(self, number: int, _) -> None:
        if number == self.HANGUP:
            self.number = self.number or number
            said = b"\nghost-ms: the terminal is gone, the state will be saved\n"
        else:
            # Every run of a compiled graph sets a handler of MindSpore's for SIGINT, which sends SIGTERM to its own
            # process. So a SIGTERM to the process that a terminal's keys go to was most likely Ctrl-C.
            self.number = signal.SIGINT if _in_foreground() else number
            self._restore(self.SIGNALS)
            said = b"\nghost-ms: stopping, the state will be saved; once more to stop at once\n"
        # Not print: the signal may have come in the middle of one. And nobody may be left to read it.
        with contextlib.suppress(OSError):
            os.write(2, said)


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
