"""Look at this machine and its packages: what works, what does not, and the remedy."""
from typing import Sequence

from ghost_ms.cli.parser import Parser
from ghost_ms.core.text import printable


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code, 1 where a network could not be trained here."""
    build_parser().parse_args(argv)
    from ghost_ms import __version__
    from ghost_ms.analysis import doctor

    found = doctor.examine()
    width = max(len(one.what) for one in found)
    print(f"ghost-ms {__version__}")
    print("\n".join(f"{one.state}  {one.what:{width}}  {printable(one.found)}" for one in found))
    return 1 if any(one.state == doctor.BAD for one in found) else 0


def build_parser() -> Parser:
    """The parser of a command without options."""
    return Parser("ghost-ms doctor", description=__doc__)
