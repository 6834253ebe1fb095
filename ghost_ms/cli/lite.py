"""Convert an exported file for MindSpore Lite, run it there, and check it."""
from typing import Sequence


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    from ghost_ms.deploy.lite.command import build_parser

    options = build_parser("ghost-ms lite", __doc__).parse_args(argv)
    return options.func(options)
