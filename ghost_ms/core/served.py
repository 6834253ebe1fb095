"""A file that is run in a process of its own: what its runtime does there, a crash included, ends in one sentence here.

The process is told lines of JSON and answers each by one. First, unasked, it tells that the file is loaded; then
{"input": A.npy, "output": B.npz} runs it, whose outputs are arr_0, arr_1, ... of the written file, and the answer tells
their names where the runtime has some. {"error": ...} in place of an answer is a sentence.
"""
import json
import os
import signal
import subprocess
import tempfile
from typing import Any, List, Optional, Sequence

import numpy as np


class Served:
    """A loaded file, called with images; to be closed, or used in a `with`.

    Args:
        command: starts the process.
        path: the file.
        runtime: what runs it, for sentences, such as 'MindSpore Lite'.
        remedy: what to do where the process cannot be started.

    Raises:
        ValueError: the process cannot be started, or cannot load the file.
    """

    def __init__(self, command: Sequence[str], path: str, runtime: str, remedy: str):
        self.path, self.runtime = path, runtime
        self.folder = tempfile.TemporaryDirectory()
        self.log = open(os.path.join(self.folder.name, "log"), "w+", errors="replace")
        try:
            self.process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=self.log)
        except OSError as error:
            raise ValueError(f"cannot start {command[0]} ({error.strerror}): {remedy}") from None
        self.names: List[str] = []
        self.facts = self._answer()

    def __del__(self):
        if getattr(self, "process", None) is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.log.seek(0)
            reason = f"its process died by {signal.Signals(-code).name}" if code < 0 else reason_in(self.log.read())
            raise ValueError(f"{self.runtime} cannot run '{self.path}': {reason}")
        answer = json.loads(line)
        if "error" in answer:
            raise ValueError(f"{self.runtime} cannot run '{self.path}': {answer['error']}")
        return answer

    def ask(self, **request) -> dict:
        """The answer to a request; ValueError where the process has none."""
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # The answer, or its absence, tells why.
        return self._answer()

    def __call__(self, images: np.ndarray) -> Any:
        """The output for a batch of images, or the tuple of all outputs where there are several."""
        source, target = (os.path.join(self.folder.name, name) for name in ("in.npy", "out.npz"))
        np.save(source, images)
        self.names = self.ask(input=source, output=target).get("names", [])
        with np.load(target) as arrays:
            found = tuple(arrays[f"arr_{index}"] for index in range(len(arrays.files)))
        return found[0] if len(found) == 1 else found

    def close(self) -> Optional[float]:
        """End the process; its peak memory in MB, None where it has died before."""
        out, _ = self.process.communicate()
        self.log.close()
        self.folder.cleanup()
        return json.loads(out)["peak_mb"] if out.strip() else None


def reason_in(log: str) -> str:
    """The last line of a log that says what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "ERROR" in line or "error" in line]
    return (errors or lines or ["it gave no reason"])[-1]
