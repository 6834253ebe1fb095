"""List, fetch, verify and convert released weights."""
from typing import Sequence

from ghost_ms.cli.parser import Parser


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    from ghost_ms.weights.cli import add_parser

    parser = Parser("ghost-ms")
    add_parser(parser.add_subparsers())
    options = parser.parse_args(["weights", *argv])
    return options.func(options)
