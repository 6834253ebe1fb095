"""Sentences about values whose type is right and whose meaning is not."""
import difflib
import math
import re
from typing import Any, List, Optional, Sequence, Tuple, Union

#: Larger whole numbers (images of a batch, epochs, pixels) are mistakes, and overflow what they are multiplied with.
LARGEST = 10 ** 9
#: Of an image: one number, or height and width; after `height_and_width` always the latter.
Size = Union[int, Tuple[int, int], List[int]]


def one_of(key: str, value: str, choices: Sequence[str]) -> None:
    """ValueError with the nearest choice for a value that is none of them."""
    if value not in choices:
        raise ValueError(f"{key} is '{value}'{nearest(value, choices)}")


def nearest(name: str, known, prefix: str = "") -> str:
    """The end of a sentence about an unknown name: the nearest known one, or all of them."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f"; did you mean '{prefix}{near[0]}'?" if near else f"; known are {', '.join(sorted(known))}"


def share(key: str, value: float) -> None:
    """ValueError for a value that is no share of a whole."""
    if not 0 <= value <= 1:
        raise ValueError(f"{key} must lie between 0 and 1, not {value}")


def at_least_one(**values: float) -> None:
    """ValueError for the first value below 1."""
    for key, value in values.items():
        if value < 1:
            raise ValueError(f"{key} must be at least 1, not {value}")


def not_negative(**values: float) -> None:
    """ValueError for the first value below 0."""
    for key, value in values.items():
        if value < 0:
            raise ValueError(f"{key} must not be negative, but it is {value}")


def duration(key: str, value: Union[int, float, str]) -> float:
    """Seconds of a length of time: a number of them, or such as 90m, 1.5h, 1d12h, 2:30:00 (hours first).

    Raises:
        ValueError: it is none, or negative.
    """
    seconds = math.nan
    text = str(value).strip().lower()
    if re.fullmatch(r"\d+(\.\d*)?", text):
        seconds = float(text)
    elif re.fullmatch(r"\d+:\d\d(:\d\d)?", text):
        seconds = 0.0
        for part in text.split(":"):
            seconds = seconds * 60 + float(part)
    elif re.fullmatch(r"(\d+(\.\d*)?[dhms])+", text):
        factors = {"d": 86400, "h": 3600, "m": 60, "s": 1}
        seconds = sum(float(number) * factors[unit] for number, unit in re.findall(r"([\d.]+)([dhms])", text))
    if not seconds <= LARGEST:
        raise ValueError(f"{key} is '{value}'; it is a number of seconds, or a length of time such as 90m, 1.5h, 1d12h "
                         "or 2:30:00")
    return seconds


def possible(key: str, value: Any) -> None:
    """ValueError for a number that is not finite or impossibly large, also within lists and mappings."""
    if isinstance(value, dict):
        for name, item in value.items():
            possible(f"{key}.{name}", item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            if item is None:
                raise ValueError(f"{key} is {list(value)}; null is no value in it")
            possible(key, item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{key} is {value}; it must be a finite number")
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST and key != "run.seed":
        raise ValueError(f"{key} is {value}, which is larger than any value that makes sense")


def height_and_width(key: str, value: Any) -> Optional[Tuple[int, int]]:
    """(height, width) of one number or two; None stays None.

    Raises:
        ValueError: the value is neither.
    """
    if value is None:
        return None
    pixels = [value, value] if isinstance(value, int) else list(value)
    if len(pixels) == 1:
        pixels *= 2
    if len(pixels) != 2 or not all(isinstance(side, int) and 1 <= side <= 65536 for side in pixels):
        raise ValueError(f"{key} is {value}; it is one number of pixels, or height and width such as [224, 192]")
    return pixels[0], pixels[1]
