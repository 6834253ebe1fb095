"""A training step or an inference with the CPU kernels, without them, and of timm in PyTorch: one run, in turns.

    python scripts/benchmarks/beside_pytorch.py --torch-python ENV/bin/python [--work step|inference] [MODEL...]

The step is a recipe's with its defaults (SGD, momentum 0.9) on both sides; timm runs eager, in PyTorch's two layouts of
memory, of which the better counts. An inference is of one image in graph mode, the deploy form on both sides. Every
round times each form once, in an order that turns; a ratio is the median over the rounds, with the interval that holds
it in 95 of 100 drawings of rounds.
"""
import argparse
import os
import pathlib
import sys
from typing import Dict, List, Sequence, Tuple

import numpy as np

from ghost_ms.analysis.measure import benchmark
from ghost_ms.analysis.measure.benchmark import Result
from ghost_ms.core import tables

MODELS = ("ghostnet_100", "ghostnetv2_100", "ghostnetv3_100", "mobilenetv3_large_100", "efficientnet_b0",
          "repghostnet_100")
#: Work -> (our backend, its batch, timm's two).
WORK = {"step": ("train", 16, ("timm step", "timm step channels-last")),
        "inference": ("mindspore", 1, ("timm eager", "timm channels-last"))}
#: Networks that timm does not have are measured without it.
NOT_IN_TIMM = ("wavemlp_t", "pvig_ti", "snnmlp_t")
PEER_WORKER = str(pathlib.Path(__file__).resolve().parents[1] / "peer_worker.py")


def forms_of(name: str, work: str, options: argparse.Namespace) -> Dict[str, Result]:
    """What is measured of a network: title -> result."""
    ours, batch, theirs = WORK[work]
    size = (224, 224)
    forms = {title: Result(name, ours, options.batch or batch, size, options.threads, kernels=kernels)
             for title, kernels in (("kernels", "auto"), ("without", "off"))}
    if name not in NOT_IN_TIMM:
        forms.update({title: Result(name, title, options.batch or batch, size, options.threads) for title in theirs})
    return forms


def command_of(result: Result, options: argparse.Namespace) -> List[str]:
    """The process that measures a form."""
    if result.backend.startswith("timm"):
        return [options.torch_python, PEER_WORKER]
    return benchmark.own_worker(result)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Tuple[float, float, float]:
    """(median of the rounds' ratios, both ends of its interval)."""
    ratios = np.array(ours) / np.array(theirs)
    drawn = np.median(np.random.default_rng(0).choice(ratios, (2000, len(ratios))), axis=1)
    return float(np.median(ratios)), *np.percentile(drawn, (2.5, 97.5))


def row(name: str, forms: Dict[str, Result], theirs: Sequence[str]) -> List[str]:
    """Cells of a network's line."""
    cells = [name]
    for title in ("kernels", "without", *theirs):
        result = forms.get(title)
        cells.append("" if result is None else result.error and "failed" or f"{result.median_ms:.1f}")
    there = [forms[title] for title in theirs if title in forms and not forms[title].error]
    best = min(there, key=lambda result: result.median_ms, default=None)
    for other in (best, forms["without"]):
        if other is None or other.error or forms["kernels"].error:
            cells.append("")
        else:
            middle, low, high = ratio(forms["kernels"].rounds, other.rounds)
            cells.append(f"{middle:.2f} ({low:.2f}-{high:.2f})")
    seconds = [forms[title].compile_s for title in ("kernels", "without")]
    return cells + [f"{one:.1f}" if one else "" for one in seconds]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL", help=f"by default {', '.join(MODELS)}")
    parser.add_argument("--torch-python", required=True, help="Python with timm and torch")
    parser.add_argument("--work", choices=tuple(WORK), default="step", help="what is timed (default step)")
    parser.add_argument("--batch", type=int, help="images of a call (default 16 for a step, 1 for inference)")
    parser.add_argument("--threads", type=int, default=2, help="cores to use (default 2)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of about 0.3 s for each form (default 10)")
    parser.add_argument("--output", metavar="FILE.md", help="write the table")
    return parser


def main() -> int:
    options = build_parser().parse_args()
    # Both sides import ghost_ms.analysis from these sources.
    os.environ["PYTHONPATH"] = str(pathlib.Path(__file__).resolve().parents[2])
    theirs = WORK[options.work][2]
    lines = [["model", "kernels (ms)", "without (ms)", *(f"{title} (ms)" for title in theirs), "to timm's better",
              "to without", "compile (s)", "without"]]
    failed = False
    for name in options.models:
        forms = forms_of(name, options.work, options)
        benchmark.measure_in_turns(list(forms.values()), options.rounds, lambda result: command_of(result, options))
        lines.append(row(name, forms, theirs))
        failed |= any(result.error for result in forms.values())
        print("  ".join(lines[-1]), file=sys.stderr, flush=True)
        for title, result in forms.items():
            if result.error:
                print(f"{name}, {title}: {result.error}", file=sys.stderr)
    text = f"{benchmark.heading()}; {options.threads} threads.\n\n{tables.as_markdown(lines)}\n"
    if options.output:
        pathlib.Path(options.output).write_text(text, encoding="utf-8")
    print(text, end="")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
