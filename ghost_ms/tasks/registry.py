"""The tasks by name. A row here, and the folder that it names, is all that a task of this package needs."""
import difflib
import importlib
from typing import Any, Dict, Mapping, Optional, Type, Union

from ghost_ms.core.plugins import HINT
from ghost_ms.core.text import printable
from ghost_ms.tasks.base import Task

#: Name -> the class, or where it is: 'module:class', imported when it is asked for.
_TASKS: Dict[str, Union[str, Type[Task]]] = {
    "classification": "ghost_ms.tasks.classification.task:Classification",
    "detection": "ghost_ms.tasks.detection.task:Detection",
    "segmentation": "ghost_ms.tasks.segmentation.task:Segmentation",
}


def register(kind: Type[Task]) -> Type[Task]:
    """Decorator of a task of another package: makes it known under its `name`."""
    if kind.name in _TASKS:
        raise ValueError(f"task '{kind.name}' is registered twice; choose another name")
    _TASKS[kind.name] = kind
    return kind


def unregister(name: str) -> None:
    """Forget a task that `register` made known."""
    del _TASKS[name]


def names() -> list:
    """The tasks that are known."""
    return sorted(_TASKS)


def create_task(name: str, args: Optional[Mapping[str, Any]] = None) -> Task:
    """A task by name.

    Raises:
        ValueError: there is no such task, with the nearest ones, or it does not take these arguments.
    """
    if name not in _TASKS:
        near = difflib.get_close_matches(name, _TASKS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names())}"
        raise ValueError(f"task.name is '{printable(name)}'; {hint} ({HINT})")
    kind = _TASKS[name]
    if isinstance(kind, str):
        module, _, attribute = kind.partition(":")
        kind = getattr(importlib.import_module(module), attribute)
    return kind(args)
