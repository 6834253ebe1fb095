"""Text of strangers (names of files, classes and folders, messages of a library) on its way to a terminal or a log."""
import re
import unicodedata
from typing import Sequence, Tuple

#: Unicode categories that move the cursor, change the direction of writing, or cannot be encoded.
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: object, lines: bool = False) -> str:
    """The text with every control character, escape sequence and lone surrogate spelled out, such as \\x1b.

    Args:
        lines: whether line breaks stay what they are.
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_spelled(character) if unicodedata.category(character) in _UNSAFE and not (
        lines and character == "\n") else character for character in text)


def natural(name: str) -> Tuple:
    """Key of the order 1, 2, 10: digits count as numbers, and case does not, as in timm; names that are equal so far
    keep their plain order."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def some(names: Sequence[str], shown: int = 3) -> str:
    """'a, b, c and 4 more'."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(f"'{printable(name)}'" for name in names[:shown]) + more


def _spelled(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
