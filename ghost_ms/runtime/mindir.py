"""A MINDIR file as a function, in this process or, a stranger's, in one of its own (see `core.served` for the talk).

MindSpore takes what an operation is given on trust: a file in which one lacks an input ends it by a segmentation fault,
which no check of the file alone foresees for all operations.
"""
import json
import os
import resource
import sys
from typing import Any, Callable

import numpy as np

from ghost_ms.core import interpreter, talk
from ghost_ms.core.served import Served
from ghost_ms.graph.mindir_check import check_mindir


def load_mindir(path: str) -> Any:
    """The network in a MINDIR file (nn.GraphCell), loaded into this process; a stranger's file is better run by
    `MindirModel`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged; MindSpore never sees what `check_mindir` refuses.
    """
    import mindspore as ms
    from mindspore import nn

    check_mindir(path)
    try:
        return nn.GraphCell(ms.load(path))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"'{path}' is not a valid MINDIR file: {str(error).strip().splitlines()[0]}") from None


def run_mindir(path: str, images: np.ndarray) -> Any:
    """What a MINDIR file gives for images of its form: its output, or the tuple of all where there are several."""
    import mindspore as ms

    raw = load_mindir(path)(ms.Tensor(images))
    return tuple(one.asnumpy() for one in raw) if isinstance(raw, tuple) else raw.asnumpy()


class MindirModel(Served):
    """A MINDIR file as a function from images to its output.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or MindSpore cannot load it.
    """

    def __init__(self, path: str):
        check_mindir(path)
        super().__init__(interpreter.command("ghost_ms.runtime.mindir", path), path, "MindSpore",
                         "it is the Python that runs now")


def limit_memory() -> None:
    """No more than three quarters of the machine's memory, beyond what the process has: a file may ask for any."""
    if not os.path.exists("/proc/self/statm"):
        return
    with open("/proc/self/statm", encoding="ascii") as file:
        taken = int(file.read().split()[0])
    room = 3 * os.sysconf("SC_PHYS_PAGES") // 4
    resource.setrlimit(resource.RLIMIT_AS, ((taken + room) * os.sysconf("SC_PAGE_SIZE"),) * 2)


def serve(path: str, answer: Callable[..., None]) -> None:
    """Answer requests until the input ends."""
    import mindspore as ms

    from ghost_ms.core import device

    device.setup("CPU")
    limit_memory()
    try:
        net = load_mindir(path)
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        answer(error=_sentence(error))
        return
    answer(size_mb=os.path.getsize(path) / 1e6)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            raw = net(ms.Tensor(np.load(request["input"])))
            np.savez(request["output"], *(one.asnumpy() for one in (raw if isinstance(raw, tuple) else (raw,))))
            answer(done=True)
        except (AttributeError, RuntimeError, ValueError, TypeError, MemoryError) as error:
            answer(error=_sentence(error))
    answer(peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


def _sentence(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


if __name__ == "__main__":
    serve(sys.argv[1], talk.speaker())
