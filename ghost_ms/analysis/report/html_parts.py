"""Pieces of HTML that the parts of the report share."""
import html
from typing import Any, Optional, Sequence

from ghost_ms.core.text import printable


def escape(value: Any) -> str:
    """A stranger's text as text of the page: no element, no control character."""
    return html.escape(printable(value, lines=True))


def frame(title: str, body: str, kind: str = "") -> str:
    """A framed part of the page; the body is HTML."""
    return f'<div class="card {kind}"><h3>{escape(title)}</h3>{body}</div>'


def row_of_cards(cards: Sequence[str]) -> str:
    """Cards side by side, in as many columns as leave no lonely one in the last row."""
    count = len([one for one in cards if one])
    columns = count if count < 4 else next((columns for columns in (3, 2, 4) if count % columns != 1), 3)
    return f'<div class="grid" style="--columns:{columns}">{"".join(cards)}</div>' if count else ""


def many(count: int, what: str) -> str:
    """'3 runs', '1 run', '' for none."""
    return f"{count} {what}{'s' if count > 1 else ''}" if count else ""


def number(value: Optional[float], form: str, unit: str = "") -> str:
    """The number, NaN among them, or a dash where there is none."""
    return "–" if value is None else f"{format(value, form)}{unit}"
