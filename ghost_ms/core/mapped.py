"""Exported files, opened for a look before a runtime gets them."""
import contextlib
import math
import mmap
import os
from typing import Any, Dict, Iterator, List, Optional, Sequence

#: Most elements of one tensor that a file may name, its weights or what is computed: 4 GB in float32.
MOST_ELEMENTS = 1 << 30


@contextlib.contextmanager
def mapped(path: str, kind: str) -> Iterator[memoryview]:
    """The bytes of a file, not copied; a ValueError inside becomes "'path' is not a valid KIND file: it ...".

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file '{path}'")
    try:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise ValueError("is empty")
            yield memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except ValueError as error:
        raise ValueError(f"'{path}' is not a valid {kind} file: it {error}") from None


def check_extents(dims: Sequence[int], what: str, open_ones: bool = False) -> int:
    """Number of elements of a tensor; ValueError (half a sentence) where its extents cannot be.

    Args:
        open_ones: whether -1 and -2, for what only the call decides, are extents; they count as 1.
    """
    lowest = -2 if open_ones else 0
    count = math.prod(abs(extent) if extent < 0 else extent for extent in dims)
    if len(dims) > 16 or min(dims, default=0) < lowest or max(dims, default=0) > MOST_ELEMENTS or count > MOST_ELEMENTS:
        raise ValueError(f"holds {what} with the impossible extents {list(dims[:16])}")
    return count


def check_bytes(dims: Sequence[int], size: Optional[int], item: int, what: str) -> None:
    """ValueError (half a sentence) where a tensor has more or fewer bytes than its extents say."""
    wanted = check_extents(dims, what) * item
    if size != wanted:
        raise ValueError(f"holds {what} with {size} bytes, and its extents {list(dims)} take {wanted}")


def all_of(message: Dict[str, Any], *names: str) -> List[Any]:
    """What stands in repeated fields of a decoded message, together."""
    return [part for name in names for part in message.get(name, [])]
