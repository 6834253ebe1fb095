"""Finished runs side by side: what each reached and cost, and where their recipes differ."""
import argparse
import csv
import glob
import os
import statistics
import sys
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import yaml

from ghost_ms.models.table import as_text

#: Keys of a recipe that always differ and tell nothing.
IGNORED = ("run.dir",)
SEED = "run.seed"
FORMATS = (".png", ".svg", ".pdf")


class Run(NamedTuple):
    """A run's folder: rows of metrics.csv, and the keys of config.yaml with dots (`optimizer.lr`)."""

    path: str
    rows: List[Dict[str, float]]
    recipe: Dict[str, Any]

    def best(self, key: str) -> Optional[Dict[str, float]]:
        """The epoch with the highest value of a column, the first of equals; None without that column."""
        rows = [row for row in self.rows if key in row]
        return max(rows, key=lambda row: row[key]) if rows else None


def read_run(path: str) -> Run:
    """Read a run's folder.

    Raises:
        ValueError: a folder that is no run, or one whose first epoch has not ended; the sentence names what lacks.
    """
    files = [os.path.join(path, name) for name in ("metrics.csv", "config.yaml")]
    missing = [os.path.basename(file) for file in files if not os.path.isfile(file)]
    if missing:
        raise ValueError(f"'{path}' is no run of `ghost-ms train` that has ended an epoch: it has no "
                         f"{' and no '.join(missing)}")
    try:
        with open(files[0], newline="") as file:
            rows = [{key: float(value) for key, value in row.items() if value not in ("", None)}
                    for row in csv.DictReader(file)]
        with open(files[1], encoding="utf-8") as file:
            recipe = flat(yaml.safe_load(file))
    except (ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ValueError(f"the run '{path}' cannot be read: {' '.join(str(error).split())}") from None
    if not rows or not {"epoch", "test_top1", "train_loss"} <= set(rows[0]):
        raise ValueError(f"'{os.path.join(path, 'metrics.csv')}' holds no epoch of a training")
    return Run(os.path.normpath(path), rows, recipe)


def flat(tree: Dict[str, Any], prefix: str = "") -> Dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}; an empty mapping stays a value."""
    leaves: Dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        leaves.update(flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value})
    return leaves


def find_runs(patterns: Sequence[str]) -> Tuple[List[Run], List[str]]:
    """The runs that folders or globs name, each once, and a sentence for everything that is none.

    Raises:
        ValueError: there is no run at all.
    """
    runs: Dict[str, Run] = {}
    complaints = []
    for pattern in patterns:
        # A folder's own name may hold brackets; a glob is what does not exist as it stands.
        paths = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
        if not paths:
            complaints.append(f"there is no folder '{pattern}'")
        for path in paths:
            try:
                runs.setdefault(os.path.realpath(path), read_run(path))
            except ValueError as error:
                complaints.append(str(error))
    if not runs:
        raise ValueError("; ".join(complaints))
    return list(runs.values()), complaints


def labels(runs: Sequence[Run]) -> List[str]:
    """The end of each path that tells it from the others."""
    parts = [run.path.split(os.sep) for run in runs]
    for length in range(1, max(map(len, parts)) + 1):
        names = [os.sep.join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            break
    return names


def _of_best(key: str, column: str) -> Callable[[Run], Optional[float]]:
    return lambda run: (run.best(key) or {}).get(column)


def _mean(key: str) -> Callable[[Run], Optional[float]]:
    def mean(run: Run) -> Optional[float]:
        values = [row[key] for row in run.rows if key in row]
        return sum(values) / len(values) if values else None
    return mean


def _seconds(run: Run) -> Optional[float]:
    values = [row.get("seconds") for row in run.rows]
    return None if None in values else sum(values)


def _clock(seconds: Optional[float]) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _number(value: Optional[float], digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


COLUMNS: Tuple[Tuple[str, Callable[[Run], str]], ...] = (
    ("model", lambda run: str(run.recipe.get("model.name", "-"))),
    ("epochs", lambda run: _number(len(run.rows))),
    ("top-1 (%)", lambda run: _number(_of_best("test_top1", "test_top1")(run), 2)),
    ("epoch", lambda run: _number(_of_best("test_top1", "epoch")(run))),
    ("EMA top-1 (%)", lambda run: _number(_of_best("ema_top1", "ema_top1")(run), 2)),
    ("epoch", lambda run: _number(_of_best("ema_top1", "epoch")(run))),
    ("images/s", lambda run: _number(_mean("images_per_second")(run), 1)),
    ("peak memory (MB)", lambda run: _number(_of_best("peak_mb", "peak_mb")(run))),
    ("time", lambda run: _clock(_seconds(run))),
)


def results(runs: Sequence[Run]) -> List[List[str]]:
    """A line a run as text cells, header first."""
    return [["run"] + [title for title, _ in COLUMNS]] + [
        [label] + [cell(run) for _, cell in COLUMNS] for label, run in zip(labels(runs), runs)]


def over_seeds(runs: Sequence[Run]) -> List[List[str]]:
    """A line for all runs of one recipe that differ in their seed: mean and sample deviation, header first."""
    groups: Dict[Tuple[Tuple[str, str], ...], List[int]] = {}
    for index, run in enumerate(runs):
        recipe = tuple(sorted((key, _shown(value)) for key, value in run.recipe.items()
                              if key not in (*IGNORED, SEED)))
        groups.setdefault(recipe, []).append(index)
    names = labels(runs)
    table = [["runs", "seeds", "last top-1 (%)", "best top-1 (%)", "last EMA top-1 (%)"]]
    for members in groups.values():
        seeds = {_shown(runs[index].recipe.get(SEED)) for index in members}
        if len(seeds) == len(members) > 1:
            table.append([", ".join(names[index] for index in members), str(len(members))] + [
                _spread([value(runs[index]) for index in members])
                for value in (_last("test_top1"), _of_best("test_top1", "test_top1"), _last("ema_top1"))])
    return table


def _last(key: str) -> Callable[[Run], Optional[float]]:
    return lambda run: run.rows[-1].get(key)


def _spread(values: Sequence[Optional[float]]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "-"
    return f"{statistics.mean(known):.2f} ± {statistics.stdev(known):.2f}"


def differences(runs: Sequence[Run]) -> List[List[str]]:
    """A line for every key of the recipe that is not the same in all runs, a column a run, header first."""
    keys = dict.fromkeys(key for run in runs for key in run.recipe if key not in IGNORED)
    table = [["key", *labels(runs)]]
    for key in keys:
        values = [_shown(run.recipe[key]) if key in run.recipe else "-" for run in runs]
        if len(set(values)) > 1:
            table.append([key, *values])
    return table


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def draw(path: str, runs: Sequence[Run]) -> None:
    """Loss and accuracy of all runs over the epochs; dashed: of the averaged weights."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = (("train loss", "train_loss", None), ("test loss", "test_loss", "ema_loss"),
              ("test top-1 accuracy (%)", "test_top1", "ema_top1"))
    for axes, (title, key, mean) in zip(figure.subplots(1, 3), panels):
        for index, (label, run) in enumerate(zip(labels(runs), runs)):
            for column, style in ((key, "-"), (mean, "--")):
                points = [(row["epoch"], row[column]) for row in run.rows if column in row]
                if points:
                    # Only the solid line is named: one entry a run.
                    axes.plot(*zip(*points), style, color=f"C{index % 10}", marker="o", markersize=3,
                              label=label if style == "-" else None)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 4), frameon=False)
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str], description: Optional[str]) -> int:
    """`ghost-ms runs`: tables on standard output; a sentence on standard error for every folder that is no run."""
    parser = argparse.ArgumentParser("ghost-ms runs", description=description)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders or globs, such as 'runs/*'")
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="draw loss and accuracy of all runs into a .png, .svg or .pdf file")
    options = parser.parse_args(argv)
    if options.output and not options.output.endswith(FORMATS):
        raise ValueError(f"--output is '{options.output}'; it ends in {', '.join(FORMATS)}")
    runs, complaints = find_runs(options.runs)
    print(as_text(results(runs)))
    if len(runs) > 1:
        table = differences(runs)
        print(f"\nrecipes differ in:\n{as_text(table)}" if len(table) > 1 else "\nthe recipes are the same")
    groups = over_seeds(runs)
    if len(groups) > 1:
        print(f"\nover seeds, mean ± sample deviation:\n{as_text(groups)}")
    if options.output:
        draw(options.output, runs)
    for complaint in complaints:
        print(f"ghost-ms: {complaint}", file=sys.stderr)
    return 1 if complaints else 0
