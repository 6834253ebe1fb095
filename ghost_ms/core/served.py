"""A file that is run in a process of its own, on images (`core.talk` for the talk).

First, unasked, the process tells that the file is loaded; then {"input": A.npy, "output": B.npz} runs it, whose outputs
are arr_0, arr_1, ... of the written file, and the answer tells their names where the runtime has some.
"""
import os
import tempfile
from typing import Any, List, Optional, Sequence

import numpy as np

from ghost_ms.core.talk import Ended, Process


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
        try:
            self.process = Process(command)
        except OSError as error:
            raise ValueError(f"cannot start {command[0]} ({error.strerror}): {remedy}") from None
        self.names: List[str] = []
        try:
            self.facts = self.process.answer()
        except Ended as reason:
            raise self._failed(reason) from None

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _failed(self, reason: Ended) -> ValueError:
        return ValueError(f"{self.runtime} cannot run '{self.path}': {reason}")

    def ask(self, **request) -> dict:
        """The answer to a request; ValueError where the process has none."""
        try:
            return self.process.ask(**request)
        except Ended as reason:
            raise self._failed(reason) from None

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
        told = self.process.close()
        self.folder.cleanup()
        return told.get("peak_mb")
