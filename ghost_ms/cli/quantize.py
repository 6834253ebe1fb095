"""Make an exported network int8, calibrated with images, and compare it with the float one."""
from typing import Sequence


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    from ghost_ms.deploy.quantize.command import build_parser, run_quantize

    return run_quantize(build_parser("ghost-ms quantize", __doc__).parse_args(argv))
