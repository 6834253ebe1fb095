"""What the launchers' Python shares: files and tools from outside within limits, safe text, whole results.

Needs Python alone, not MindSpore.
"""
import os
import stat
import subprocess
import sys
import threading
from typing import List, Sequence, Union

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from ghost_ms.core.files import write_text
from ghost_ms.core.text import printable

__all__ = ["LIMIT", "brief", "new_file", "output_of", "printable", "read_text", "write_text"]
#: Bytes that are read of a file, or of what a tool prints: tables of thousands of cards fit in it.
LIMIT = 4 << 20


def brief(text: object, length: int = 60) -> str:
    """A stranger's text for a sentence: printable, in one line, cut off where it is long."""
    text = str(text)
    return printable(text if len(text) <= length else text[:length] + "...")


def read_text(path: str, limit: int = LIMIT) -> str:
    """The text of a file; what is no UTF-8 in it is replaced.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file (a pipe or a device would keep us waiting), or larger than `limit` bytes.
    """
    # Opening a pipe would wait for its writer.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError(f"'{printable(path)}' is no file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"'{printable(path)}' is larger than {limit / 2 ** 20:g} MiB")
    return content.decode("utf-8-sig", errors="replace")


def new_file(path: str) -> int:
    """A descriptor of an empty file at `path`, for writing, in place of what was there. No link is followed."""
    for _ in range(5):
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except FileExistsError:
            os.remove(path)
    raise OSError(f"cannot write '{printable(path)}': it comes back as soon as it is removed")


def output_of(words: Sequence[Union[str, os.PathLike]], seconds: float) -> subprocess.CompletedProcess:
    """What a tool prints, standard error with it, of which at most `LIMIT` bytes are read.

    Raises:
        FileNotFoundError: there is no such tool.
        subprocess.TimeoutExpired: it has not ended after so many seconds; it has been ended, with what it started.
    """
    late: List[bool] = []
    # A group of its own: what the tool has started may hold the pipe.
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True)

    def end() -> None:
        late.append(True)
        _end_group(process)

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        content = process.stdout.read(LIMIT)
        if len(content) == LIMIT:
            _end_group(process)
        code = process.wait()
    finally:
        timer.cancel()
        _end_group(process)
        process.stdout.close()
    if late:
        raise subprocess.TimeoutExpired(list(words), seconds)
    return subprocess.CompletedProcess(list(words), code, stdout=content.decode("utf-8", errors="replace"))


def _end_group(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, 9)
