"""A model of MindSpore Lite as a function, run in an interpreter of its own.

MindSpore Lite 2.0.0, the one on PyPI, is for Python 3.7, which this package is not. What has to run there is
`lite_runner.py`; here it is found, started and watched.
"""
import importlib.util
import os
import pathlib
import sys
from typing import Any, List, Optional

import numpy as np

from ghost_ms.core.served import Served
from ghost_ms.runtime.sidecar import output_names

RUNNER = pathlib.Path(__file__).with_name("lite_runner.py")
ROOT = RUNNER.parents[2]
#: Names an interpreter that has mindspore_lite.
VARIABLE = "GHOST_MS_LITE_PYTHON"
REMEDY = (f"`bash scripts/setup_lite.sh` installs it where a Python 3.7 is, or {VARIABLE} names an interpreter that "
          "has mindspore_lite")


def lite_python() -> Optional[str]:
    """The interpreter that has MindSpore Lite, or None: $GHOST_MS_LITE_PYTHON, .venv-lite, or this one."""
    if os.environ.get(VARIABLE):
        return os.environ[VARIABLE]
    for folder in (pathlib.Path.cwd(), ROOT):
        python = folder / ".venv-lite" / "bin" / "python"
        if python.is_file():
            return str(python)
    return sys.executable if importlib.util.find_spec("mindspore_lite") else None


def _check_head(path: str) -> None:
    """ValueError where a file cannot be one of MindSpore Lite, which believes what a file says: a FlatBuffer begins
    with the place of its table, and this kind goes on with MSL and a version."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(8)
    place = int.from_bytes(head[:4], "little")
    if len(head) < 8 or head[4:7] != b"MSL" or not 8 <= place <= size - 4:
        raise ValueError(f"MindSpore Lite cannot run '{path}': it is no .ms file, or cut ({size} bytes)")


class LiteModel(Served):
    """A converted model, loaded in a process of its own; to be closed, or used in a `with`.

    Args:
        path: `.ms` or `.mindir` that `convert` wrote.
        threads: of the CPU.
        target: cpu, or ascend where the Lite that is installed has it.

    Raises:
        ValueError, FileNotFoundError: no such file, no MindSpore Lite, or a file that it cannot load.
    """

    def __init__(self, path: str, threads: int = 2, target: str = "cpu"):
        if not os.path.isfile(path):
            raise FileNotFoundError(f"there is no file '{path}'")
        python = lite_python()
        if python is None:
            raise ValueError(f"MindSpore Lite is not installed: {REMEDY}")
        if path.endswith(".ms"):
            _check_head(path)
        super().__init__([python, str(RUNNER), "serve", path, str(threads), target], path, "MindSpore Lite", REMEDY)

    def __call__(self, images: np.ndarray) -> Any:
        """The output for a batch of images, or the tuple of all in the order of the sidecar."""
        found = super().__call__(images)
        if not isinstance(found, tuple):
            return found
        # MindSpore Lite gives several in an order of its own.
        wanted = output_names(self.path)
        if sorted(wanted) != sorted(self.names):
            raise ValueError(f"'{self.path}' has the outputs {', '.join(self.names)}, and its sidecar names "
                             f"{', '.join(wanted) or 'none'}")
        return tuple(found[self.names.index(name)] for name in wanted)

    def time(self, calls: int) -> List[float]:
        """Milliseconds of each of some calls on the images of the last call."""
        return self.ask(calls=calls)["ms"]
