"""What holds where a checkpoint, a recipe and a command line say different things of a network.

One rule in every command: what the command line gives holds, then what the checkpoint says of itself, then the recipe,
then the model's card. A recipe beside a checkpoint is no command line: where it differs, the checkpoint holds, and that
is said. What cannot be brought together, another model or another number of classes, is refused.
"""
import dataclasses
import sys
from typing import AbstractSet, Any, Dict, List, Optional, Sequence, Tuple

from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import Config, DataConfig
from ghost_ms.core.text import printable
from ghost_ms.data.transforms import Preprocessing, preprocessing_of
from ghost_ms.models import model_card
from ghost_ms.models.registry import same_network
from ghost_ms.surgery.edits import check_edits

#: Keys of the section data that say how an image becomes the network's input.
PREPROCESSING = ("input_size", "mean", "std", "crop_ratio", "interpolation", "orient")
#: Keys that a network is told apart by, as options of a command.
NAME, ARGS = "model.name", "model.args"


@dataclasses.dataclass(frozen=True)
class Wish:
    """What the user asks of a network besides its checkpoint.

    Args:
        recipe: with the keys of the command line in it.
        explicit: keys that the command line gives itself, such as 'data.input_size'.
        file: the recipe's path, for sentences; '' where there is none, and `recipe` holds defaults.
        beside: whether the recipe was found beside the checkpoint, not named by the user.
    """

    recipe: Config
    explicit: AbstractSet[str] = frozenset()
    file: str = ""
    beside: bool = False

    def gives(self, key: str) -> bool:
        """Whether the command line gives a key, or an entry of it."""
        return any(name == key or name.startswith(f"{key}.") for name in self.explicit)


def describe(wish: Wish, channels: int, classes: Sequence[str]) -> ModelSpec:
    """The network and preprocessing of a recipe and its model's card, without a checkpoint.

    Args:
        channels: of the images, where the recipe does not say it.
        classes: their names; as many as the network has logits, unless the recipe asks for more.

    Raises:
        ValueError: unknown model, impossible channels, or fewer logits than classes.
    """
    model = wish.recipe.model
    card = model_card(model.name)
    channels = model.in_channels or channels
    if channels not in (1, 3):
        raise ValueError(f"model.in_channels is {channels}; images have 1 or 3 channels")
    count = model.num_classes or len(classes)
    if count < len(classes):
        raise ValueError(f"model.num_classes is {count}, but the data has {len(classes)} classes")
    task = wish.recipe.task
    if card.task not in ("classification", task.name):
        # A name such as lraspp_mobilenet_v3_large says what it is for.
        task = dataclasses.replace(task, name=card.task)
    args = {"num_classes": count, "in_channels": channels, **model.args}
    preprocessing = preprocessing_of(card, wish.recipe.data, channels, bool(task.head))
    return ModelSpec(model.name, args, list(classes), preprocessing, task=task.name, task_args=task.args,
                     edits=check_edits(model.edits, "model.edits"), head=task.head or "", head_args=task.head_args)


def reconcile(own: ModelSpec, path: str, wish: Wish) -> Tuple[ModelSpec, List[str]]:
    """The network that is meant by a checkpoint that describes itself, and a sentence for whatever differs.

    Args:
        own: what the checkpoint says of itself; it is not changed.
        path: of the checkpoint, for sentences.

    Raises:
        ValueError: the user names another model, or values that cannot be.
    """
    _check_model(own, path, wish)
    args, notes = _arguments(own, path, wish)
    preprocessing, more = settle(own.preprocessing, f"'{printable(path)}'", wish)
    return dataclasses.replace(own, args=args, preprocessing=preprocessing), notes + more


def _check_model(own: ModelSpec, path: str, wish: Wish) -> None:
    named = wish.recipe.model.name
    if not same_network(own.model, named) and (wish.gives(NAME) or wish.file and not wish.beside):
        source = "" if wish.gives(NAME) else f", which {printable(wish.file)} names"
        raise ValueError(f"'{printable(path)}' is a checkpoint of {printable(own.model)}, not of {named}{source}; give "
                         f"the recipe it was trained by (--config), or --model.name {printable(own.model)}")


