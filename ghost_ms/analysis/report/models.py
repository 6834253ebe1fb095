"""The part of the report page about networks: accuracy against cost, what was measured, and their cards."""
import csv
import io
import os
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from markupsafe import Markup

from ghost_ms.analysis.report import charts
from ghost_ms.core.plain import read_text
from ghost_ms.models import list_models, model_card
from ghost_ms.models.registry import ModelCard, describe
from ghost_ms.models.table import facts

#: Bytes of the largest table of a benchmark that is read, and what a figure in it can be besides 0.
MOST_BYTES = 16 << 20
SMALLEST, LARGEST = 1e-9, 1e15


class Bench(NamedTuple):
    """What was measured of a model in a backend; None where there is no figure."""

    model: str
    backend: str
    batch: int
    input_size: str
    values: Dict[str, Optional[float]]


#: What can be known of a measurement: the columns of a benchmark's CSV.
FIGURES = ("build_s", "compile_s", "median_ms", "low_ms", "high_ms", "images_per_second", "peak_mb", "size_mb")


def read_bench(path: str) -> List[Bench]:
    """The results in a CSV of `ghost-ms bench --output`, those with an error left out, or of `ghost-ms verify`.

    Raises:
        ValueError: it is no such file.
    """
    from ghost_ms.analysis.measure import verify

    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path, MOST_BYTES), newline="")))
        if rows and "error" not in rows[0]:
            return [bench for row in verify.read(path).values() for bench in _verified(row)]
        return [Bench(row["model"], row["backend"], int(row["batch"]), row["input_size"],
                      {key: _figure(row[key]) for key in FIGURES}) for row in rows if not row["error"]]
    except (KeyError, ValueError, TypeError, csv.Error):
        raise ValueError(f"'{path}' is no table of `ghost-ms bench --output {os.path.basename(path)}` or "
                         f"`ghost-ms verify --results {os.path.basename(path)}`") from None
    except OSError as error:
        raise ValueError(f"cannot open '{path}': {error.strerror}") from None


def _figure(value: Any) -> Optional[float]:
    """A cell of a table, or a number already; ValueError for what nobody can have measured."""
    if value in (None, ""):
        return None
    number = float(value)
    if number and not SMALLEST <= number <= LARGEST:
        raise ValueError(f"{number} is no measurement")
    return number


def _verified(row: Any) -> List[Bench]:
    """The measurements, of one image, in a row of `ghost-ms verify`."""
    found = []
    for backend in ("mindspore", "onnx", "lite"):
        median = _figure(getattr(row, f"{backend}_ms"))
        if median:
            figures = {"median_ms": median, "images_per_second": 1e3 / median,
                       "size_mb": _figure(getattr(row, f"{backend}_mb", None)),
                       "compile_s": _figure(row.compile_s) if backend == "mindspore" else None}
            found.append(Bench(row.model, backend, 1, row.input_size, {**dict.fromkeys(FIGURES), **figures}))
    return found


def trade_offs(names: Sequence[str], benches: Sequence[Bench]) -> List[Tuple[str, Markup]]:
    """Charts of published accuracy against parameters, MACs, activations and, where it was measured, latency."""
    cards = [card for card in map(model_card, list_models()) if card.imagenet_top1 is not None]
    known = {card.name: card for card in cards}

    def points(key: str) -> List[charts.Point]:
        return [charts.Point(card.name, card.family, facts(card)[key], card.top1, card.name in names)
                for card in cards if facts(card)[key]]

    body = []
    for backend, batch in dict.fromkeys((bench.backend, bench.batch) for bench in benches):
        dots = [charts.Point(bench.model, known[bench.model].family, bench.values["median_ms"], known[bench.model].top1,
                             True) for bench in benches
                if (bench.backend, bench.batch) == (backend, batch) and bench.model in known
                and bench.values["median_ms"]]
        title = f"Latency, {backend}, batch {batch}"
        if dots:
            body.append((title, Markup(charts.scatter(title, dots, "median ms of a call"))))
    for title, key, label in (("Multiply-accumulates", "macs", "multiply-accumulates of one image"),
                              ("Parameters", "params", "parameters"),
                              ("Activations", "activations", "activations of one image")):
        body.append((title, Markup(charts.scatter(title, points(key), label))))
    return body


