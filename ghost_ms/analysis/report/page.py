"""One self-contained HTML page about runs and benchmarks; it loads nothing and needs no network."""
import os
from typing import List, NamedTuple, Sequence

from ghost_ms import __version__
from ghost_ms.analysis.report import template
from ghost_ms.analysis.report.models import Bench, card_facts, models_table, read_bench, trade_offs
from ghost_ms.analysis.report.trainings import JudgedRun, compared, judged, section
from ghost_ms.checkpoints.run_folder import find, read_run
from ghost_ms.models import list_models, model_card


class Gathered(NamedTuple):
    """What a page is made of, and a sentence for each path that could not be read."""

    runs: List[JudgedRun]
    benches: List[Bench]
    complaints: List[str]


def gather(patterns: Sequence[str], predict: bool = True) -> Gathered:
    """Runs and benchmarks from folders, CSV files, and globs of these.

    Args:
        predict: whether the best checkpoint of each run classifies the run's test data.

    Raises:
        ValueError: there is none at all.
    """
    found = Gathered([], [], [])
    for path, missing in find(patterns, "run or benchmark"):
        try:
            if missing:
                raise ValueError(f"{missing}; give a run's folder or a CSV that `ghost-ms bench --output` or `ghost-ms "
                                 "verify` wrote")
            if os.path.isdir(path):
                found.runs.append(judged(read_run(path), predict))
            else:
                found.benches.extend(read_bench(path))
        except ValueError as error:
            found.complaints.append(str(error))
    if not found.runs and not found.benches:
        raise ValueError("; ".join(found.complaints) or "there is no measurement in these files")
    return found


def page(runs: Sequence[JudgedRun], benches: Sequence[Bench]) -> str:
    """The whole page."""
    names = list(dict.fromkeys([one.run.model for one in runs] + [bench.model for bench in benches]))
    registered = set(list_models())
    return template.render(
        runs=[section(one) for one in runs], comparison=compared(runs) if len(runs) > 1 else None,
        measurements=len(benches), trade_offs=trade_offs(names, benches), models=models_table(names, benches),
        cards=[card_facts(model_card(name)) for name in names if name in registered], version=__version__,
        style=template.own_file("report.css"), script=template.own_file("report.js"))
