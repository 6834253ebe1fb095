"""Which network the user means: a checkpoint, a recipe, a name, or the quickstart run."""
import sys
from typing import Optional, Sequence

from ghost_ms import config as recipes
from ghost_ms.checkpoints.checkpoint import network_of, read_checkpoint
from ghost_ms.checkpoints.reconcile import Wish, describe, reconcile, say, wish_of
from ghost_ms.checkpoints.run_folder import checkpoint_of_run
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.core.text import printable
from ghost_ms.models import model_card
from ghost_ms.models.imagenet import class_names


def resolve(model: Optional[str], config: Optional[str], ckpt: Optional[str], fallback: str,
            input_size: Optional[Sequence[int]] = None, random_weights: bool = False) -> tuple:
    """(network in evaluation mode, its description).

    Args:
        model, config, ckpt: what the user gave; see `reconcile` for what holds where these differ.
        fallback: folder of a run whose best checkpoint serves where the user gave nothing.
        input_size: (height, width), instead of what the network was trained for.
        random_weights: whether a network without a checkpoint is acceptable (a warning says that it is untrained).

    Raises:
        ValueError: nothing to go by, or a checkpoint of another network.
    """
    if not (model or config or ckpt):
        ckpt = checkpoint_of_run(fallback)
        if ckpt:
            print(f"using {ckpt}", file=sys.stderr)
    wish = wish_of(recipes.load(config) if config else None, config or "", model__name=model,
                   data__input_size=tuple(input_size) if input_size else None)
    if ckpt:
        values, own = read_checkpoint(ckpt)
        description, notes = reconcile(own, ckpt, wish) if own is not None else (by_name(wish, ckpt), [])
        say(notes)
        return network_of(description, values, ckpt), description
    if not random_weights and not wish.recipe.model.pretrained:
        raise ValueError(f"name a checkpoint with --ckpt (there is none under {fallback} either)")
    description = by_name(wish)
    if not wish.recipe.model.pretrained:
        print(f"warning: no checkpoint is given, so {description.model} has random weights", file=sys.stderr)
    return description.build(wish.recipe.model.pretrained).set_train(False), description


def by_name(wish: Wish, ckpt: str = "") -> ModelSpec:
    """A network by name or recipe, without its data at hand.

    Args:
        ckpt: a checkpoint that does not describe itself, for the sentence where nothing else does either.
    """
    if ckpt and not wish.file and not wish.gives("model.name"):
        raise ValueError(f"'{printable(ckpt)}' does not say which network it is of; name it with --model or --config")
    card = model_card(wish.recipe.model.name)
    classes = class_names(card, wish.recipe.model.num_classes or card.num_classes)
    return describe(wish, 3, classes)
