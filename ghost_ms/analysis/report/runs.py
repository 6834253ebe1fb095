"""Finished runs side by side: what each reached and cost, and where their recipes differ."""
import math
import os
import statistics
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ghost_ms.analysis.report.charts import LARGEST
from ghost_ms.analysis.report.measured import best_of, figures_of
from ghost_ms.checkpoints.run_folder import Run, find, labels, read_run
from ghost_ms.core.figures import EMA, RAW
from ghost_ms.core.files import whole_file
from ghost_ms.core.text import printable

#: Keys of a recipe that always differ and tell nothing.
IGNORED = ("run.dir",)
SEED = "run.seed"
FORMATS = (".png", ".svg", ".pdf")
#: Characters of a recipe's value that are shown.
LONGEST = 200


def find_runs(patterns: Sequence[str]) -> Tuple[List[Run], List[str]]:
    """The runs that folders or globs name, each once, and a sentence for everything that is none.

    Raises:
        ValueError: there is no run at all.
    """
    runs, complaints = [], []
    for path, missing in find(patterns):
        try:
            if missing:
                raise ValueError(missing)
            runs.append(read_run(path))
        except ValueError as error:
            complaints.append(str(error))
    if not runs:
        raise ValueError("; ".join(complaints))
    return runs, complaints


def _highest(column: str) -> Callable[[Run], Optional[float]]:
    return lambda run: max((value for value in run.values(column) if not math.isnan(value)), default=None)


def _last(column: str) -> Callable[[Run], Optional[float]]:
    return lambda run: run.rows[-1].get(column)


def _mean(column: str) -> Callable[[Run], Optional[float]]:
    def mean(run: Run) -> Optional[float]:
        values = run.values(column)
        return sum(values) / len(values) if values else None
    return mean


def _weights(run: Run) -> str:
    found = best_of(run)
    return "-" if found.epoch is None else "EMA" if found.averaged else "raw"


def _seconds(run: Run) -> Optional[float]:
    values = run.values("seconds")
    return sum(values) if len(values) == len(run.rows) else None


