"""What a run shows while it works: a bar on a terminal, plain lines in a log file or a pipe."""
import contextlib
import sys
import time
from typing import Iterable, Iterator, Optional, Sequence, TextIO

from ghost_ms.core.text import printable


class Waiting:
    """Hands on what another iterable gives, and counts the seconds until each item came.

    Args:
        items: such as the batches of an epoch.
    """

    def __init__(self, items: Iterable):
        self.items, self.seconds = iter(items), 0.0

    def __iter__(self) -> Iterator:
        return self

    def __next__(self):
        start = time.perf_counter()
        try:
            return next(self.items)
        finally:
            self.seconds += time.perf_counter() - start


def peak_memory() -> float:
    """The largest resident memory that this process has had, in MB; of the host, not of an accelerator."""
    import resource  # POSIX only; the rest of this file is not.

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


class Reporter:
    """Writes lines to the screen and, where one is given, to the run's log; no text is taken for markup or colour.

    Args:
        log: an open text file.
        every: steps between two plain lines.
        lost: see `core.streams.unbreakable`; what it says goes into the log.
    """

    def __init__(self, log: Optional[TextIO] = None, every: int = 50, lost: Sequence[str] = ()):
        self.log, self.every, self.lost, self.told = log, every, lost, 0
        self.terminal = sys.stdout.isatty()

    def line(self, text: str) -> None:
        """One line, everywhere."""
        print(printable(text), flush=True)
        self.note(text)

    def note(self, text: str) -> None:
        """One line, in the log alone."""
        if self.log is None:
            return
        told, self.told = self.told, len(self.lost)
        try:
            for line in (*self.lost[told:], text):
                self.log.write(printable(line) + "\n")
            self.log.flush()
        except OSError as error:
            raise OSError(f"cannot write the log '{self.log.name}': {error.strerror}") from None

    @contextlib.contextmanager
    def task(self, title: str, total: int, batch: int, first: int = 0):
        """Progress over `total` steps of `batch` images, `first` of which are done; yields a function (step, text) to
        call after each."""
        start = time.perf_counter()

        def rate(step: int) -> str:
            seconds = max(time.perf_counter() - start, 1e-9)
            left = (total - step) * seconds / (step - first)
            return f"{(step - first) * batch / seconds:.0f} images/s, {int(left) // 60}:{int(left) % 60:02d} left"

        if not self.terminal:
            def advance(step: int, text: str) -> None:
                if step % self.every == 0 or step == total:
                    self.line(f"{title} {step}/{total}: {text}, {rate(step)}")

            yield advance
            return

        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
                   TextColumn("{task.fields[text]}", markup=False))
        with Progress(*columns, transient=True) as bar:
            handle = bar.add_task(printable(title), total=total, completed=first, text="compiling" if total else "")

            def advance(step: int, text: str) -> None:
                bar.update(handle, completed=step, text=printable(f"{text}, {rate(step)}"))
                if step % self.every == 0 or step == total:
                    self.note(f"{title} {step}/{total}: {text}, {rate(step)}")

            yield advance
