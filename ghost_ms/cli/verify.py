"""Write networks in every format, run the files, compare them with the networks and time them."""
import os
import sys
from typing import Any, Sequence

from ghost_ms.cli.parser import Parser


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code, 1 where a file differs or could not be made."""
    from ghost_ms.analysis.measure import verify

    options = build_parser().parse_args(argv)
    for key in ("jobs", "threads"):
        if getattr(options, key) < 1:
            raise ValueError(f"--{key} is {getattr(options, key)}; it is 1 or more")
    if not options.models and not os.path.isfile(options.results):
        raise FileNotFoundError(f"there is no file '{options.results}'; name models to take")
    from ghost_ms.core.tables import update

    rows = verify.read(options.results) if os.path.isfile(options.results) else {}
    names = verify.chosen(options.models, rows, options.formats, options.missing)
    rows = verify.verify(names, options.results, options.formats, options.jobs, options.threads,
                         lambda row: print(_line(row), file=sys.stderr, flush=True))
    text = verify.as_table(rows)
    if options.update:
        update(options.update, "formats", text)
    else:
        print(text)
    return 0 if all(rows[name].well(options.formats) for name in names) else 1


def build_parser() -> Parser:
    """The options of this command."""
    from ghost_ms.analysis.measure import verify

    parser = Parser("ghost-ms verify", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names or shell patterns, such as 'ghostnet*'; "
                                                                   "none: only write the table of the results")
    parser.add_argument("--results", default="formats.csv", metavar="FILE.csv",
                        help="where the results are kept; rows of other models stay (default formats.csv)")
    parser.add_argument("--formats", nargs="+", choices=list(verify.FORMATS), default=list(verify.FORMATS),
                        help="what to take (default all); mindspore is the network itself in graph mode, for the time "
                             "that compiling and a call take")
    parser.add_argument("--missing", action="store_true", help="pass over models that are good in these formats")
    parser.add_argument("--jobs", type=int, default=1, help="models at the same time (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="cores of each (default 1)")
    parser.add_argument("--update", metavar="FILE", help="put the table between the marks <!-- formats --> and "
                                                         "<!-- /formats --> of a file, such as docs/formats.md")
    return parser


def _line(row: Any) -> str:
    """The row in short, for who watches."""
    found = [f"{name} {value:{form}}" for name, value, form in (
        ("compile", row.compile_s, ".0f"), ("MINDIR", row.mindir, ".0e"), ("ONNX", row.onnx, ".0e"),
        ("Lite", row.lite, ".0e")) if value is not None]
    return f"{row.model}: {', '.join(found)}{'; ' if found and row.notes else ''}{row.notes}"
