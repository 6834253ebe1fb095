"""Tables and sizes as text, for a terminal or a document."""
import csv
import os
from typing import Any, List, Sequence

from ghost_ms.core.files import whole_file, write_text
from ghost_ms.core.text import printable


def size_text(size: Sequence[int]) -> str:
    """224, or 160x192 where the sides differ."""
    height, width = size
    return str(height) if height == width else f"{height}x{width}"


def as_text(rows: List[List[str]]) -> str:
    """Aligned columns for a terminal; the first row is the header."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def as_markdown(rows: List[List[str]]) -> str:
    """The same as a Markdown table."""
    header, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *body])


def update(path: str, mark: str, text: str) -> None:
    """Put a text between `<!-- MARK -->` and `<!-- /MARK -->` of a file; ValueError where it has no such pair."""
    start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    with open(path, encoding="utf-8") as file:
        old = file.read()
    if old.count(start) != 1 or old.count(end) != 1:
        raise ValueError(f"'{path}' has no pair of marks {start.strip()} and {end}")
    before, rest = old.split(start)
    after = rest.split(end)[1]
    write_text(path, f"{before}{start}\n{text}\n\n{end}{after}")


def write_csv(path: str, rows: Sequence[Sequence[Any]]) -> None:
    """A table, whole or not at all. The bytes of a file's name that are no text come out as they are."""
    with whole_file(path) as temporary, \
            open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file, lineterminator="\n").writerows([_encodable(cell) for cell in row] for row in rows)


def _encodable(cell: Any) -> str:
    """The cell as text that has an encoding; a name in a file of JSON can hold half a character."""
    try:
        str(cell).encode("utf-8", "surrogateescape")
        return str(cell)
    except UnicodeEncodeError:
        return printable(cell)


def require_ending(path: str, option: str, endings: Sequence[str]) -> None:
    """ValueError where a file that is to be written has another ending, before anything is measured for it."""
    if os.path.splitext(path)[1] not in endings:
        raise ValueError(f"{option} is '{printable(path)}'; it ends in {' or '.join(endings)}")
