"""Train a network from a recipe."""
import signal
from typing import Sequence


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    from ghost_ms import config

    recipe, _ = config.parse(config.build_parser("ghost-ms train", __doc__), argv)
    from ghost_ms.training.fit import fit
    from ghost_ms.training.interrupt import Stopped

    try:
        best = fit(recipe)
    except Stopped as stopped:
        # A scheduler's SIGTERM is obeyed, so all is well; Ctrl-C must also end a script that would go on after this.
        return 130 if stopped.number == signal.SIGINT else 0
    print(f"best: epoch {best['epoch']}, top-1 {best['test_top1']:.2f} %, top-5 {best['test_top5']:.2f} %; "
          f"results in {recipe.run.dir}")
    return 0
