"""Standard streams that may close while a long piece of work goes on: `| head`, a `tee` that dies, a lost terminal."""
import contextlib
import os
import signal
import sys
import threading
from typing import Any, Iterator, List


@contextlib.contextmanager
def unbreakable() -> Iterator[List[str]]:
    """For a while no failed write to sys.stdout or sys.stderr raises: the stream is given to the null device instead.

    It stays there afterwards, so that Python's leaving does not complain either. Native code that writes to the same
    descriptor is helped too.

    Yields:
        A list that receives a sentence for every stream that was lost.
    """
    outer = getattr(sys.stdout, "lost_streams", None)
    if outer is not None:
        yield outer
        return
    lost: List[str] = []
    before = sys.stdout, sys.stderr
    guards = _Guard(sys.stdout, "standard output", lost), _Guard(sys.stderr, "standard error", lost)
    sys.stdout, sys.stderr = guards
    try:
        with _no_sigpipe():
            yield lost
    finally:
        for guard in guards:
            guard.flush()
        # A test or a notebook may have put streams of its own there meanwhile.
        sys.stdout, sys.stderr = (old if now is guard else now
                                  for old, now, guard in zip(before, (sys.stdout, sys.stderr), guards))


class _Guard:
    """A text stream whose writes do not fail; all else is the stream's own."""

    def __init__(self, stream: Any, name: str, lost: List[str]):
        self._stream, self._name, self.lost_streams = stream, name, lost

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            self.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError, AttributeError) as error:
            self._lose(error)
        return len(text)

    def writelines(self, lines) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError, AttributeError) as error:
            self._lose(error)

    def isatty(self) -> bool:
        try:
            return self._stream.isatty()
        except (OSError, ValueError, AttributeError):
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: Exception) -> None:
        # A full pipe that was opened not to block is not lost; what it cannot take is.
        if isinstance(error, BlockingIOError):
            return
        self.lost_streams.append(f"{self._name} is closed ({getattr(error, 'strerror', None) or error}): nothing is "
                                 "shown any more, and the work goes on")
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, self._stream.fileno())
        except (OSError, ValueError, AttributeError):
            # A stream without a descriptor, or closed by the program itself.
            self._stream = open(null, "w", closefd=False)
            return
        os.close(null)


@contextlib.contextmanager
def _no_sigpipe() -> Iterator[None]:
    """Python ignores SIGPIPE from its start; a program that has changed that would be ended by a closed pipe."""
    if not hasattr(signal, "SIGPIPE") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield
    finally:
        # None: set by native code, and Python cannot set it again.
        if before is not None:
            signal.signal(signal.SIGPIPE, before)
