"""The part of the report page about networks: accuracy against cost, what was measured, and their cards."""
import csv
import io
import os
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ghost_ms.analysis.report import charts
from ghost_ms.analysis.report.html_parts import escape, frame, many, row_of_cards
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


def trade_offs(names: Sequence[str], benches: Sequence[Bench]) -> str:
    """Published accuracy against parameters, MACs, activations and, where it was measured, latency."""
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
            body.append(frame(title, charts.scatter(title, dots, "median ms of a call")))
    for title, key, label in (("Multiply-accumulates", "macs", "multiply-accumulates of one image"),
                              ("Parameters", "params", "parameters"),
                              ("Activations", "activations", "activations of one image")):
        body.append(frame(title, charts.scatter(title, points(key), label)))
    return ('<h2>Accuracy against cost</h2><p class="note">Published ImageNet-1K top-1 (%) of every variant. '
            "The dashed line joins those that no cheaper one beats; blue are those of this report. The dots differ in "
            "input size and training recipe too.</p>" + row_of_cards(body))


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


def models_table(names: Sequence[str], benches: Sequence[Bench]) -> str:
    """Every registered variant, a line for each of its measurements; filtered and sorted by the page's script."""
    columns = COLUMNS if benches else tuple(c for c in COLUMNS if c[0] not in ("backend", "median (ms)", "images/s",
                                                                              "peak (MB)", "size (MB)"))
    lines, families = "", set()
    for card in map(model_card, list_models()):
        families.add(card.family)
        for bench in [bench for bench in benches if bench.model == card.name] or [None]:
            mark = ' data-measured="1"' if card.name in names else ""
            cells = "".join(_table_cell(column, facts(card), bench) for column in columns)
            lines += f'<tr data-model="{escape(card.name)}" data-group="{escape(card.family)}"{mark}>{cells}</tr>'
    heads = "".join(f'<th{" class=text" if text else ""} scope="col"><button type="button">{title}</button></th>'
                    for title, text, _, _ in columns)
    choices = "".join(f"<option>{escape(family)}</option>" for family in sorted(families))
    return ('<h2>Models</h2><div class="bar"><input id="search" type="search" placeholder="Filter, e.g. ghostnet 100" '
            f'aria-label="Filter models"><select id="family" aria-label="Family"><option value="">all families</option>'
            f'{choices}</select><label><input id="measured" type="checkbox"{" checked" if benches else ""}> in this '
            'report</label><output id="shown"></output></div><div class="card table"><table id="models"><thead><tr>'
            f"{heads}</tr></thead><tbody>{lines}</tbody></table></div>")


def _table_cell(column: Column, row: dict, bench: Optional[Bench]) -> str:
    _, text, value, show = column
    found = value(row, bench)
    known = found not in (None, "")
    raw = found if isinstance(found, str) else (repr(found) if known else "")
    return (f'<td{" class=text" if text else ""} data-value="{escape(raw)}">'
            f"{escape(show(found)) if known else '–'}</td>")


def model_cards(cards: Sequence[ModelCard]) -> str:
    """Paper, preprocessing, weights and notes of the networks that were trained or measured."""
    from ghost_ms.analysis.measure.summary import preprocessing_line, weights_lines

    body = []
    for card in cards:
        arxiv = card.paper.replace(".", "").isdigit()
        paper = f'<a href="https://arxiv.org/abs/{card.paper}">arXiv {card.paper}</a>' if arxiv else escape(card.paper)
        published = "not published" if card.top1 is None else f"top-1 {card.top1:g} %" + (
            f", top-5 {card.top5:g} %" if card.top5 else "") + (f" ({card.source})" if card.source else "")
        entries = [("paper", paper)] if paper else []
        entries += [("accuracy", escape(published)), ("input", escape(preprocessing_line(card))),
                    ("parameters", f"{card.params:,}"), ("MACs", f"{card.macs / 1e6:,.2f} M"),
                    ("weights", "<br>".join(map(escape, weights_lines(card))))]
        entries += [("note", escape(card.notes))] if card.notes else []
        body.append(
            f'<div class="card model-card" data-model="{escape(card.name)}" data-group="{escape(card.family)}">'
            f"<h3>{escape(card.name)}</h3>{escape(describe(card.name))}<dl>"
            + "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in entries) + "</dl></div>")
    if not body:
        return ""
    # Few are read, many are looked up.
    return (f'<h2>Model cards</h2><details{" open" if len(cards) <= 6 else ""}><summary>{many(len(cards), "network")}'
            f"</summary>{row_of_cards(body)}</details>")
