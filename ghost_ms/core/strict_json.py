"""JSON of strangers: parsed with limits, so that a file can neither hang the program nor fill its memory."""
import collections
import json
import math
import re
from typing import Any, Dict, List, Tuple

#: Longest text in characters (ImageNet-21K's classes and ten thousand epochs' metrics need less), deepest nesting,
#: digits of a whole number.
LONGEST, DEEPEST, DIGITS = 8_000_000, 32, 30
#: What decides on the depth: a bracket, a quotation mark, or an escape, which may be one that ends no string.
_TOKEN = re.compile(r'[\[\]{}"]|\\.', re.DOTALL)


def parse(content: str, finite: bool = True) -> Any:
    """What a JSON text holds: dict, list, str, int, float, bool, None.

    Args:
        finite: whether NaN and Infinity, which Python writes and JSON does not have, are refused; a number too large
            for a float always is.

    Raises:
        ValueError: it is no JSON, too long, nested too deeply, names a key twice, or holds a number that cannot be;
            half a sentence that says what.
    """
    if not isinstance(content, str):
        raise ValueError("it is no text")
    if len(content) > LONGEST:
        raise ValueError(f"it is {len(content)} characters long (at most {LONGEST} are read)")
    _check_depth(content)
    try:
        return json.loads(content, object_pairs_hook=_unique, parse_float=_float, parse_int=_int,
                          parse_constant=_refuse if finite else float)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep") from None


def _check_depth(content: str) -> None:
    depth, inside = 0, False
    for match in _TOKEN.finditer(content):
        token = match.group()
        if token == '"':
            inside = not inside
        elif not inside:
            depth += (token in "[{") - (token in "]}")
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} levels deep")


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = collections.Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"it names {twice[:100]!r} twice")
    return found


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"it holds the number {digits[:40]}, which is too large")
    return value


def _int(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"it holds a whole number of {len(digits)} digits")
    return int(digits)


def _refuse(name: str) -> float:
    raise ValueError(f"it holds {name} in place of a number")
