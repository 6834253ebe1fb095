"""One self-contained HTML page about runs and benchmarks; it loads nothing and needs no network."""
import csv
import dataclasses
import html
import os
import pathlib
import statistics
import sys
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ghost_ms import __version__
from ghost_ms.analysis import charts
from ghost_ms.core.files import whole_file
from ghost_ms.analysis.mistakes import Judgement, Mistake, judge_run
from ghost_ms.models import list_models, model_card
from ghost_ms.models.registry import ModelCard, describe
from ghost_ms.models.table import facts

PAGE = pathlib.Path(__file__).parent / "page"
#: Worst mistakes that are shown of a run.
MISTAKES = 20
#: Charts of a run: title, columns of metrics.csv.
CURVES = (("Loss", ("train_loss", "test_loss", "ema_loss")),
          ("Top-1 accuracy (%)", ("train_top1", "test_top1", "ema_top1")), ("Learning rate", ("lr",)))


@dataclasses.dataclass
class Run:
    """What a run's folder tells.

    Args:
        rows: of metrics.csv.
        recipe: text of config.yaml.
        missing: why there are no predictions; '' where there are.
    """

    folder: str
    model: str
    dataset: str
    rows: List[Dict[str, float]]
    recipe: str
    judgement: Optional[Judgement] = None
    mistakes: Sequence[Mistake] = ()
    missing: str = ""

    @property
    def best(self) -> Dict[str, float]:
        """The epoch with the best test accuracy, of weights or of their means."""
        return max(self.rows, key=lambda row: max(row["test_top1"], row.get("ema_top1", 0.0)))


class Bench(NamedTuple):
    """What was measured of a model in a backend; None where there is no figure."""

    model: str
    backend: str
    batch: int
    input_size: str
    values: Dict[str, Optional[float]]


def read_run(folder: str, predict: bool = True) -> Run:
    """A run's curves and recipe and, unless `predict` is off, what its best checkpoint says of its test data.

    Raises:
        FileNotFoundError, ValueError: the folder is none of a run, or its metrics are damaged.
    """
    from ghost_ms import config

    paths = {name: os.path.join(folder, name) for name in ("metrics.csv", "config.yaml")}
    for path in paths.values():
        if not os.path.isfile(path):
            raise FileNotFoundError(f"'{folder}' is no folder of a run: it holds no {os.path.basename(path)}")
    try:
        with open(paths["metrics.csv"], newline="") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        rows[0]["test_top1"], rows[0]["epoch"]
    except (ValueError, TypeError, KeyError, IndexError):
        raise ValueError(f"'{paths['metrics.csv']}' is no whole table of metrics of a run") from None
    recipe = config.load(paths["config.yaml"])
    with open(paths["config.yaml"], encoding="utf-8") as file:
        run = Run(folder, recipe.model.name, recipe.data.dataset, rows, file.read())
    if not predict:
        run.missing = "Predictions were not asked for."
        return run
    try:
        run.judgement, run.mistakes = judge_run(folder, MISTAKES)
    except (ValueError, OSError) as error:
        run.missing = f"There are no predictions: {error}."
        print(f"warning: {folder}: no predictions: {error}", file=sys.stderr)
    return run


#: What can be known of a measurement: the columns of a benchmark's CSV.
FIGURES = ("build_s", "compile_s", "median_ms", "low_ms", "high_ms", "images_per_second", "peak_mb", "size_mb")


def read_bench(path: str) -> List[Bench]:
    """The results in a CSV of `ghost-ms bench --output`, those with an error left out, or of `ghost-ms verify`.

    Raises:
        ValueError: it is no such file.
    """
    from ghost_ms.deploy import verify

    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if rows and "error" not in rows[0]:
            return [bench for row in verify.read(path).values() for bench in _verified(row)]
        return [Bench(row["model"], row["backend"], int(row["batch"]), row["input_size"],
                      {key: float(row[key]) if row[key] else None for key in FIGURES})
                for row in rows if not row["error"]]
    except (KeyError, ValueError, TypeError):
        raise ValueError(f"'{path}' is no table of `ghost-ms bench --output {os.path.basename(path)}` or "
                         f"`ghost-ms verify --results {os.path.basename(path)}`") from None


def _verified(row: Any) -> List[Bench]:
    """The measurements, of one image, in a row of `ghost-ms verify`."""
    found = []
    for backend in ("mindspore", "onnx", "lite"):
        median = getattr(row, f"{backend}_ms")
        if median is not None:
            figures = {"median_ms": median, "images_per_second": 1e3 / median,
                       "size_mb": getattr(row, f"{backend}_mb", None),
                       "compile_s": row.compile_s if backend == "mindspore" else None}
            found.append(Bench(row.model, backend, 1, row.input_size, {**dict.fromkeys(FIGURES), **figures}))
    return found


