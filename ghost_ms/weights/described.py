"""What a weight file says of itself (`ghost_ms`: network, classes, preprocessing, metrics), taken as plain data only.

A description builds a network and fills tables, so each of its fields is checked before anything is made of it. A field
that is not known is refused: it comes of a newer version, and to pass over it could mean to use the weights wrongly.
"""
import math
from typing import Any, Dict, Sequence

from ghost_ms.core import strict_json
from ghost_ms.core.text import printable

#: Most classes, characters of a name, values in the arguments of a network.
_MOST_CLASSES, _LONGEST_NAME, _MOST_VALUES = 1_000_000, 1000, 1000
#: Fields that a description may lack: edits of the network, what it is for, its head, and the arguments of both.
_OPTIONAL: Dict[str, type] = {"edits": list, "task": str, "task_args": dict, "head": str, "head_args": dict}
#: Whole numbers up to here are nothing unusual in the arguments of a network; larger ones have to be in its weights.
_USUAL = 4096


def parse(content: str) -> Dict[str, Any]:
    """The description in a file as {model, args, classes, preprocessing, metrics}, and thresholds, edits, task,
    task_args, head and head_args where it has them.

    Preprocessing is checked by `data.transforms.Preprocessing`, which is made of it. A metric that is not finite, as
    earlier versions wrote them, is None.

    Raises:
        ValueError: it is no description; half a sentence that says what is wrong with it.
    """
    values = strict_json.parse(content, finite=False)
    wanted = {"model": str, "args": dict, "classes": list, "preprocessing": dict, "metrics": dict}
    if not isinstance(values, dict):
        raise ValueError("its description is no list of fields")
    for key in values:
        if key not in wanted and key not in ("thresholds", *_OPTIONAL):
            raise ValueError(f"its description holds {printable(key)[:100]!r}, which this version does not know")
    values.setdefault("metrics", {})
    for key, kind in wanted.items():
        if not isinstance(values.get(key), kind):
            raise ValueError(f"its description has no proper {key}")
    for key, kind in _OPTIONAL.items():
        if not isinstance(values.get(key, kind()), kind):
            raise ValueError(f"its description has no proper {key}")
        _check_plain(values.get(key, kind()), key, [_MOST_VALUES])
    if not 0 < len(values["model"]) <= _LONGEST_NAME:
        raise ValueError("its description has no proper model")
    _check_plain(values["args"], "args", [_MOST_VALUES])
    if type(values["args"].get("num_classes")) is not int or values["args"]["num_classes"] < 1:
        raise ValueError("its description does not say how many classes the network has")
    _check_plain(values["preprocessing"], "preprocessing", [_MOST_VALUES])
    check_classes(values["classes"])
    if "thresholds" in values:
        check_thresholds(values["thresholds"], values["classes"])
    values["metrics"] = check_metrics(values["metrics"])
    return values


def check_classes(classes: Any) -> Sequence[str]:
    """Names of classes, as they are; ValueError (half a sentence) where they are no list of texts."""
    if not isinstance(classes, list) or len(classes) > _MOST_CLASSES:
        raise ValueError(f"its classes are no list of at most {_MOST_CLASSES} names")
    for name in classes:
        _name(name, "classes")
    return classes


def check_thresholds(thresholds: Any, classes: Sequence[str]) -> Sequence[float]:
    """A probability for each class, as they are; ValueError (half a sentence) where they are none."""
    if not isinstance(thresholds, list) or len(thresholds) != len(classes) or not all(
            type(value) in (int, float) and 0 <= value <= 1 for value in thresholds):
        raise ValueError(f"its thresholds are no probabilities, one for each of its {len(classes)} classes")
    return thresholds


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_NAME:
        raise ValueError(f"its {where} hold a name that is no text of at most {_LONGEST_NAME} characters")
    return value


def check_metrics(metrics: Any) -> Dict[str, Any]:
    """Metrics with None in place of what is not finite, as earlier versions wrote it; ValueError (half a sentence)
    where they are no numbers by name."""
    if not isinstance(metrics, dict):
        raise ValueError("its metrics are no list of names and numbers")
    return {_name(key, "metrics"): _metric(key, value) for key, value in metrics.items()}


def _metric(key: str, value: Any) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise ValueError(f"its metrics hold {printable(key)[:100]!r}, which is no number")
    return value if value is not None and math.isfinite(value) else None


def _check_plain(value: Any, where: str, room: list) -> None:
    """Numbers, texts, truth values, lists and mappings of these."""
    room[0] -= 1
    if room[0] < 0:
        raise ValueError(f"its {where} hold more than {_MOST_VALUES} values")
    if isinstance(value, dict):
        for key, part in value.items():
            _name(key, where)
            _check_plain(part, where, room)
    elif isinstance(value, list):
        for part in value:
            _check_plain(part, where, room)
    elif isinstance(value, str):
        _name(value, where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"its {where} hold a number that is not finite")


def check_sizes(args: Any, arrays: Dict[str, Any]) -> None:
    """ValueError (half a sentence) where a number among the arguments of a network is larger than anything in its
    weights: to build it would take memory or time without end.

    Args:
        arrays: the weights, with their shapes, by name.
    """
    largest = max([_USUAL, len(arrays), *(max(array.shape, default=0) for array in arrays.values())])

    def check(value: Any) -> None:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, (list, tuple)):
            for part in value:
                check(part)
        elif isinstance(value, int) and abs(value) > largest:
            raise ValueError(f"describes a network with the argument {value}, but the largest extent among its weights "
                             f"is {largest}")

    check(args)
