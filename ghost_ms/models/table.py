"""Tables of the registered variants, made from their cards."""
import csv
import functools
import io
import json
import pathlib
from typing import Any, Dict, List, Optional, Sequence

from ghost_ms.core.tables import size_text
from ghost_ms.models.registry import ModelCard, model_card

#: Activations of every variant at its published size; written by
#: `python -m ghost_ms.analysis.measure.complexity [MODEL ...]`.
ACTIVATIONS = pathlib.Path(__file__).parent / "activations.json"
MARKDOWN_COLUMNS = ("model", "params (M)", "MACs (M)", "input", "top-1 published", "weights", "arXiv")
COLUMNS = MARKDOWN_COLUMNS[:3] + ("activations (M)",) + MARKDOWN_COLUMNS[3:]
#: By what a list can be sorted.
ORDERS = ("name", "family", "params", "macs", "activations", "input_size", "top1")


def read_activations() -> Dict[str, int]:
    """Elements that the convolutions and matrix products of each variant write for one image."""
    return json.loads(ACTIVATIONS.read_text()) if ACTIVATIONS.is_file() else {}


@functools.lru_cache(maxsize=None)
def _activations() -> Dict[str, int]:
    return read_activations()


def facts(card: ModelCard) -> Dict[str, Any]:
    """What a list says of a variant; None where something is not known."""
    return {"name": card.name, "family": card.family, "params": card.params, "macs": card.macs,
            "activations": _activations().get(card.name), "input_size": card.input_size, "top1": card.top1,
            "top5": card.top5, "weights": card.weights, "paper": card.paper}


def arrange(names: Sequence[str], order: str = "name", family: Optional[str] = None) -> List[str]:
    """Names in ascending order of one fact, only those of a family; what lacks the fact comes last.

    Raises:
        ValueError: there is no such family.
    """
    cards = [model_card(name) for name in names]
    if family is not None:
        known = sorted({card.family for card in cards})
        if family not in known:
            raise ValueError(f"no family '{family}' among these models; there are {', '.join(known)}")
        cards = [card for card in cards if card.family == family]
    rows = sorted((facts(card) for card in cards), key=lambda row: row["name"])
    rows.sort(key=lambda row: (row[order] is None, row[order] or 0))
    return [row["name"] for row in rows]


def _cells(card: ModelCard) -> Dict[str, str]:
    activations = _activations().get(card.name)
    return {"model": card.name, "params (M)": f"{card.params / 1e6:.2f}", "MACs (M)": f"{card.macs / 1e6:,.0f}",
            "activations (M)": "-" if activations is None else f"{activations / 1e6:.1f}",
            "input": size_text(card.input_size),
            "top-1 published": "-" if card.top1 is None else f"{card.top1:g}",
            "weights": "released" if card.weights else "none released", "arXiv": card.paper}


def rows(names: Sequence[str], columns: Sequence[str] = COLUMNS) -> List[List[str]]:
    """The cards as text cells, header first."""
    cards = [_cells(model_card(name)) for name in names]
    return [list(columns)] + [[cells[column] for column in columns] for cells in cards]


def as_csv(names: Sequence[str]) -> str:
    """The facts at full precision, one line per variant; empty where nothing is known."""
    file = io.StringIO()
    lines = [{**facts(card), "macs": round(card.macs), "input_size": "{}x{}".format(*card.input_size)}
             for card in map(model_card, names)]
    writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()
