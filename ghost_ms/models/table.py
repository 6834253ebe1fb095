"""Tables of the registered variants, made from their cards."""
from typing import List

from ghost_ms.models.registry import model_card

COLUMNS = ("model", "params (M)", "MACs (M)", "input", "top-1 published", "weights", "arXiv")


def _rows(names: List[str]) -> List[List[str]]:
    rows = []
    for card in map(model_card, names):
        height, width = card.input_size
        top1 = "-" if card.top1 is None else f"{card.top1:g}"
        rows.append([card.name, f"{card.params / 1e6:.2f}", f"{card.macs / 1e6:,.0f}",
                     str(height) if height == width else f"{height}x{width}", top1,
                     "released" if card.weights else "none released", card.paper])
    return rows


def as_text(names: List[str]) -> str:
    """Aligned columns for a terminal."""
    rows = [list(COLUMNS), *_rows(names)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def as_markdown(names: List[str]) -> str:
    """The same as a Markdown table."""
    rows = [list(COLUMNS), ["---"] * len(COLUMNS), *_rows(names)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


START, END = "<!-- models -->\n", "<!-- /models -->"


def update(path: str, names: List[str]) -> None:
    """Put the Markdown table between the two marks of a file; ValueError where it has no marks."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.count(START) != 1 or text.count(END) != 1:
        raise ValueError(f"'{path}' has no pair of marks {START.strip()} and {END}")
    before, rest = text.split(START)
    after = rest.split(END)[1]
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{START}\n{as_markdown(names)}\n\n{END}{after}")
