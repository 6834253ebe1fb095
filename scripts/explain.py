"""`explain.py LOG CODE`: one sentence on why a process failed, from its log and exit code.

What is known of messages lies in ascend/errors.tsv: a regular expression, what it means and what to do (\\1 stands for
what the expression's group found), and where that is said. ascend/README.md shows the same table.
"""
import os
import re
import signal
import sys
from typing import List, Tuple

from outside import brief, printable

TABLE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "ascend", "errors.tsv")
OWN = re.compile(r"^ghost-ms: error: (.+)$", re.M)
PYTHON = re.compile(r"^(\w{0,80}(?:Error|Exception|Interrupt)): ?(.*)$", re.M)
#: Bytes at either end of a log that are looked at: a rank that fails says so early or last.
ENDS = 1 << 20
#: Characters of a sentence.
LONGEST = 600


def rules(path: str = TABLE) -> List[Tuple[str, str, str]]:
    """(regular expression, remedy, address of the source) of every row of the table; a row that is none is told."""
    found = []
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            pattern, remedy, source = line.split("\t")
            # A remedy may name a group of its expression, and no other.
            re.compile(f"(?:{pattern})|").sub(remedy, "")
        except (ValueError, re.error, IndexError) as error:
            print(f"line {number} of '{printable(path)}' is passed over: {brief(error)}", file=sys.stderr)
            continue
        found.append((pattern, remedy, source))
    return found


def explain(log: str, code: str) -> str:
    """A sentence: what the program said itself, else a known message, else the last exception, else the exit code."""
    own = OWN.findall(log)
    known = next((match.expand(remedy) for match, remedy in
                  ((re.search(pattern, log), remedy) for pattern, remedy, _ in rules()) if match), None)
    if own:
        return own[-1] if known is None or known in own[-1] else f"{own[-1]} ({known})"
    if known is not None:
        return known
    raised = PYTHON.findall(log)
    if raised:
        return f"{raised[-1][0]}: {raised[-1][1]}"
    return of_code(code)


def of_code(code: str) -> str:
    """What an exit code says by itself."""
    if re.fullmatch("-[0-9]{1,3}", code):
        try:
            name = signal.Signals(-int(code)).name
        except ValueError:
            name = f"signal {-int(code)}"
        hint = {"SIGKILL": "; often the kernel's out-of-memory killer, see dmesg",
                "SIGTERM": "; MindSpore does that when the scheduler is lost, if nobody else did"}.get(name, "")
        return f"it was ended by {name}{hint}"
    return f"it ended with exit code {code} and without a message"


def ends_of(path: str) -> str:
    """The beginning and the end of a log; nothing where there is none."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            content = file.read(ENDS)
            if size > ENDS:
                file.seek(max(ENDS, size - ENDS))
                content += b"\n" + file.read(ENDS)
    except OSError:
        return ""
    return content.decode("utf-8", errors="replace")


def main(argv: List[str]) -> int:
    """Print the sentence."""
    print(brief(" ".join(explain(ends_of(argv[0]), argv[1]).split()), LONGEST))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
