"""Lines of JSON to and from a process of one's own: what happens there, a crash included, ends in one sentence here.

The process answers each line by one, and may tell something unasked at its start and at its end; {"error": ...} in
place of an answer is a sentence. `lite_runner.py`, which another Python runs, keeps to the same without this module.
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Sequence


class Ended(ValueError):
    """The process has ended, or answers by an error; its reason, half a sentence."""


class Process:
    """A process that is talked to; to be closed, or used in a `with`.

    Args:
        command: starts it.
        environment: variables besides this process's own.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], environment: Optional[Mapping[str, str]] = None):
        self.log = tempfile.TemporaryFile("w+", errors="replace")
        self.process = subprocess.Popen(list(command), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log, env={**os.environ, **(environment or {})})

    def __del__(self):
        if getattr(self, "process", None) is not None and self.process.poll() is None:
            self.kill()

    def answer(self) -> Dict[str, Any]:
        """What the process tells next.

        Raises:
            Ended: it has ended, or tells an error.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise self._ended()
        found = json.loads(line)
        if "error" in found:
            raise Ended(found["error"])
        return found

    def told(self, seconds: float) -> Iterator[Dict[str, Any]]:
        """What a process that is asked nothing tells until its end.

        Raises:
            Ended: after that, where it ended badly, or was ended because it took longer than these seconds.
        """
        assert self.process.stdout is not None and self.process.stdin is not None
        self.process.stdin.close()
        late = threading.Event()

        def end() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(seconds, end)
        timer.start()
        try:
            for line in self.process.stdout:
                yield json.loads(line)
        finally:
            timer.cancel()
        if late.is_set():
            self.process.wait()
            raise Ended(f"it took longer than {seconds:g} s")
        if self.process.wait():
            raise self._ended()

    def _ended(self) -> Ended:
        code = self.process.wait()
        self.log.seek(0)
        return Ended(f"its process died by {signal.Signals(-code).name}" if code < 0 else
                     reason_in(self.log.read(), code))

    def ask(self, **request: Any) -> Dict[str, Any]:
        """The answer to a request; errors as `answer`."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # The answer, or its absence, tells why.
        return self.answer()

    def close(self) -> Dict[str, Any]:
        """End the process; what it tells at its end, nothing where it has died before."""
        out, _ = self.process.communicate()
        self.log.close()
        return json.loads(out) if out.strip() else {}

    def kill(self) -> None:
        """End the process without a word."""
        self.process.kill()
        self.process.wait()


def reason_in(log: str, code: int = 0) -> str:
    """The last line of a log that says what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "ERROR" in line or "error" in line]
    return (errors or lines or [f"it ended with code {code} and gave no reason"])[-1]


def speaker() -> Callable[..., None]:
    """For the process talked to: `tell(**facts)` writes a line for its parent; what libraries print goes to the log."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout.flush()

    def tell(**facts: Any) -> None:
        print(json.dumps(facts), file=out, flush=True)

    return tell
