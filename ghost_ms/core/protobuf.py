"""The wire format of protocol buffers, without a schema and without copies.

Source: https://protobuf.dev/programming-guides/encoding. Only what is looked at is decoded, so that a file of gigabytes
costs what its few messages cost, and no length that a file states is believed before it is held against the file.
"""
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

from ghost_ms.core.text import printable

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
#: Number of a field, its wire type, and its value: an unsigned integer of 64 bits (VARINT) or the bytes.
Field = Tuple[int, int, Union[int, memoryview]]


def fields(data: memoryview) -> Iterator[Field]:
    """The fields of a message in their order.

    Raises:
        ValueError: the message is cut or no message; half a sentence ("is cut off in ...").
    """
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError("holds a field of number 0, which protocol buffers do not have")
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"holds a field of the unknown wire type {kind}")
        if size > end - at:
            raise ValueError(f"is cut off: a field of {size} bytes begins {end - at} bytes before the end")
        yield number, kind, data[at:at + size]
        at += size


def _varint(data: memoryview, at: int) -> Tuple[int, int]:
    """(value, place behind it) of an integer in groups of seven bits, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("is cut off in an integer")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("holds an integer of more than 64 bits")


def integers(kind: int, value: Union[int, memoryview]) -> List[int]:
    """Signed integers of 64 bits: one of a field, or all of a packed one."""
    if kind == VARINT:
        return [_signed(value)]  # type: ignore[arg-type]
    if kind != BYTES:
        raise ValueError("holds a number in place of an integer")
    found, at = [], 0
    while at < len(value):  # type: ignore[arg-type]
        number, at = _varint(value, at)  # type: ignore[arg-type]
        found.append(_signed(number))
    return found


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def message(kind: int, value: Union[int, memoryview]) -> memoryview:
    """The bytes of a field that has to be a message, a string or bytes."""
    if kind != BYTES:
        raise ValueError("holds a number in place of a message")
    return value  # type: ignore[return-value]


def text(kind: int, value: Union[int, memoryview], longest: int = 4096) -> str:
    """A name of at most `longest` bytes; one with control characters is refused, since messages repeat names."""
    content = message(kind, value)
    if len(content) > longest:
        raise ValueError(f"holds a name of {len(content)} bytes")
    try:
        name = str(content, "utf-8")
    except UnicodeDecodeError:
        raise ValueError("holds a name that is no text") from None
    if printable(name) != name:
        raise ValueError(f"holds a name with control characters, {printable(name)[:100]!r}")
    return name


class Budget:
    """How many fields may still be decoded, and how deep messages may stand in each other."""

    def __init__(self, fields: int = 5_000_000, depth: int = 40):
        self.fields, self.depth = fields, depth


#: Kinds of fields that hold no message. A message is its schema, a repeated one a list of its schema.
INT, INTS, TEXT, TEXTS, RAW, RAWS, FLOATS, DOUBLES = "int", "ints", "text", "texts", "raw", "raws", "floats", "doubles"
_LISTS = (INTS, TEXTS, RAWS, FLOATS, DOUBLES)
#: What a schema says of a message: number of a field -> its name and kind.
Schema = Dict[int, Tuple[str, Any]]


def decode(data: memoryview, schema: Schema, budget: Optional[Budget] = None) -> Dict[str, Any]:
    """A message as a dictionary, by names; what is absent is absent, and what the schema lacks is passed over.

    Messages are dictionaries, INT is signed, INTS, TEXTS, RAWS and repeated messages are lists, RAW stays a view of the
    file, and of FLOATS and DOUBLES only the number is taken.

    Raises:
        ValueError: it is cut, a field has another type than its schema says, or one that stands once stands twice (of
            which readers take the first, the last, or both); half a sentence.
    """
    budget = budget or Budget()
    budget.depth -= 1
    if budget.depth < 0:
        raise ValueError("nests messages too deeply")
    found: Dict[str, Any] = {}
    for number, wire, value in fields(data):
        budget.fields -= 1
        if budget.fields < 0:
            raise ValueError("holds more fields than any network needs")
        if number not in schema:
            continue
        name, kind = schema[number]
        repeated = isinstance(kind, list) or kind in _LISTS
        if name in found and not repeated:
            raise ValueError(f"holds {name} twice in one message")
        if isinstance(kind, list):
            found.setdefault(name, []).append(decode(message(wire, value), kind[0], budget))
        elif isinstance(kind, dict):
            found[name] = decode(message(wire, value), kind, budget)
        else:
            _add_plain(found, name, kind, wire, value)
    budget.depth += 1
    return found


def _add_plain(found: Dict[str, Any], name: str, kind: str, wire: int, value: Union[int, memoryview]) -> None:
    if kind == INTS:
        found.setdefault(name, []).extend(integers(wire, value))
    elif kind in (FLOATS, DOUBLES):
        width = 4 if kind == FLOATS else 8
        if wire == VARINT or len(value) % width:  # type: ignore[arg-type]
            raise ValueError(f"holds something else than numbers as {name}")
        found[name] = found.get(name, 0) + len(value) // width  # type: ignore[arg-type]
    elif kind in (TEXTS, RAWS):
        found.setdefault(name, []).append(text(wire, value) if kind == TEXTS else message(wire, value))
    elif kind == INT:
        if wire != VARINT:
            raise ValueError(f"holds something else than an integer as {name}")
        found[name] = _signed(value)  # type: ignore[arg-type]
    else:
        found[name] = text(wire, value) if kind == TEXT else message(wire, value)


def varint(value: int) -> bytes:
    """An integer (0 or more) in groups of seven bits, as the wire has it."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(groups + bytes([value]))
