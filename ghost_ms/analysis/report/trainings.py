"""The part of the report page about runs: what each reached, its curves, and what its best checkpoint mistakes."""
import dataclasses
import math
import statistics
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

from markupsafe import Markup

from ghost_ms.analysis.report import charts
from ghost_ms.analysis.report.measured import best_of, figures_of
from ghost_ms.analysis.report.mistakes import Mistake, judge_run
from ghost_ms.analysis.report.template import number
from ghost_ms.checkpoints.run_folder import Run, labels
from ghost_ms.core.figures import EMA, RAW, Best, Figures
from ghost_ms.core.text import printable
from ghost_ms.tasks.base import Judgement

#: Where there are too many classes for a matrix, the weakest of them, and the pairs that are mixed up most often.
WEAKEST = 20


@dataclasses.dataclass
class JudgedRun:
    """A run, and what its best checkpoint says of its test data.

    Args:
        missing: why there are no predictions; '' where there are.
    """

    run: Run
    judgement: Optional[Judgement] = None
    mistakes: Sequence[Mistake] = ()
    missing: str = ""

    @property
    def best(self) -> Best:
        return best_of(self.run)


def judged(run: Run, predict: bool = True) -> JudgedRun:
    """The run with predictions, unless `predict` is off or there can be none."""
    if not predict:
        return JudgedRun(run, missing="Predictions were not asked for.")
    try:
        return JudgedRun(run, *judge_run(run.path))
    except Exception as error:
        # Anybody's recipe and checkpoint, and curves are worth a page without them.
        reason = str(error) if isinstance(error, (ValueError, OSError)) and str(error) else \
            f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        print(f"warning: {printable(run.path)}: no predictions: {printable(reason)}", file=sys.stderr)
        return JudgedRun(run, missing=f"There are no predictions: {reason}.")


def compared(runs: Sequence[JudgedRun]) -> Dict[str, Any]:
    """What best.ckpt of every run holds, side by side: `head` and `rows` of a table."""
    titles = {key: figures_of(one.run).title(key) for one in runs for key in one.best.figures
              if figures_of(one.run).names[key]}
    head = [("run", False), ("model", True), ("data", True), ("epochs", False), ("best epoch", False),
            ("weights", True), *((title, False) for title in titles.values()), ("loss", False)]
    rows = []
    for label, one in zip(labels([one.run for one in runs]), runs):
        found = one.best
        rows.append([label, one.run.model, one.run.data, len(one.run.rows), number(found.epoch, ".0f"),
                     "EMA" if found.averaged else "raw", *(number(found.figures.get(key), ".2f") for key in titles),
                     number(found.figures.get("loss"), ".4f")])
    return {"head": head, "rows": rows}


def section(one: JudgedRun) -> Dict[str, Any]:
    """Tiles, curves, confusion matrix, mistakes and the recipe of a run, for the template."""
    run = one.run
    drawn = [(title, charts.line_chart(title, _series(run, keys), "epoch")) for title, keys in _curves(figures_of(run))]
    return {"model": run.model, "data": run.data, "path": run.path, "text": run.text, "tiles": _tiles(one),
            "charts": [(title, Markup(chart)) for title, chart in drawn if chart], **_predictions(one)}


def _curves(figures: Figures) -> List[Tuple[str, Tuple[str, ...]]]:
    """Charts of a run: title, columns of metrics.csv."""
    titles = {"loss": "Loss", **{key: figures.title(key) for key in figures.primary}}
    return [*((title[:1].upper() + title[1:], tuple(f"{part}_{key}" for part in ("train", RAW, EMA)))
              for key, title in titles.items()), ("Learning rate", ("lr",))]


def _tiles(one: JudgedRun) -> List[Tuple[str, str]]:
    """(number, what it is): of what best.ckpt holds, and what the training took."""
    found, run, figures = one.best, one.run, figures_of(one.run)
    tiles = [(number(found.figures[key], ".2f", figures.unit(key)), name) for key, name in figures.names.items()
             if name and key in found.figures]
    if tiles:
        tiles[0] = tiles[0][0], f"{tiles[0][1]}, test split{', EMA weights' if found.averaged else ''}"
    tiles.append((f"{number(found.epoch, '.0f')} of {len(run.rows)}", "best epoch"))
    if "loss" in found.figures:
        tiles.append((number(found.figures["loss"], ".4f"), "test loss"))
    prefix, name = (RAW, "raw") if found.averaged else (EMA, "EMA")
    values = [value for value in run.values(f"{prefix}_{found.key}") if not math.isnan(value)]
    if values:
        tiles.append((f"{max(values):.2f}{figures.unit(found.key)}", f"best {figures.names[found.key]} of {name} "
                      "weights"))
    if run.values("images_per_second"):
        tiles.append((f"{statistics.median(run.values('images_per_second')):,.0f}", "training images/s"))
    return tiles


def _series(run: Run, keys: Sequence[str]) -> List[charts.Series]:
    return [charts.Series(key.replace("_", " "), [(row["epoch"], row[key]) for row in run.rows if key in row])
            for key in keys if run.values(key)]


def _predictions(one: JudgedRun) -> Dict[str, Any]:
    """Why there are none; or classes, with a matrix of their confusions or the most frequent ones of many classes; or,
    of a task whose results are no classes or several of an image, what was measured of each class, and a matrix where
    there is one. The worst mistakes in any case."""
    judgement = one.judgement
    found: Dict[str, Any] = {"missing": one.missing, "measures": None, "classes": None, "mistakes": one.mistakes,
                             "curves": []}
    if judgement is None:
        return found
    if judgement.labelled:
        return {**found, "classes": _classes(judgement)}
    head, *rows = judgement.class_rows()
    matrix = None
    if judgement.confusable:
        names, counts = judgement.matrix()
        matrix = charts.matrix_chart(counts.tolist(), names, "Confusion matrix")
    curves = [(title, charts.line_chart(title, [charts.Series(*line) for line in lines], "recall (%)"))
              for title, lines in judgement.curves()]
    found["curves"] = [(title, Markup(chart)) for title, chart in curves if chart]
    return {**found, "measures": {"headline": judgement.headline(), "head": [(title, False) for title in head],
                                  "rows": rows, "matrix": Markup(matrix) if matrix else None}}


def _classes(judgement: Any) -> Dict[str, Any]:
    """Their means, then precision, recall and F1 of the classes, the weakest first: all, or `WEAKEST`."""
    whole = len(judgement.shown) <= charts.MATRIX_CLASSES
    matrix = charts.matrix_chart(judgement.confusion.tolist(), [judgement.classes[place] for place in judgement.shown],
                                 "Confusion matrix") if whole else None
    found = judgement.by_class()
    order = sorted(range(len(found.places)), key=lambda row: (found.f1[row], judgement.classes[found.places[row]]))
    whole = bool(matrix)
    return {
        "matrix": Markup(matrix) if matrix else None, "confusions": judgement.confused(WEAKEST),
        "title": "Classes, the weakest first (%)" if whole else f"The weakest of {len(order)} classes (%)",
        "means": [(name, len(judgement.labels), list(map(_percent, found.average(weighted))))
                  for name, weighted in (("mean", False), ("mean by images", True))],
        "rows": [(judgement.classes[found.places[row]], found.images[row], _percent(found.precision[row]),
                  _percent(found.recall[row]), _percent(found.f1[row]))
                 for row in (order if whole else order[:WEAKEST])],
        "wrong": int((~judgement.right).sum()), "images": len(judgement.labels)}


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
