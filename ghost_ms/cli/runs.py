"""Compare finished runs: accuracy, speed, memory, and where their recipes differ."""
from typing import Sequence


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    from ghost_ms.analysis import runs as comparison

    return comparison.main(argv, __doc__)
