"""`printable.py [--last N] [LOG]`: lines of a log, or of standard input as they come, as a terminal may show them.

MindSpore's [INFO] lines are left out, control characters are spelled out, long lines are cut. With --last, the last N
lines, set in. A reader that is gone (`| head`) ends it without a word.
"""
import collections
import os
import sys
from typing import BinaryIO, Iterable, List

from outside import brief

#: Characters of a line: a training's are shorter.
LONGEST = 2000


def lines_of(stream: BinaryIO) -> Iterable[str]:
    """The lines of a stream that are shown; one without an end is given in pieces."""
    for line in iter(lambda: stream.readline(4 * LONGEST), b""):
        if not line.startswith(b"[INFO]"):
            yield brief(line.decode("utf-8", errors="replace").rstrip("\r\n"), LONGEST)


def main(argv: List[str]) -> int:
    """Show the lines."""
    last = int(argv[1]) if argv[:1] == ["--last"] else 0
    paths = argv[2 * bool(last):]
    try:
        with (open(paths[0], "rb") if paths else sys.stdin.buffer) as stream:
            for line in collections.deque(lines_of(stream), last) if last else lines_of(stream):
                print(f"    {line}" if last else line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError:
        # The log of a rank that never began, or a terminal that is gone.
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
