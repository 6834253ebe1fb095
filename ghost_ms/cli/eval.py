"""Measure the accuracy of a checkpoint on the test split."""
import os
from typing import Optional, Sequence


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    from ghost_ms import config

    parser = config.build_parser("ghost-ms eval", __doc__)
    parser.add_argument("--ckpt", type=Optional[str], default=None,
                        help="checkpoint; by default the best of run.dir. Without --config its run's recipe is used")
    given = any(word.startswith("--config") for word in argv)
    recipe, options = config.parse(parser, argv)
    ckpt = options.ckpt or os.path.join(recipe.run.dir, "checkpoints", "best.ckpt")
    beside = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(ckpt))), "config.yaml")
    if not given and os.path.isfile(beside):
        recipe, _ = config.parse(parser, ["--config", beside, *argv])
    if not os.path.isfile(ckpt):
        raise FileNotFoundError(f"there is no checkpoint '{ckpt}'; name one with --ckpt")
    from ghost_ms import device
    from ghost_ms.data.datasets import open_source
    from ghost_ms.data.loader import evaluation_batches
    from ghost_ms.training import fit
    from ghost_ms.training.checkpoint import restore
    from ghost_ms.training.evaluate import evaluate as measure

    source = open_source(recipe.data, "val")
    device.setup(recipe.run.device, recipe.run.device_id, recipe.run.mode, recipe.run.seed)
    net, description = restore(ckpt, fit.describe(recipe, source))
    result = measure(net, evaluation_batches(source, recipe, description.preprocessing))
    print(f"{description.model}: top-1 {result['top1']:.2f} %, top-5 {result['top5']:.2f} %, loss {result['loss']:.4f} "
          f"on {result['images']} images of {recipe.data.dataset}")
    return 0
