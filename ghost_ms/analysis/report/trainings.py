"""The part of the report page about runs: what each reached, its curves, and what its best checkpoint mistakes."""
import dataclasses
import math
import statistics
import sys
from typing import Any, List, Optional, Sequence, Tuple

from ghost_ms.analysis.report import charts
from ghost_ms.analysis.report.html_parts import escape, frame, number, row_of_cards
from ghost_ms.analysis.report.measured import best_of, figures_of
from ghost_ms.analysis.report.mistakes import Mistake, judge_run
from ghost_ms.checkpoints.run_folder import Run, labels
from ghost_ms.core.figures import EMA, RAW, Best, Figures
from ghost_ms.core.text import printable

#: Worst mistakes that are shown of a run; and, where there are too many classes for a matrix, the weakest of them and
#: the pairs that are mixed up most often.
MISTAKES, WEAKEST = 20, 20


@dataclasses.dataclass
class JudgedRun:
    """A run, and what its best checkpoint says of its test data.

    Args:
        missing: why there are no predictions; '' where there are.
    """

    run: Run
    judgement: Optional[Any] = None
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
        return JudgedRun(run, *judge_run(run.path, MISTAKES))
    except Exception as error:
        # Anybody's recipe and checkpoint, and curves are worth a page without them.
        reason = str(error) if isinstance(error, (ValueError, OSError)) and str(error) else \
            f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        print(f"warning: {printable(run.path)}: no predictions: {printable(reason)}", file=sys.stderr)
        return JudgedRun(run, missing=f"There are no predictions: {reason}.")


def runs_table(runs: Sequence[JudgedRun]) -> str:
    """What best.ckpt of every run holds, side by side."""
    titles = {key: figures_of(one.run).title(key) for one in runs for key in one.best.figures
              if figures_of(one.run).names[key]}
    head = "".join(f"<th{kind}>{escape(title)}</th>" for title, kind in (
        ("run", ""), ("model", ' class="text"'), ("data", ' class="text"'), ("epochs", ""), ("best epoch", ""),
        ("weights", ' class="text"'), *((title, "") for title in titles.values()), ("loss", "")))
    lines = ""
    for label, one in zip(labels([one.run for one in runs]), runs):
        found = one.best
        lines += (f'<tr><td>{escape(label)}</td><td class="text">{escape(one.run.model)}</td>'
                  f'<td class="text">{escape(one.run.data)}</td><td>{len(one.run.rows)}</td>'
                  f'<td>{number(found.epoch, ".0f")}</td><td class="text">{"EMA" if found.averaged else "raw"}</td>'
                  + "".join(f'<td>{number(found.figures.get(key), ".2f")}</td>' for key in titles)
                  + f'<td>{number(found.figures.get("loss"), ".4f")}</td></tr>')
    return f'<h2>Runs</h2><div class="card scroll"><table><tr>{head}</tr>{lines}</table></div>'


def run_section(one: JudgedRun) -> str:
    """Tiles, curves, confusion matrix, mistakes and the recipe of a run."""
    run = one.run
    tiles = "".join(f'<div class="card tile"><b>{value}</b><span>{escape(what)}</span></div>'
                    for value, what in _tiles(one))
    charts_of_run = [(title, charts.line_chart(title, _series(run, keys), "epoch"))
                     for title, keys in _curves(figures_of(run))]
    curves = row_of_cards([frame(title, chart) for title, chart in charts_of_run if chart])
    return (f"<section><h2>{escape(run.model)} on {escape(run.data)}</h2><p class=\"note\">{escape(run.path)}</p>"
            f'<div class="tiles">{tiles}</div>{curves}{predictions(one)}'
            f"<details class=\"card\"><summary>Recipe</summary><pre>{escape(run.text)}</pre></details></section>")


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
        tiles[0] = tiles[0][0], f"{tiles[0][1]}, test split{', averaged weights' if found.averaged else ''}"
    tiles += [(f"{number(found.epoch, '.0f')} of {len(run.rows)}", "best epoch"),
              (number(found.figures.get("loss"), ".4f"), "test loss")]
    prefix, name = (RAW, "raw") if found.averaged else (EMA, "averaged")
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


