"""Which network the user means: a checkpoint, a recipe, a name, or the quickstart run."""
import dataclasses
import sys
from typing import Optional, Sequence

from ghost_ms import config as recipes
from ghost_ms.config import Config
from ghost_ms.data.transforms import preprocessing_of
from ghost_ms.deploy.export import checkpoint_of_run
from ghost_ms.models import model_card
from ghost_ms.training.checkpoint import Description, network_of, read_checkpoint
from ghost_ms.weights.files import class_names


def resolve(model: Optional[str], config: Optional[str], ckpt: Optional[str], fallback: str,
            input_size: Optional[Sequence[int]] = None, random_weights: bool = False) -> tuple:
    """(network in evaluation mode, its description).

    Args:
        model, config, ckpt: what the user gave; a checkpoint of this project describes itself.
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
    if not ckpt and not random_weights:
        raise ValueError(f"name a checkpoint with --ckpt (there is none under {fallback} either)")
    values, description = read_checkpoint(ckpt) if ckpt else (None, None)
    if model or config or description is None:
        wanted = describe(model, config)
        if description is not None and description.model != wanted.model:
            raise ValueError(f"'{ckpt}' is a checkpoint of {description.model}, not of {wanted.model}")
        description = description or wanted
    if input_size:
        description.preprocessing = dataclasses.replace(description.preprocessing, input_size=tuple(input_size))
    if values is not None:
        return network_of(description, values, ckpt), description
    print(f"warning: no checkpoint is given, so {description.model} has random weights", file=sys.stderr)
    return description.build().set_train(False), description


def describe(model: Optional[str], config: Optional[str] = None) -> Description:
    """A network by name or recipe, without its data at hand."""
    recipe = recipes.load(config) if config else Config()
    if model:
        recipe.model.name = model
    card = model_card(recipe.model.name)
    classes = recipe.model.num_classes or card.num_classes
    channels = recipe.model.in_channels or 3
    args = {"num_classes": classes, "in_channels": channels, **recipe.model.args}
    preprocessing = preprocessing_of(card, recipe.data, channels)
    return Description(recipe.model.name, args, class_names(card, classes), preprocessing)