def _clock(seconds: Optional[float]) -> str:
    if seconds is None or not math.isfinite(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _number(value: Optional[float], digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _short(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.4g}"


Cell = Callable[[Run], str]
Column = Tuple[str, Cell]


def _best(key: str) -> Callable[[Run], Optional[float]]:
    return lambda run: best_of(run).figures.get(key)


def deciding(runs: Sequence[Run]) -> Dict[str, str]:
    """Key -> title of the figures by which the best epochs of these runs were chosen."""
    found: Dict[str, str] = {}
    for run in runs:
        figures, key = figures_of(run), best_of(run).key
        found.setdefault(key or figures.primary[0], figures.title(key or figures.primary[0]))
    return found


def _columns(runs: Sequence[Run]) -> List[Column]:
    """Title and cell. "best" is of what best.ckpt holds; "max lr" the highest learning rate at the end of an epoch."""
    figures = deciding(runs)
    best = [(f"best {title}", lambda run, key=key: _number(_best(key)(run), 2)) for key, title in figures.items()]
    raw = [(f"{name} {title}", lambda run, column=f"{prefix}_{key}": _number(_highest(column)(run), 2))
           for key, title in figures.items() for name, prefix in (("raw", RAW), ("EMA", EMA))]
    return [("model", lambda run: printable(run.model)),
            ("epochs", lambda run: _number(len(run.rows))),
            *best,
            ("epoch", lambda run: _number(best_of(run).epoch)),
            ("weights", _weights),
            *raw,
            ("max lr", lambda run: _short(_highest("lr")(run))),
            ("images/s", lambda run: _number(_mean("images_per_second")(run), 1)),
            ("peak memory (MB)", lambda run: _number(_highest("peak_mb")(run))),
            ("time", lambda run: _clock(_seconds(run)))]


def results(runs: Sequence[Run]) -> List[List[str]]:
    """One line for each run as text cells, header first."""
    columns = _columns(runs)
    return [["run"] + [title for title, _ in columns]] + [
        [label] + [cell(run) for _, cell in columns] for label, run in zip(labels(runs), runs)]


def over_seeds(runs: Sequence[Run]) -> List[List[str]]:
    """A line for all runs of one recipe that differ in their seed: mean and sample deviation, header first."""
    groups: Dict[Tuple[Tuple[str, str], ...], List[int]] = {}
    for index, run in enumerate(runs):
        recipe = tuple(sorted((key, str(value)) for key, value in run.recipe.items() if key not in (*IGNORED, SEED)))
        groups.setdefault(recipe, []).append(index)
    names = labels(runs)
    figures = deciding(runs)
    table = [["runs", "seeds"] + [f"{word} {title}" for title in figures.values()
                                  for word in ("last raw", "last EMA", "best")]]
    for members in groups.values():
        seeds = {str(runs[index].recipe.get(SEED)) for index in members}
        if len(seeds) == len(members) > 1:
            table.append([", ".join(names[index] for index in members), str(len(members))] + [
                _spread([value(runs[index]) for index in members])
                for key in figures for value in (_last(f"{RAW}_{key}"), _last(f"{EMA}_{key}"), _best(key))])
    return table


def _spread(values: Sequence[Optional[float]]) -> str:
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < len(values):
        return "-"
    return f"{statistics.mean(known):.2f} ± {statistics.stdev(known):.2f}"


def differences(runs: Sequence[Run]) -> List[List[str]]:
    """A line for every key of the recipe that is not the same in all runs, a column for each run, header first."""
    keys = dict.fromkeys(key for run in runs for key in run.recipe if key not in IGNORED)
    table = [["key", *labels(runs)]]
    for key in keys:
        values = [str(run.recipe[key]) if key in run.recipe else None for run in runs]
        if len(set(values)) > 1:
            table.append([printable(key), *map(_shown, (run.recipe.get(key, "-") for run in runs))])
    return table


def _shown(value: Any) -> str:
    text = "null" if value is None else printable(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def tables(runs: Sequence[Run]) -> str:
    """All that there is to say of some runs."""
    from ghost_ms.core.tables import as_text

    said = [as_text(results(runs))]
    if len(runs) > 1:
        table = differences(runs)
        said.append(f"recipes differ in:\n{as_text(table)}" if len(table) > 1 else "the recipes are the same")
    groups = over_seeds(runs)
    if len(groups) > 1:
        said.append(f"over seeds, mean ± sample deviation:\n{as_text(groups)}")
    return "\n\n".join(said)


def draw(path: str, runs: Sequence[Run]) -> None:
    """Loss and accuracy of all runs over the epochs; dashed: of the EMA weights.

    Raises:
        OSError: the file cannot be written; what was there stays.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    # Where the runs are of several tasks, what decided in the most of them.
    figures, keys = deciding(runs), [best_of(run).key for run in runs]
    key = max(figures, key=keys.count)
    panels = (("train loss", "train_loss", None), ("test loss", "test_loss", "ema_loss"),
              (f"test {figures[key]}", f"{RAW}_{key}", f"{EMA}_{key}"))
    # Not every task has a loss of its test split.
    there = [panel for panel in panels if any(run.values(panel[1]) for run in runs)] or panels[:1]
    for axes, (title, own, mean) in zip(figure.subplots(1, len(there), squeeze=False)[0], there):
        for index, run in enumerate(runs):
            for column, style in ((own, "-"), (mean, "--")):
                # A NaN is a gap in the line; for an infinity there is no place.
                points = [(row["epoch"], row[column]) for row in run.rows
                          if column in row and not max(abs(row["epoch"]), abs(row[column])) > LARGEST]
                if points:
                    axes.plot(*zip(*points), style, color=f"C{index % 10}", marker="o", markersize=3)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    _name_lines(figure, labels(runs))
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=120, format=os.path.splitext(path)[1][1:])


def _name_lines(figure, names: Sequence[str]) -> None:
    """One entry in the legend for each run, in its colour."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=f"C{index % 10}", marker="o", markersize=3) for index in range(len(names))]
    legend = figure.legend(lines, names, loc="outside lower center", ncols=min(len(names), 4), frameon=False)
    for text in legend.get_texts():
        # A name with two dollars would be set as a formula.
        text.set_parse_math(False)