def _arguments(own: ModelSpec, path: str, wish: Wish) -> Tuple[Dict[str, Any], List[str]]:
    """Arguments of the network: the checkpoint's, with those of the command line over them."""
    model = wish.recipe.model
    asked = {**model.args, **{key: getattr(model, key) for key in ("num_classes", "in_channels")
                              if getattr(model, key) is not None}}
    args, notes = dict(own.args), []
    for key, value in asked.items():
        option = f"model.{key}" if key in ("num_classes", "in_channels") else f"{ARGS}.{key}"
        explicit = option in wish.explicit or (option.startswith(ARGS) and ARGS in wish.explicit)
        if key in args and args[key] == value or not (explicit or wish.file):
            continue
        known = f"has {_shown(args[key])}" if key in args else "does not have it"
        if explicit:
            args[key] = value
            notes.append(f"{option} is {_shown(value)} as asked; '{printable(path)}' {known}")
        else:
            notes.append(f"{option} is {_shown(value)} in {printable(wish.file)}, but '{printable(path)}' {known}, "
                         "which holds")
    return args, notes + _edits(own, path, wish)


def _edits(own: ModelSpec, path: str, wish: Wish) -> List[str]:
    """A sentence where the recipe's edits are others than the checkpoint's; ValueError where they are typed."""
    asked = check_edits(wish.recipe.model.edits, "model.edits")
    if asked == own.edits or not (wish.gives("model.edits") or wish.file):
        return []
    if wish.gives("model.edits"):
        raise ValueError(f"model.edits is {_shown(asked)}, but the weights of '{printable(path)}' are of a network "
                         f"with {_shown(own.edits)}; leave it out, or train with model.pretrained")
    return [f"model.edits is {_shown(asked)} in {printable(wish.file)}, but '{printable(path)}' has "
            f"{_shown(own.edits)}, which holds"]


def settle(own: Preprocessing, owner: str, wish: Wish) -> Tuple[Preprocessing, List[str]]:
    """The preprocessing of a checkpoint or an exported file, with what the command line gives over it.

    Args:
        owner: what a sentence calls the file.

    Returns:
        the preprocessing, and a sentence for each key that the command line or the recipe gives otherwise.

    Raises:
        ValueError: the command line gives values that cannot be.
    """
    changes, notes = {}, []
    for key, asked in _asked(own, wish.recipe.data).items():
        if wish.gives(f"data.{key}"):
            changes[key] = asked
            notes.append(f"data.{key} is {_shown(asked)} as asked; {owner} was made with {_shown(getattr(own, key))}")
        elif wish.file:
            notes.append(f"data.{key} is {_shown(asked)} in {printable(wish.file)}, but {owner} was made with "
                         f"{_shown(getattr(own, key))}, which holds")
    return dataclasses.replace(own, **changes), notes


def _asked(own: Preprocessing, data: DataConfig) -> Dict[str, Any]:
    """What a recipe says of the preprocessing that differs from a file's."""
    asked = {}
    for key in PREPROCESSING:
        value, present = getattr(data, key), getattr(own, key)
        if value is None:
            continue
        value = tuple(value) if isinstance(value, (list, tuple)) else value
        if value != (tuple(present) if isinstance(present, (list, tuple)) else present):
            asked[key] = value
    return asked


def _shown(value: Any) -> str:
    return printable(list(value) if isinstance(value, tuple) else value)[:80]


def wish_of(recipe: Optional[Config], file: str, **given: Any) -> Wish:
    """The wish of a command that takes a few options of its own instead of every key of a recipe.

    Args:
        recipe: as read from `file`, or None.
        given: key with '__' for the dot (model__name) -> value, None where the user did not give it.
    """
    recipe = recipe or Config()
    explicit = set()
    for name, value in given.items():
        if value is not None:
            section, key = name.split("__")
            setattr(getattr(recipe, section), key, value)
            explicit.add(f"{section}.{key}")
    return Wish(recipe, frozenset(explicit), file)


def say(notes: Sequence[str]) -> None:
    """Tell the user what differs between what was given, or was passed over, a line each on standard error."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
