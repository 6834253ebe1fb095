"""List the registered networks."""
import sys
from typing import Sequence

from ghost_ms.cli.parser import Parser, matching
from ghost_ms.core.tasks import TASKS
from ghost_ms.core.text import printable


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    from ghost_ms.core import tables
    from ghost_ms.models import table

    options = build_parser().parse_args(argv)
    if options.plot:
        tables.require_ending(options.plot, "--plot", (".png",))
    found = matching(options.pattern, tasks=[options.task] if options.task else TASKS)
    names = table.arrange(found, options.sort, options.family)
    if options.plot:
        from ghost_ms.analysis.measure.plots import draw_accuracy_macs

        draw_accuracy_macs(options.plot, names)
        print(f"wrote {printable(options.plot)}", file=sys.stderr)
    if options.csv:
        print(table.as_csv(names), end="")
    elif options.markdown or options.update:
        text = tables.as_markdown(table.rows(names, table.MARKDOWN_COLUMNS))
        tables.update(options.update, "models", text) if options.update else print(text)
    else:
        print(tables.as_text(table.rows(names)))
    return 0


def build_parser() -> Parser:
    """The options of this command."""
    from ghost_ms.models import table

    parser = Parser("ghost-ms models", description=__doc__)
    parser.add_argument("pattern", nargs="?", default="*",
                        help="part of a name, or a shell pattern such as 'ghostnet*'")
    parser.add_argument("--task", choices=TASKS,
                        help="what the networks are for; by default classifiers, each of which is also a backbone, or "
                             "where none matches what does")
    parser.add_argument("--family", help="only this family, such as ghostnetv2")
    parser.add_argument("--sort", choices=table.ORDERS, default="name",
                        help="ascending order (default name); what lacks the figure comes last")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print every figure in full")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")
    form.add_argument("--update", metavar="FILE",
                      help="put that table between the marks of a file, such as docs/models.md")
    parser.add_argument("--plot", metavar="FILE.png", help="draw the published top-1 accuracy against the MACs")
    return parser
