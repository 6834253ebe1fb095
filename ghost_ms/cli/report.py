"""Write one HTML page about runs and benchmarks: curves, mistakes, accuracy against cost."""
import os
from typing import Sequence

from ghost_ms.cli.parser import Parser


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    parser = Parser("ghost-ms report", description=__doc__)
    parser.add_argument("paths", nargs="+", metavar="RUN|BENCH",
                        help="folders of runs, and CSV files that `ghost-ms bench --output` or `ghost-ms verify` wrote")
    parser.add_argument("-o", "--output", default="report.html", help="page to write (default report.html)")
    parser.add_argument("--no-predictions", action="store_true",
                        help="leave out confusion matrix and mistakes, for which the best checkpoint of each run "
                             "classifies the run's test data")
    options = parser.parse_args(argv)
    from ghost_ms.analysis import report as pages

    runs, benches = pages.gather(options.paths, not options.no_predictions)
    pages.write(options.output, pages.page(runs, benches))
    print(f"{options.output}: {len(runs)} runs, {len(benches)} measurements, "
          f"{os.path.getsize(options.output) / 1e3:.0f} kB")
    return 0
