"""Measure latency, memory and size of networks side by side."""
import sys
from typing import Sequence

from ghost_ms.cli.parser import Parser, add_input_size, add_kernels, matching
from ghost_ms.core.files import write_text
from ghost_ms.core.threads import cores

#: Calls that --profile looks at.
PROFILED = 5


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    from ghost_ms.analysis.measure import benchmark, operator_times, plots
    from ghost_ms.core import tables

    options = build_parser().parse_args(argv)
    names = [name for pattern in options.models for name in matching(pattern, parts=False)]
    for key in ("threads", "batch", "rounds"):
        if getattr(options, key) < 1:
            raise ValueError(f"--{key} is {getattr(options, key)}; it is 1 or more")
    if options.output and not options.output.endswith((".csv", ".md")):
        raise ValueError(f"--output is '{options.output}'; it ends in .csv or .md")
    if options.profile and set(options.backend) & {"onnx", "lite"}:
        raise ValueError("--profile tells MindSpore's operators: take mindspore, train or mindir for --backend")
    if options.plot:
        if not options.plot.endswith(".png"):
            raise ValueError(f"--plot is '{options.plot}'; it ends in .png")
        plots.require_published(names)
    results = benchmark.benchmark(names, options.backend, options.batch, options.input_size, options.threads,
                                  options.rounds, lambda name: print(f"preparing {name}", file=sys.stderr),
                                  options.kernels, PROFILED * options.profile)
    heading, rows = f"{benchmark.heading()}; {options.threads} threads", benchmark.rows(results)
    notes = benchmark.notes(results)
    print("\n".join(filter(None, [heading, tables.as_text(rows), notes])))
    for result in results:
        if result.profile:
            print(f"\n{result.model}, {result.backend}: operators of a call")
            print(tables.as_text(operator_times.rows(result.profile)))
    if options.output:
        text = benchmark.as_csv(results) if options.output.endswith(".csv") else \
            "\n\n".join(filter(None, [f"{heading}.", tables.as_markdown(rows), notes and f"{notes}."])) + "\n"
        write_text(options.output, text)
    if options.plot:
        plots.draw_accuracy_latency(options.plot, results)
    return 1 if any(result.error for result in results) else 0


def build_parser() -> Parser:
    """The options of this command."""
    from ghost_ms.analysis.measure import benchmark

    parser = Parser("ghost-ms bench", description=__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="names or shell patterns, such as 'ghostnet*'")
    parser.add_argument("--backend", nargs="+", choices=benchmark.BACKENDS, default=["mindspore"],
                        help="mindspore: deploy form in graph mode (default); train: a step of this package's training "
                             "in graph mode, with the defaults of a recipe; mindir, onnx, lite: the exported file in "
                             "MindSpore, ONNX Runtime, MindSpore Lite")
    parser.add_argument("--threads", type=int, default=cores(), help="cores to use (default all)")
    parser.add_argument("--batch", type=int, default=1, help="images of a call (default 1)")
    add_input_size(parser, "each network's published size")
    add_kernels(parser)
    parser.add_argument("--rounds", type=int, default=10,
                        help="timed rounds per network, of about 0.3 s each (default 10)")
    parser.add_argument("--profile", action="store_true",
                        help="also print the time of a call by kinds of operators (backends mindspore, train, mindir)")
    parser.add_argument("--output", help="file for the results: .csv has every figure in full, .md is the table")
    parser.add_argument("--plot", metavar="FILE.png",
                        help="draw the published top-1 accuracy against the measured latency")
    return parser
