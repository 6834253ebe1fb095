"""Compute how long a training takes on many cards, and what it costs."""
from typing import Sequence


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    from ghost_ms.analysis.measure import plan as planner

    return planner.main(argv, __doc__)
