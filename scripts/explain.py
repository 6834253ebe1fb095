"""`explain.py LOG CODE`: one sentence on why a process failed, from its log and exit code.

What is known of messages lies in ascend/errors.tsv: a regular expression, what it means and what to do (\\1 stands for
what the expression's group found), and where that is said. ascend/README.md shows the same table.
"""
import os
import re
import signal
import sys
from typing import List, Tuple

TABLE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "ascend", "errors.tsv")
OWN = re.compile(r"^ghost-ms: error: (.+)$", re.M)
PYTHON = re.compile(r"^(\w*(?:Error|Exception|Interrupt)): ?(.*)$", re.M)


def rules() -> List[Tuple[str, str, str]]:
    """(regular expression, remedy, address of the source) of every row of the table."""
    with open(TABLE, encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file if line.strip() and not line.startswith("#")]
    return [(row[0], row[1], row[2]) for row in rows]


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
    if code.lstrip("-").isdigit() and int(code) < 0:
        name = signal.Signals(-int(code)).name
        hint = {"SIGKILL": "; often the kernel's out-of-memory killer, see dmesg",
                "SIGTERM": "; MindSpore does that when the scheduler is lost, if nobody else did"}.get(name, "")
        return f"it was ended by {name}{hint}"
    return f"it ended with exit code {code} and without a message"


def main(argv: List[str]) -> int:
    """Print the sentence."""
    try:
        with open(argv[0], encoding="utf-8", errors="replace") as file:
            log = file.read()
    except OSError:
        log = ""
    print(explain(log, argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
