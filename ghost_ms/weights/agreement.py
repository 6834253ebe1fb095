"""What a file of this package says of itself: read as hostile text, and reconciled with what the caller asks for."""
import inspect
import json
import math
from typing import Any, Dict, List, Mapping, Sequence

from ghost_ms.core.text import printable
from ghost_ms.models.registry import same_network
from ghost_ms.weights import described

#: Arguments of a network that leave its computation what it is (two only regularise a training), or to which a file's
#: weights are fitted: classifier, first convolution, position tables.
FITTED = frozenset(("num_classes", "in_channels", "input_size", "drop_rate", "drop_path_rate", "output_stride",
                    "norm_momentum"))
#: Metrics of a file that stay true whatever becomes of its classifier.
_LASTING = ("activation_slope",)
#: Pixels along a side of an image, and channels, beyond which a description is damaged.
_MOST_PIXELS, _MOST_CHANNELS = 16384, 4096


def parse(text: str) -> Dict[str, Any]:
    """The description in a file's text, checked; ValueError as `checked`."""
    try:
        return checked(described.parse(text))
    except ValueError as error:
        raise ValueError(f"what it says of its network is damaged: {error}") from None


def checked(found: Dict[str, Any]) -> Dict[str, Any]:
    """A description that `described.parse` gave, where its numbers can be those of a network and its images.

    Raises:
        ValueError: half a sentence that names the field that cannot be.
    """
    wrong = next((key for key, right in _checks(found) if not right), None)
    if wrong:
        raise ValueError(f"its description has no proper {wrong}")
    return found


def check_size(known: Mapping[str, Any], rows: int, card_size: Sequence[int]) -> None:
    """ValueError where a network of this description would be larger than its file can be of.

    Args:
        rows: the longest first axis of the file's entries, the classifier's among them.
        card_size: height and width that the model was published for.
    """
    size, args = known["preprocessing"]["input_size"], known["args"]
    if args.get("num_classes", 1) > rows:
        raise ValueError(f"it says that it has {args['num_classes']} classes, which none of its entries has")
    if size[0] * size[1] > 64 * card_size[0] * card_size[1]:
        raise ValueError(f"it says that it takes images of {size[0]}x{size[1]}, which no network of this kind does")


def _checks(found: Any):
    """(key, whether it is as it must be), each looked at only once those before are right."""
    args, spec = found["args"], found["preprocessing"]
    yield "args", all(name.isidentifier() for name in args)
    yield "args.num_classes", _is_count(args["num_classes"], 1 << 31)
    yield "args.in_channels", _is_count(args.get("in_channels", 1), _MOST_CHANNELS)
    size = spec.get("input_size")
    yield "preprocessing.input_size", isinstance(size, list) and len(size) == 2 and all(
        _is_count(extent, _MOST_PIXELS) for extent in size)
    yield "preprocessing.channels", _is_count(spec.get("channels"), _MOST_CHANNELS)
    for key in ("mean", "std"):
        values = spec.get(key)
        yield f"preprocessing.{key}", isinstance(values, list) and len(values) == spec["channels"] and all(
            _is_number(value) for value in values)
    yield "preprocessing.std", all(value > 0 for value in spec["std"])
    yield "preprocessing.crop_ratio", _is_number(spec.get("crop_ratio")) and 0 < spec["crop_ratio"] <= 1
    yield "preprocessing.interpolation", isinstance(spec.get("interpolation"), str)
    slope = found["metrics"].get("activation_slope")
    yield "metrics.activation_slope", slope is None or 0 <= slope <= 1


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def check_model(known: Mapping[str, Any], model: str) -> None:
    """ValueError where the file is of another model than the caller names."""
    if not same_network(known["model"], model):
        raise ValueError(f"it is a checkpoint of {printable(known['model'])}, not of {model}: name that model, or "
                         "another file")


def settled(known: Mapping[str, Any], given: Mapping[str, Any]) -> Dict[str, Any]:
    """Arguments to build a described network with: the caller's where given explicitly, else the file's."""
    return {**known["args"], **given}


def check_same(net: Any, known: Mapping[str, Any]) -> None:
    """Refuse weights for a network that would compute something else from them than the one they come from.

    Args:
        net: knows its `arguments`; its class states the defaults of the others.

    Raises:
        ValueError: an argument differs; the sentence names it.
    """
    edits, had = _plain(list(getattr(net, "edits", ()))), known.get("edits", [])
    if edits != had:
        raise ValueError(f"its network has the edits {shown_value(had)}, this one {shown_value(edits)}: give the same "
                         "(model.edits in a recipe)")
    theirs, ours, usual = known["args"], net.arguments, defaults(net)
    for key in sorted((set(theirs) | set(ours)) - FITTED):
        before, now = (_plain(values.get(key, usual.get(key, "its default"))) for values in (theirs, ours))
        if before != now:
            raise ValueError(f"its network was built with {key} {shown_value(before)}, this one with {key} "
                             f"{shown_value(now)}, which makes other outputs of the same weights: give {key} "
                             f"{shown_value(before)} (model.args in a recipe)")


def taken(net: Any, known: Mapping[str, Any], given: Mapping[str, Any]) -> List[str]:
    """A sentence on the arguments that came from the file and are not the usual ones; none where there are none."""
    usual = defaults(net)
    told = [f"{key} {shown_value(value)}" for key, value in known["args"].items()
            if key not in given and _plain(usual.get(key)) != value]
    return [f"built as the file says: {', '.join(told)}"] if told else []


def defaults(net: Any) -> Dict[str, Any]:
    """Arguments that a network has where it is built without them: what its classes state, the derived ones first."""
    found = {"num_classes": net.card.num_classes, "in_channels": len(net.card.mean)}
    for kind in type(net).__mro__[::-1]:
        if inspect.isfunction(vars(kind).get("__init__")):
            found.update({key: parameter.default for key, parameter in inspect.signature(kind).parameters.items()
                          if parameter.default is not inspect.Parameter.empty})
    return found


def _plain(value: Any) -> Any:
    """The value as it comes back from JSON."""
    return json.loads(json.dumps(value, default=repr))


def shown_value(value: Any) -> str:
    """A value out of a file, for a sentence."""
    return printable(str(value)[:60])


def renewed(known: Mapping[str, Any], *, args: Mapping[str, Any], classes: Sequence[str],
            input_size: Sequence[int], channels: int, fresh: bool) -> str:
    """The description of a network made of a described file, as JSON text.

    Args:
        args, classes: the network's own.
        input_size: height and width.
        channels: of the images; mean and standard deviation of one channel are the mean of three's.
        fresh: whether its classifier is untrained, so that the file's accuracy is none of its own.
    """
    spec = dict(known["preprocessing"], input_size=list(input_size))
    if channels != spec["channels"]:
        spec.update(channels=channels, **{key: [sum(spec[key]) / len(spec[key])] * channels for key in ("mean", "std")})
    # JSON has no word for what is not finite.
    metrics = {key: value if _is_number(value) else None for key, value in known["metrics"].items()
               if not fresh or key in _LASTING}
    kept = dict(known)
    if list(classes) != known["classes"]:
        # Of other classes.
        kept.pop("thresholds", None)
    return json.dumps({**kept, "args": dict(args), "classes": list(classes), "preprocessing": spec,
                       "metrics": metrics})
