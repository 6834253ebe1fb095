"""Hosts files: a line a node, ADDRESS or USER@ADDRESS; '#' begins a comment. Needs Python alone.

    hosts.py list FILE           the hosts, one a line
    hosts.py address ADDRESS     exit 1 with one sentence unless it is an address or the name of a host

A host becomes a word of ssh's command line and an address becomes one of msrun's, so nothing else is let through.
"""
import ipaddress
import os
import re
import sys
from typing import List, Optional, Sequence, Tuple

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "scripts"))
from outside import brief, printable, read_text

USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
NAME = re.compile(rf"(?!.{{254}}){LABEL}(?:\.{LABEL})*", re.ASCII)
#: More nodes than any cluster that ssh starts.
MOST = 4096


def address(text: str) -> str:
    """The address or name, an IPv6 address without its brackets; ValueError where it is neither."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        if "%" not in bare:
            return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    # What looks like a number and is no address is no name either.
    if bare != text or not NAME.fullmatch(bare) or re.fullmatch(r"[\d.]+", bare, re.ASCII):
        raise ValueError(f"'{brief(text)}' is neither an IP address nor the name of a host")
    return bare


def host(text: str) -> Tuple[str, str]:
    """(user or "", address) of a line of a hosts file; ValueError where it is none."""
    user, at, place = text.rpartition("@")
    if at and not USER.fullmatch(user):
        raise ValueError(f"'{brief(user)}' is no name of a user")
    return user, address(place)


def read(path: str) -> List[str]:
    """The hosts of a file as ssh takes them: USER@ADDRESS or ADDRESS.

    Raises:
        OSError, ValueError: no such file, a line that is no host, a host twice, none or too many; a sentence.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no hosts file '{printable(path)}'")
    found: List[str] = []
    seen = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        try:
            user, place = host(text)
        except ValueError as error:
            raise ValueError(f"line {number} of the hosts file '{printable(path)}': {error}; a line is ADDRESS or "
                             "USER@ADDRESS") from None
        if place.lower() in seen:
            raise ValueError(f"the hosts file '{printable(path)}' names a host twice: {place} in lines "
                             f"{seen[place.lower()]} and {number}; a node is a host")
        seen[place.lower()] = number
        found.append(f"{user}@{place}" if user else place)
    if not 0 < len(found) <= MOST:
        raise ValueError(f"the hosts file '{printable(path)}' names {'more than ' + str(MOST) if found else 'no'} "
                         f"host{'s' * bool(found)}")
    return found


def main(argv: Optional[Sequence[str]] = None) -> int:
    """The commands of the docstring."""
    words = sys.argv[1:] if argv is None else argv
    try:
        if len(words) != 2 or words[0] not in ("list", "address"):
            raise ValueError(f"usage: {__doc__}")
        print("\n".join(read(words[1])) if words[0] == "list" else address(words[1]))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
