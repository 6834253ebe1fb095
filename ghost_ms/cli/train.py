"""Train a network from a recipe."""
import signal
from typing import Sequence


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    from ghost_ms import config

    recipe, _ = config.parse(build_parser(), argv)
    from ghost_ms.core.streams import unbreakable
    from ghost_ms.core.text import printable
    from ghost_ms.tasks.registry import create_task
    from ghost_ms.training.fit import fit
    from ghost_ms.training.interrupt import Stopped

    # A reader of its output that goes away (`| head`) ends no training, and makes no failure of it.
    with unbreakable():
        try:
            best = fit(recipe)
        except Stopped as stopped:
            # A scheduler's SIGTERM is obeyed, so all is well; Ctrl-C must also end a script that would go on after it.
            return 130 if stopped.number == signal.SIGINT else 0
        figures = create_task(recipe.task.name, recipe.task.args).figures
        found = figures.best(best)
        said = figures.text(found) if found else "not measured"
        which = " (EMA weights)" if figures.holds_ema(best) else ""
        print(printable(f"best: epoch {best['epoch']}, {said}{which}; results in {recipe.run.dir}"))
    return 0


def build_parser():
    """The keys of a recipe."""
    from ghost_ms import config

    return config.build_parser("ghost-ms train", __doc__)
