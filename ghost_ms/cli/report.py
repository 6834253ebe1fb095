"""Write one HTML page about runs and benchmarks: curves, mistakes, accuracy against cost."""
import os
import sys
from typing import Sequence

from ghost_ms.cli.parser import Parser
from ghost_ms.core.files import write_text
from ghost_ms.core.text import printable


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    options = build_parser().parse_args(argv)
    from ghost_ms.analysis.report import page as pages

    runs, benches, complaints = pages.gather(options.paths, not options.no_predictions)
    write_text(options.output, pages.page(runs, benches))
    print(f"{printable(options.output)}: {len(runs)} runs, {len(benches)} measurements, "
          f"{os.path.getsize(options.output) / 1e3:.0f} kB")
    # As with `ghost-ms runs`: what a glob finds besides is no failure.
    for complaint in complaints:
        print(f"ghost-ms: {printable(complaint)}", file=sys.stderr)
    return 0


def build_parser() -> Parser:
    """The options of this command."""
    parser = Parser("ghost-ms report", description=__doc__)
    parser.add_argument("paths", nargs="+", metavar="RUN|BENCH",
                        help="folders of runs, CSV files that `ghost-ms bench --output` or `ghost-ms verify` wrote, or "
                             "globs of these, such as 'runs/*'")
    parser.add_argument("-o", "--output", default="report.html", help="page to write (default report.html)")
    parser.add_argument("--no-predictions", action="store_true",
                        help="leave out confusion matrix and mistakes, for which the best checkpoint of each run "
                             "classifies the run's test data")
    return parser