def predictions(one: JudgedRun) -> str:
    """The confusion matrix, or the most frequent confusions of many classes, beside the classes; below, mistakes."""
    judgement = one.judgement
    if judgement is None:
        return f'<p class="note">{escape(one.missing)}</p>'
    if not judgement.confusable:
        # A task whose results are no classes, or several of an image.
        head, *lines = judgement.class_rows()
        cells = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
        titles = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        return frame(judgement.headline(), f'<div class="scroll"><table><tr>{titles}</tr>{cells}</table></div>')
    matrix = charts.matrix_chart(judgement.confusion.tolist(), [judgement.classes[place] for place in judgement.shown],
                                 "Confusion matrix") if len(judgement.shown) <= charts.MATRIX_CLASSES else None
    if matrix:
        left = f'<div class="scroll matrix"><h3>Confusion matrix: rows are true classes</h3>{matrix}</div>'
    else:
        pairs = "".join(f'<tr><td>{escape(true)}</td><td class="text">{escape(said)}</td><td>{count}</td></tr>'
                        for true, said, count in judgement.confused(WEAKEST))
        left = (f'<div class="list"><h3>Most frequent confusions</h3><table><tr><th>class</th><th class="text">taken '
                f"for</th><th>images</th></tr>{pairs}</table></div>")
    return f'<div class="card split">{left}{class_table(judgement, bool(matrix))}</div>{mistakes_card(one)}'


def class_table(judgement: Any, whole: bool) -> str:
    """Their means, then precision, recall with a bar, and F1 of the classes, the weakest first: all, or `WEAKEST`."""
    found = judgement.by_class()
    order = sorted(range(len(found.places)), key=lambda row: (found.f1[row], judgement.classes[found.places[row]]))
    lines = "".join(
        f'<tr><td>{escape(judgement.classes[found.places[row]])}</td><td>{found.images[row]}</td>'
        f"<td>{100 * found.precision[row]:.1f}</td>"
        f'<td class="bar-cell"><i style="--share:{100 * found.recall[row]:.1f}%"></i>{100 * found.recall[row]:.1f}</td>'
        f"<td>{100 * found.f1[row]:.1f}</td></tr>" for row in (order if whole else order[:WEAKEST]))
    means = "".join(f"<tr><td><b>{name}</b></td><td>{len(judgement.labels)}</td>"
                    + "".join(f"<td>{100 * value:.1f}</td>" for value in found.average(weighted)) + "</tr>"
                    for name, weighted in (("mean", False), ("mean by images", True)))
    title = "Classes, the weakest first (%)" if whole else f"The weakest of {len(order)} classes (%)"
    return (f'<div class="list grow"><h3>{title}</h3><table><tr><th>class</th><th>images</th><th>precision</th>'
            f"<th>recall</th><th>F1</th></tr>{means}{lines}</table></div>")


def mistakes_card(one: JudgedRun) -> str:
    """The worst mistakes with their pictures."""
    wrong, images = int((~one.judgement.right).sum()), len(one.judgement.labels)
    if not wrong:
        return f'<p class="note">All of {images} test images are recognised.</p>'
    figures = "".join(
        f'<figure><img {"class=small " if "image/png" in mistake.picture else ""}src="{mistake.picture}" '
        f'alt="{escape(mistake.true)}"><b>{escape(mistake.predicted)}</b> {100 * mistake.confidence:.0f} %<br>'
        f"<span>is {escape(mistake.true)} ({escape(mistake.name)})</span></figure>" for mistake in one.mistakes)
    return frame(f"Worst of {wrong} mistakes on {images} test images", f'<div class="mistakes">{figures}</div>')
