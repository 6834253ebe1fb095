"""Find a learning rate by the range test: train while it grows, and watch the loss."""
from typing import Sequence

#: Endings of the files that can be written.
PLOTS, TABLE = (".png", ".svg", ".pdf"), ".csv"


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    from ghost_ms import config

    recipe, options = config.parse(build_parser(), argv)
    for path in options.output:
        if not path.endswith((*PLOTS, TABLE)):
            raise ValueError(f"--output is '{path}'; it ends in {TABLE} for the losses, or in {', '.join(PLOTS)} for a "
                             "plot")
    from ghost_ms.core.tables import as_text
    from ghost_ms.core.text import printable
    from ghost_ms.training import lr_find

    sweep = lr_find.find_rates(recipe, options.start, options.end, options.steps)
    print(as_text(lr_find.table(sweep)))
    print(lr_find.advice(sweep))
    for path in options.output:
        if path.endswith(TABLE):
            lr_find.write_csv(path, sweep)
        else:
            lr_find.draw(path, sweep, f"{recipe.model.name}, {sweep.batch} images an update")
        print(printable(f"wrote {path}"))
    return 0


def build_parser():
    """The keys of a recipe, and the options of this command."""
    from ghost_ms import config

    parser = config.build_parser("ghost-ms lr-find", __doc__)
    parser.add_argument("--start", type=float, default=1e-6, help="learning rate of the first update")
    parser.add_argument("--end", type=float, default=10.0, help="last learning rate, unless the loss diverges before")
    parser.add_argument("--steps", type=int, default=100, help="number of updates from the first rate to the last")
    parser.add_argument("-o", "--output", type=str, nargs="+", default=[], metavar="FILE",
                        help="write the losses (.csv), or a plot of them (.png, .svg, .pdf)")
    return parser
