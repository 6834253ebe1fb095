"""Tables of the registered variants, made from their cards."""
from typing import List

from ghost_ms.models.registry import model_card

COLUMNS = ("model", "params (M)", "MACs (M)", "input", "top-1 published", "weights", "arXiv")


def rows(names: List[str]) -> List[List[str]]:
    """The cards as text cells, header first."""
    table = [list(COLUMNS)]
    for card in map(model_card, names):
        height, width = card.input_size
        top1 = "-" if card.top1 is None else f"{card.top1:g}"
        table.append([card.name, f"{card.params / 1e6:.2f}", f"{card.macs / 1e6:,.0f}",
                     str(height) if height == width else f"{height}x{width}", top1,
                     "released" if card.weights else "none released", card.paper])
    return table


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
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{start}\n{text}\n\n{end}{after}")
