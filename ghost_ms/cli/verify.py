"""Write networks in every format, run the files, compare them with the networks and time them."""
from typing import Sequence


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    from ghost_ms.analysis.measure.verify_command import run_verify

    return run_verify("ghost-ms verify", __doc__, argv)
