"""Measure networks of this package beside those of the same name in MindCV and timm, each in its own environment.

    python scripts/compare_peers.py --torch-python ENV/bin/python --mindcv FOLDER [--output STEM] [MODEL...]

One image on the CPU, random weights. The backends of a network are prepared first and then timed in turns, round by
round, so that ratios hold while the machine's speed drifts; networks are measured one after the other. A peer that
lacks a network is left blank.
"""
import argparse
import os
import pathlib
import sys
from typing import Dict, List, Optional, Sequence

from ghost_ms.analysis.measure import benchmark
from ghost_ms.analysis.measure.benchmark import Result
from ghost_ms.core import tables
from ghost_ms.models import model_card

MODELS = ("ghostnet_100", "ghostnetv2_100", "ghostnetv3_100", "tinynet_a", "tnt_s_patch16_224", "wavemlp_t", "pvig_ti",
          "mobilenetv3_large_100", "efficientnet_b0", "repghostnet_100")
OURS = ("mindspore", "onnx", "lite")
TIMM = ("timm eager", "timm compile", "timm onnx")
#: What the peers call the networks that they have.
IN_MINDCV = {"ghostnet_100": "ghostnet_100", "mobilenetv3_large_100": "mobilenet_v3_large_100",
             "efficientnet_b0": "efficientnet_b0"}
IN_TIMM = {name: name for name in MODELS if name not in ("wavemlp_t", "pvig_ti")}
PEERS = {"mindcv": IN_MINDCV, **dict.fromkeys(TIMM, IN_TIMM)}
BACKENDS = (*OURS, *PEERS)
#: Ratios that are asked about most.
RATIOS = (("lite", "timm onnx"), ("lite", "timm eager"), ("mindspore", "timm eager"), ("mindspore", "mindcv"))
PEER_WORKER = str(pathlib.Path(__file__).with_name("peer_worker.py"))


def results_of(name: str, backends: Sequence[str], options: argparse.Namespace) -> List[Result]:
    """What is to be measured of a network: a result for each backend that has it, under the name that it has there."""
    card = model_card(name)
    params = card.deploy_params or card.params
    return [Result(PEERS[backend][name] if backend in PEERS else name, backend, options.batch, options.input_size,
                   options.threads, params=params if backend in OURS else None)
            for backend in backends if backend in OURS or name in PEERS[backend]]


def command_of(result: Result, options: argparse.Namespace) -> List[str]:
    """The process that measures a result."""
    if result.backend in OURS:
        return benchmark.own_worker(result)
    if result.backend in TIMM:
        return [options.torch_python, PEER_WORKER]
    # Last on the path: MindCV must not hide a package of this environment.
    code = f"import sys, runpy; sys.path.append({options.mindcv!r}); runpy.run_path({PEER_WORKER!r}, None, '__main__')"
    return [sys.executable, "-c", code]


def _cell(result: Optional[Result]) -> str:
    if result is None:
        return ""
    return "failed" if result.error else f"{result.median_ms:.1f} ({result.low_ms:.1f}-{result.high_ms:.1f})"


def _ratio(of: Dict[str, Result], ours: str, theirs: str) -> str:
    pair = of.get(ours), of.get(theirs)
    return "" if None in pair or pair[0].error or pair[1].error else f"{pair[0].median_ms / pair[1].median_ms:.2f}"


def rows(measured: Dict[str, Dict[str, Result]], backends: Sequence[str]) -> List[List[str]]:
    """Cells of the table: one line per network, one column per backend, then the ratios."""
    ratios = [pair for pair in RATIOS if set(pair) <= set(backends)]
    lines = [["model", *backends, *(f"{ours} / {theirs}" for ours, theirs in ratios)]]
    for name, of in measured.items():
        lines.append([name, *(_cell(of.get(backend)) for backend in backends), *(_ratio(of, *pair) for pair in ratios)])
    return lines


def as_markdown(measured: Dict[str, Dict[str, Result]], options: argparse.Namespace) -> str:
    """The table under what it needs to be understood."""
    height, width = options.input_size
    return (f"{benchmark.heading()}; {options.threads} threads, batch {options.batch}, {height}x{width}; milliseconds: "
            f"median (quartiles).\n\n{tables.as_markdown(rows(measured, options.backend))}\n")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL", help=f"by default {', '.join(MODELS)}")
    parser.add_argument("--torch-python", required=True, help="Python with timm, torch, onnxscript and onnxruntime")
    parser.add_argument("--mindcv", required=True, metavar="FOLDER", help="folder that holds the package mindcv")
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, default=list(BACKENDS), help="by default all")
    parser.add_argument("--input-size", type=int, default=224, metavar="PIXELS", help="of both sides (default 224)")
    parser.add_argument("--batch", type=int, default=1, help="images of a call (default 1)")
    parser.add_argument("--threads", type=int, default=2, help="cores to use (default 2)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of about 0.3 s a backend (default 10)")
    parser.add_argument("--output", metavar="STEM", help="write STEM.md and STEM.csv")
    return parser


def main() -> int:
    options = build_parser().parse_args()
    options.input_size = (options.input_size,) * 2
    # Both sides import ghost_ms.analysis from these sources.
    os.environ["PYTHONPATH"] = str(pathlib.Path(__file__).resolve().parents[1])
    measured, everything = {}, []
    for name in options.models:
        results = results_of(name, options.backend, options)
        benchmark.measure_in_turns(results, options.rounds, lambda result: command_of(result, options))
        measured[name] = {result.backend: result for result in results}
        everything += results
        for result in results:
            print(f"{name}, {result.backend}: {result.error or _cell(result)}", file=sys.stderr, flush=True)
        if options.output:
            pathlib.Path(f"{options.output}.csv").write_text(benchmark.as_csv(everything), encoding="utf-8")
            pathlib.Path(f"{options.output}.md").write_text(as_markdown(measured, options), encoding="utf-8")
    print(as_markdown(measured, options), end="")
    return int(any(result.error for result in everything))


if __name__ == "__main__":
    sys.exit(main())