#: Columns of the table: title, whether it is text, and its value and cell of (facts of the card, benchmark).
Column = Tuple[str, bool, Callable[[dict, Optional[Bench]], Any], Callable[[Any], str]]


def _measured(key: str) -> Callable[[dict, Optional[Bench]], Any]:
    return lambda row, bench: bench.values[key] if bench else None


COLUMNS: Tuple[Column, ...] = (
    ("model", True, lambda row, bench: row["name"], str), ("family", True, lambda row, bench: row["family"], str),
    ("top-1 published", False, lambda row, bench: row["top1"], "{:g}".format),
    ("params (M)", False, lambda row, bench: row["params"] / 1e6, "{:.2f}".format),
    ("MACs (M)", False, lambda row, bench: row["macs"] / 1e6, "{:,.0f}".format),
    ("activations (M)", False, lambda row, bench: row["activations"] and row["activations"] / 1e6, "{:.1f}".format),
    ("input", False, lambda row, bench: row["input_size"][0], str),
    ("backend", True, lambda row, bench: bench.backend if bench else "", str),
    ("median (ms)", False, _measured("median_ms"), "{:,.2f}".format),
    ("images/s", False, _measured("images_per_second"), "{:,.1f}".format),
    ("peak (MB)", False, _measured("peak_mb"), "{:,.0f}".format),
    ("size (MB)", False, _measured("size_mb"), "{:,.1f}".format),
    ("weights", True, lambda row, bench: "released" if row["weights"] else "none", str))


def models_table(names: Sequence[str], benches: Sequence[Bench]) -> Dict[str, Any]:
    """Every registered variant, a line for each of its measurements; filtered and sorted by the page's script."""
    columns = COLUMNS if benches else tuple(c for c in COLUMNS if c[0] not in ("backend", "median (ms)", "images/s",
                                                                              "peak (MB)", "size (MB)"))
    cards = [model_card(name) for name in list_models()]
    rows = [{"model": card.name, "family": card.family, "measured": card.name in names,
             "cells": [_cell(column, facts(card), bench) for column in columns]}
            for card in cards for bench in [bench for bench in benches if bench.model == card.name] or [None]]
    return {"families": sorted({card.family for card in cards}), "rows": rows,
            "head": [(title, text) for title, text, _, _ in columns]}


def _cell(column: Column, row: dict, bench: Optional[Bench]) -> Tuple[str, str, bool]:
    """(what it is sorted by, what it shows, whether it is text)"""
    _, text, value, show = column
    found = value(row, bench)
    known = found not in (None, "")
    raw = found if isinstance(found, str) else (repr(found) if known else "")
    return raw, show(found) if known else "–", text


def card_facts(card: ModelCard) -> Dict[str, Any]:
    """Paper, preprocessing, weights and notes of a network that was trained or measured."""
    from ghost_ms.analysis.measure.summary import preprocessing_line, weights_lines

    published = "not published" if card.top1 is None else f"top-1 {card.top1:g} %" + (
        f", top-5 {card.top5:g} %" if card.top5 else "") + (f" ({card.source})" if card.source else "")
    entries = [("accuracy", [published]), ("input", [preprocessing_line(card)]), ("parameters", [f"{card.params:,}"]),
               ("MACs", [f"{card.macs / 1e6:,.2f} M"]), ("weights", weights_lines(card))]
    return {"name": card.name, "family": card.family, "sentence": describe(card.name), "paper": card.paper,
            "arxiv": card.paper.replace(".", "").isdigit(),
            "entries": entries + ([("note", [card.notes])] if card.notes else [])}
