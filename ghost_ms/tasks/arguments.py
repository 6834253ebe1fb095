"""What tasks check alike: the arguments of a recipe's `task.args`, and augmentations that only classification has."""
import dataclasses
from typing import Any, Mapping, Optional, Sequence, Type, TypeVar

from ghost_ms.config import AugmentConfig
from ghost_ms.core.text import printable

T = TypeVar("T")


def arguments_of(kind: Type[T], values: Optional[Mapping[str, Any]], task: str) -> T:
    """The dataclass of a task's arguments; ValueError for a name that it does not have."""
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in values or {}:
        if name not in known:
            raise ValueError(f"task.args holds {printable(name)!r}; {task} takes {', '.join(known)}")
    return kind(**(values or {}))


def require(possible: bool, args: Any, name: str, wanted: str) -> None:
    """ValueError that names an argument which is not possible, and what it has to be."""
    if not possible:
        raise ValueError(f"task.args.{name} is {printable(getattr(args, name))[:100]}; it has to be {wanted}")


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_range(value: Any, low: float, high: float) -> bool:
    """Whether these are two rising numbers within limits."""
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(is_number, value)) \
        and low <= value[0] <= value[1] <= high


def refuse_for_classes(augment: AugmentConfig, task: str, instead: Sequence[str]) -> None:
    """ValueError for augmentations of a recipe that have no meaning where a network says where something is.

    Args:
        instead: what the task has.
    """
    default = AugmentConfig()
    for key in ("auto_augment", "random_erasing", "crop_padding", "interpolation", "scale", "ratio"):
        if getattr(augment, key) != getattr(default, key):
            raise ValueError(f"augment.{key} is for classification: {task} has {', '.join(instead)}; leave it out")
