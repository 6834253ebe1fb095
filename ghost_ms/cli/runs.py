"""Compare finished runs: accuracy, speed, memory, and where their recipes differ."""
import sys
from typing import Sequence

from ghost_ms.cli.parser import Parser
from ghost_ms.core.text import printable


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    options = build_parser().parse_args(argv)
    from ghost_ms.analysis.report import runs as comparison

    if options.output and not options.output.endswith(comparison.FORMATS):
        raise ValueError(f"--output is '{options.output}'; it ends in {', '.join(comparison.FORMATS)}")
    runs, complaints = comparison.find_runs(options.runs)
    print(comparison.tables(runs))
    if options.output:
        comparison.draw(options.output, runs)
    # What a glob finds besides runs is no failure: the table is what was asked for.
    for complaint in complaints:
        print(f"ghost-ms: {printable(complaint)}", file=sys.stderr)
    return 0


def build_parser() -> Parser:
    """The options of this command."""
    parser = Parser("ghost-ms runs", description=__doc__, epilog="'best' is the accuracy of what best.ckpt holds: raw "
                    "weights or the EMA weights, whichever did better; 'max lr' is the highest learning rate "
                    "at the end of an epoch.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders or globs, such as 'runs/*'")
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="draw loss and accuracy of all runs into a .png, .svg or .pdf file")
    return parser
