"""The wire format of protocol buffers, without a schema and without copies.

Source: https://protobuf.dev/programming-guides/encoding. Only what is looked at is decoded, so that a file of gigabytes
costs what its few messages cost, and no length that a file states is believed before it is held against the file.
"""
from typing import Iterator, List, Tuple, Union

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
    """A string of at most `longest` bytes."""
    content = message(kind, value)
    if len(content) > longest:
        raise ValueError(f"holds a name of {len(content)} bytes")
    try:
        return str(content, "utf-8")
    except UnicodeDecodeError:
        raise ValueError("holds a name that is no text") from None


def varint(value: int) -> bytes:
    """An integer (0 or more) in groups of seven bits, as the wire has it."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(groups + bytes([value]))
