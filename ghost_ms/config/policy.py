"""The grammar of `augment.auto_augment`; what a policy does to an image is in `data.auto_augment`."""
import functools
import math
import re
from typing import Dict, Sequence, Tuple

#: Parts of timm's grammar -> (type, smallest, largest value).
PARTS = {"m": (float, 0, math.inf), "n": (int, 1, math.inf), "p": (float, 0, 1), "w": (int, 0, 0),
         "mstd": (float, 0, math.inf), "mmax": (float, 0, math.inf), "inc": (int, 0, 1)}
#: Of rand-...-w0, for the operations in the order of `data.auto_augment.RAND_OPERATIONS`: mostly geometry.
RAND_WEIGHTS = (0.025, 0.005, 0, 0.3, 0, 0.005, 0.005, 0.025, 0.005, 0.005, 0.025, 0.2, 0.2, 0.1, 0.1)


@functools.lru_cache(maxsize=None)
def parse_policy(text: str) -> Tuple[str, Dict[str, float]]:
    """(rand, original or trivial; the parts that are given) of a policy's name.

    Raises:
        ValueError: an unknown policy or part of it, or a number out of range.
    """
    kind = text.split("-")[0]
    if kind == "rand":
        values = _parts(text, tuple(PARTS))
        possible = sum(weight > 0 for weight in RAND_WEIGHTS)
        if "w" in values and values.get("n", 2) > possible:
            raise ValueError(f"augment.auto_augment '{text}': w0 has {possible} operations, fewer than n asks for")
        return "rand", values
    if kind in ("original", "autoaugment"):
        return "original", _parts(text, ("mstd",))
    if text == "trivial":
        return "trivial", {}
    raise ValueError(f"augment.auto_augment is '{text}'; known are rand-... (such as rand-m9-mstd0.5-inc1), "
                     "original, autoaugment and trivial")


def _parts(text: str, known: Sequence[str]) -> Dict[str, float]:
    values = {}
    for part in text.split("-")[1:]:
        match = re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)?)", part)
        if not match or match.group(1) not in known:
            raise ValueError(f"augment.auto_augment '{text}' has the unknown part '{part}'; known are "
                             f"{', '.join(name + '<number>' for name in known)}")
        kind, low, high = PARTS[match.group(1)]
        number = float(match.group(2))
        if not low <= number <= high or number != kind(number):
            raise ValueError(f"augment.auto_augment '{text}': '{part}' is out of range; {match.group(1)} takes "
                             f"{'a whole number' if kind is int else 'a number'} from {low} to {high}")
        values[match.group(1)] = kind(number)
    return values
