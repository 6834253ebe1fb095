"""One self-contained HTML page about runs and benchmarks; it loads nothing and needs no network."""
import os
import pathlib
from typing import List, NamedTuple, Sequence

from ghost_ms import __version__
from ghost_ms.analysis.report.html_parts import many
from ghost_ms.analysis.report.models import Bench, model_cards, models_table, read_bench, trade_offs
from ghost_ms.analysis.report.trainings import JudgedRun, judged, run_section, runs_table
from ghost_ms.checkpoints.run_folder import find, read_run
from ghost_ms.models import list_models, model_card

PAGE = pathlib.Path(__file__).parent / "static"


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
    cards = [model_card(name) for name in names if name in registered]
    sections = [runs_table(runs) if len(runs) > 1 else ""] + [run_section(one) for one in runs]
    sections += [trade_offs(names, benches), models_table(names, benches), model_cards(cards)]
    style, script = ((PAGE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    said = ", ".join(filter(None, [many(len(runs), "run"), many(len(benches), "measurement")]))
    return ('<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1"><title>ghost_ms report</title>'
            f"<style>{style}</style></head><body><header><div><div class=\"grow\"><h1>ghost_ms report</h1><p>{said}</p>"
            '</div><button id="theme" type="button">Dark</button></div></header><main>'
            + "".join(sections)
            + f"<footer>ghost_ms {__version__}. Published accuracies are the authors' and were not measured here; "
              "latencies, memory and the accuracies of runs were.</footer></main>"
            + f"<script>{script}</script></body></html>\n")