def gather(paths: Sequence[str], predict: bool = True) -> Tuple[List[Run], List[Bench]]:
    """Runs and benchmarks from folders and CSV files."""
    runs, benches = [], []
    for path in paths:
        if os.path.isdir(path):
            runs.append(read_run(path, predict))
        elif os.path.isfile(path):
            benches += read_bench(path)
        else:
            raise FileNotFoundError(f"there is no run or benchmark '{path}'; give a run's folder or a CSV that "
                                    "`ghost-ms bench --output` or `ghost-ms verify` wrote")
    return runs, benches


def page(runs: Sequence[Run], benches: Sequence[Bench]) -> str:
    """The whole page."""
    names = list(dict.fromkeys([run.model for run in runs] + [bench.model for bench in benches]))
    registered = set(list_models())
    cards = [model_card(name) for name in names if name in registered]
    sections = [runs_table(runs) if len(runs) > 1 else ""] + [run_section(run) for run in runs]
    sections += [trade_offs(names, benches), models_table(names, benches), model_cards(cards)]
    style, script = ((PAGE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    said = ", ".join(filter(None, [_many(len(runs), "run"), _many(len(benches), "measurement")]))
    return ('<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1"><title>ghost_ms report</title>'
            f"<style>{style}</style></head><body><header><div><div class=\"grow\"><h1>ghost_ms report</h1><p>{said}</p>"
            '</div><button id="theme" type="button">Dark</button></div></header><main>'
            + "".join(sections)
            + f"<footer>ghost_ms {__version__}. Published accuracies are the authors' and were not measured here; "
              "latencies, memory and the accuracies of runs were.</footer></main>"
            + f"<script>{script}</script></body></html>\n")


def write(path: str, text: str) -> None:
    """Write the page under a temporary name, then rename it."""
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count > 1 else ''}" if count else ""


def _text(value: Any) -> str:
    return html.escape(str(value))


def _card(title: str, body: str, kind: str = "") -> str:
    return f'<div class="card {kind}"><h3>{_text(title)}</h3>{body}</div>'


def runs_table(runs: Sequence[Run]) -> str:
    """The best epoch of every run side by side."""
    head = "".join(f"<th{kind}>{title}</th>" for title, kind in (
        ("run", ""), ("model", ' class="text"'), ("data", ' class="text"'), ("epochs", ""), ("best epoch", ""),
        ("top-1 (%)", ""), ("top-5 (%)", ""), ("loss", "")))
    lines = ""
    for run in runs:
        best = run.best
        lines += (f'<tr><td>{_text(run.folder)}</td><td class="text">{_text(run.model)}</td>'
                  f'<td class="text">{_text(run.dataset)}</td><td>{len(run.rows)}</td><td>{best["epoch"]:.0f}</td>'
                  f"<td>{best['test_top1']:.2f}</td><td>{best['test_top5']:.2f}</td>"
                  f"<td>{best['test_loss']:.4f}</td></tr>")
    return f'<h2>Runs</h2><div class="card scroll"><table><tr>{head}</tr>{lines}</table></div>'


def run_section(run: Run) -> str:
    """Tiles, curves, confusion matrix, mistakes and the recipe of a run."""
    best = run.best
    tiles = [(f"{best['test_top1']:.2f} %", "top-1 accuracy, test split"),
             (f"{best['test_top5']:.2f} %", "top-5 accuracy"),
             (f"{best['epoch']:.0f} of {len(run.rows)}", "best epoch"), (f"{best['test_loss']:.4f}", "test loss")]
    if "ema_top1" in best:
        tiles.append((f"{best['ema_top1']:.2f} %", "top-1 of averaged weights"))
    if "images_per_second" in best:
        tiles.append((f"{statistics.median(row['images_per_second'] for row in run.rows):,.0f}", "training images/s"))
    body = "".join(f'<div class="card tile"><b>{value}</b><span>{_text(what)}</span></div>' for value, what in tiles)
    curves = "".join(_card(title, charts.line_chart(title, _series(run, keys), "epoch"))
                     for title, keys in CURVES if _series(run, keys))
    return (f"<section><h2>{_text(run.model)} on {_text(run.dataset)}</h2><p class=\"note\">{_text(run.folder)}</p>"
            f'<div class="tiles">{body}</div><div class="grid">{curves}</div>{predictions(run)}'
            f"<details class=\"card\"><summary>Recipe</summary><pre>{_text(run.recipe)}</pre></details></section>")


def _series(run: Run, keys: Sequence[str]) -> List[charts.Series]:
    return [charts.Series(key.replace("_", " "), [(row["epoch"], row[key]) for row in run.rows])
            for key in keys if key in run.rows[0]]


def predictions(run: Run) -> str:
    """Confusion matrix, or the most frequent confusions of many classes, beside the worst mistakes."""
    judgement = run.judgement
    if judgement is None:
        return f'<p class="note">{_text(run.missing)}</p>'
    names = judgement.classes
    matrix = charts.matrix_chart(judgement.confusion.tolist(), names, "Confusion matrix")
    pairs = "".join(f'<tr><td>{_text(true)}</td><td class="text">{_text(said)}</td><td>{count}</td></tr>'
                    for true, said, count in judgement.confused(15))
    if matrix:
        left = _card("Confusion matrix: rows are true classes", f'<div class="scroll matrix">{matrix}</div>'
                     f"<h3>Recognised, by class</h3>{recalls(judgement)}")
    else:
        left = _card("Most frequent confusions", '<div class="scroll"><table><tr><th>class</th><th class="text">taken '
                     f"for</th><th>images</th></tr>{pairs}</table></div>")
    figures = "".join(
        f'<figure><img {"class=small " if "image/png" in one.picture else ""}src="{one.picture}" '
        f'alt="{_text(one.true)}"><b>{_text(one.predicted)}</b> {100 * one.confidence:.0f} %<br>'
        f"<span>is {_text(one.true)} ({_text(one.name)})</span></figure>" for one in run.mistakes)
    wrong = int((judgement.labels != judgement.predicted).sum())
    right = _card(f"Worst of {wrong} mistakes on {len(judgement.labels)} test images",
                  f'<div class="mistakes">{figures}</div>')
    return f'<div class="grid two" style="margin-top:14px">{left}{right}</div>'


def recalls(judgement: Judgement) -> str:
    """A bar for each class that has test images, the worst first."""
    known = [(share, name) for share, name in zip(judgement.recall.tolist(), judgement.classes) if share == share]
    return '<div class="bars">' + "".join(
        f'<span>{_text(name)}</span><i style="--share:{100 * share:.1f}%"></i><b>{100 * share:.0f} %</b>'
        for share, name in sorted(known)) + "</div>"


def trade_offs(names: Sequence[str], benches: Sequence[Bench]) -> str:
    """Published accuracy against parameters, MACs, activations and, where it was measured, latency."""
    cards = [card for card in map(model_card, list_models()) if card.top1 is not None and card.num_classes == 1000]
    known = {card.name: card for card in cards}

    def points(key: str) -> List[charts.Point]:
        return [charts.Point(card.name, card.family, facts(card)[key], card.top1, card.name in names)
                for card in cards if facts(card)[key]]

    body = ""
    for backend, batch in dict.fromkeys((bench.backend, bench.batch) for bench in benches):
        dots = [charts.Point(bench.model, known[bench.model].family, bench.values["median_ms"], known[bench.model].top1,
                             True) for bench in benches
                if (bench.backend, bench.batch) == (backend, batch) and bench.model in known
                and bench.values["median_ms"]]
        title = f"Latency, {backend}, batch {batch}"
        if dots:
            body += _card(title, charts.scatter(title, dots, "median ms of a call"))
    for title, key, label in (("Multiply-accumulates", "macs", "multiply-accumulates of one image"),
                              ("Parameters", "params", "parameters"),
                              ("Activations", "activations", "activations of one image")):
        body += _card(title, charts.scatter(title, points(key), label))
    return ('<h2>Accuracy against cost</h2><p class="note">Published ImageNet-1K top-1 (%) of every variant. '
            "The dashed line joins those that no cheaper one beats; blue are those of this report. The dots differ in "
            f'input size and training recipe too.</p><div class="grid">{body}</div>')


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
            lines += f'<tr data-model="{_text(card.name)}" data-group="{_text(card.family)}"{mark}>{cells}</tr>'
    heads = "".join(f'<th{" class=text" if text else ""} scope="col"><button type="button">{title}</button></th>'
                    for title, text, _, _ in columns)
    choices = "".join(f"<option>{_text(family)}</option>" for family in sorted(families))
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
    return (f'<td{" class=text" if text else ""} data-value="{_text(raw)}">'
            f"{_text(show(found)) if known else '–'}</td>")


def model_cards(cards: Sequence[ModelCard]) -> str:
    """Paper, preprocessing, weights and notes of the networks that were trained or measured."""
    from ghost_ms.analysis.summary import preprocessing_line, weights_lines

    body = ""
    for card in cards:
        arxiv = card.paper.replace(".", "").isdigit()
        paper = f'<a href="https://arxiv.org/abs/{card.paper}">arXiv {card.paper}</a>' if arxiv else _text(card.paper)
        published = "not published" if card.top1 is None else f"top-1 {card.top1:g} %" + (
            f", top-5 {card.top5:g} %" if card.top5 else "") + (f" ({card.source})" if card.source else "")
        entries = [("paper", paper), ("accuracy", _text(published)), ("input", _text(preprocessing_line(card))),
                   ("parameters", f"{card.params:,}"), ("MACs", f"{card.macs / 1e6:,.2f} M"),
                   ("weights", "<br>".join(map(_text, weights_lines(card))))]
        entries += [("note", _text(card.notes))] if card.notes else []
        body += (f'<div class="card model-card" data-model="{_text(card.name)}" data-group="{_text(card.family)}">'
                 f"<h3>{_text(card.name)}</h3>{_text(describe(card.name))}<dl>"
                 + "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in entries) + "</dl></div>")
    if not body:
        return ""
    # Few are read, many are looked up.
    return (f'<h2>Model cards</h2><details{" open" if len(cards) <= 6 else ""}><summary>{_many(len(cards), "network")}'
            f'</summary><div class="grid">{body}</div></details>')
