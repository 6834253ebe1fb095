"""MindSpore's checkpoints, read and written with NumPy and the standard library; every entry is checked as it is read.

MindSpore's own loader believes what a file says of a tensor: one with more bytes than its shape is copied past the end
of its buffer, one with fewer is taken as it is. Here a file that is cut, damaged or made to harm ends in a ValueError
of one sentence. Format (mindspore/train/checkpoint.proto):

    Checkpoint { repeated Value { string tag = 1; TensorProto tensor = 2; MapTensorProto maptensor = 3 } value = 1 }
    TensorProto { repeated int64 dims = 1; string tensor_type = 2; bytes tensor_content = 3 }

A tensor of more than 512 MB stands in several consecutive entries of one name, each with the whole shape and a part of
the bytes. A scalar has no extents, or the one extent 0 where an older MindSpore wrote it. Text is of the type 'str', in
UTF-32. At the end may stand 'crc_num' and the CRC-32 of all before it as 10 bytes, big-endian.
"""
import math
import mmap
import os
import zlib
from typing import Dict, Iterable, List, Mapping, NamedTuple, Tuple, Union

import numpy as np

from ghost_ms.core import protobuf
from ghost_ms.core.text import printable

#: NumPy's type of each of MindSpore's; NumPy has no bfloat16, which becomes float32.
_TYPES = {**{name: np.dtype(name.lower()) for name in (
    "Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float16", "Float32", "Float64", "Bool")},
    "BFloat16": np.dtype("uint16")}
_NAMES = {str(dtype): name for name, dtype in _TYPES.items() if name != "BFloat16"}
_TEXT = "str"
#: Most axes of a tensor, characters of a text, entries of a file.
_MOST_AXES, _LONGEST_TEXT, _MOST_ENTRIES = 16, 8_000_000, 1_000_000
_CRC = b"crc_num"
#: Bytes of a part of a tensor.
_PART = 512 << 20


class _Entry(NamedTuple):
    """What stands under one name: type, extents, and the parts of the content."""

    kind: str
    dims: Tuple[int, ...]
    parts: List[memoryview]


def is_mindspore(path: Union[str, os.PathLike]) -> bool:
    """Whether the first bytes of a file are those of a MindSpore checkpoint, by whatever name it goes; whether the rest
    is whole, `read` tells. OSError where it cannot be opened."""
    with open(path, "rb") as file:
        head = file.read(65536)
    try:
        key, _, at = _header(head, 0)
        # The first entry, in it its name, and the key of its content behind that.
        name_key, name_length, name_at = _header(head, at)
        name, content_key = head[name_at:name_at + name_length], head[name_at + name_length]
    except (ValueError, IndexError):
        return False
    return key == name_key == 0x0A and content_key in (0x12, 0x1A) and len(name) == name_length > 0 and _is_name(name)


def _header(data: bytes, at: int) -> Tuple[int, int, int]:
    """(key, length, place of the content) of a field with a length."""
    length, shift, key = 0, 0, data[at]
    while True:
        at += 1
        length |= (data[at] & 0x7F) << shift
        shift += 7
        if data[at] < 0x80 or shift > 63:
            return key, length, at + 1


def _is_name(name: bytes) -> bool:
    try:
        return str(name, "utf-8").isprintable()
    except UnicodeDecodeError:
        return False


def read(path: Union[str, os.PathLike]) -> Tuple[Dict[str, np.ndarray], Dict[str, str]]:
    """Every tensor and every text of a checkpoint, in the file's order.

    Tensors are read-only views of the file, which is mapped, not read; those that stand in several parts, and bfloat16,
    which becomes float32, are copies. Numbers that `append_dict` of MindSpore wrote are tensors without axes.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is cut, damaged or no MindSpore checkpoint; half a sentence that says what ("is empty").
    """
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise ValueError("is empty")
        try:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            raise OSError(error.errno, f"cannot be mapped: {error.strerror}", os.fspath(path)) from None
    entries = _entries(_without_crc(data))
    if not entries:
        raise ValueError("holds nothing")
    arrays: Dict[str, np.ndarray] = {}
    texts: Dict[str, str] = {}
    for name, entry in entries.items():
        try:
            if entry.kind == _TEXT:
                texts[name] = _text(entry)
            else:
                arrays[name] = _array(entry)
        except ValueError as error:
            raise ValueError(f"is damaged: {printable(name)[:100]!r} {error}") from None
    return arrays, texts


def _without_crc(data: memoryview) -> memoryview:
    if bytes(data[-17:-10]) != _CRC:
        return data
    if zlib.crc32(data[:-17]) != int.from_bytes(data[-10:], "big"):
        raise ValueError("is damaged: its checksum is not that of its content")
    return data[:-17]


def _entries(data: memoryview) -> Dict[str, _Entry]:
    """The entries by name; parts of one name follow each other, otherwise it stands there twice."""
    entries: Dict[str, _Entry] = {}
    latest, place = None, 0
    try:
        for number, kind, value in protobuf.fields(data):
            if number != 1:
                raise ValueError("is no MindSpore checkpoint")
            place += 1
            name, entry = _value(protobuf.message(kind, value))
            if name not in entries:
                entries[name] = entry
            elif name == latest and entries[name][:2] == entry[:2]:
                entries[name].parts.extend(entry.parts)
            else:
                raise ValueError(f"holds {printable(name)[:100]!r} twice")
            latest = name
            if place > _MOST_ENTRIES:
                raise ValueError(f"holds more than {_MOST_ENTRIES} entries")
    except ValueError as error:
        where = f" (entry {place})" if place else ""
        raise ValueError(f"{error}{where}") from None
    return entries


def _value(data: memoryview) -> Tuple[str, _Entry]:
    found: Dict[int, memoryview] = {}
    for number, kind, value in protobuf.fields(data):
        if number in found or number not in (1, 2, 3):
            raise ValueError("is no MindSpore checkpoint")
        found[number] = protobuf.message(kind, value)
    if 3 in found:
        raise ValueError("holds a map of parameters, which no network here has")
    if 1 not in found or 2 not in found:
        raise ValueError("holds an entry without a name or without a content")
    name = protobuf.text(protobuf.BYTES, found[1])
    if not name:
        raise ValueError("holds an entry without a name")
    return name, _tensor(found[2])


def _tensor(data: memoryview) -> _Entry:
    dims: List[int] = []
    texts: Dict[int, memoryview] = {}
    for number, kind, value in protobuf.fields(data):
        if number == 1:
            dims += protobuf.integers(kind, value)
            if len(dims) > _MOST_AXES:
                raise ValueError(f"holds a tensor of more than {_MOST_AXES} axes")
        elif number in (2, 3) and number not in texts:
            texts[number] = protobuf.message(kind, value)
        else:
            raise ValueError("is no MindSpore checkpoint")
    if 2 not in texts or 3 not in texts:
        raise ValueError("holds a tensor without a type or without a content")
    return _Entry(protobuf.text(protobuf.BYTES, texts[2], 100), tuple(dims), [texts[3]])


def _text(entry: _Entry) -> str:
    size = sum(len(part) for part in entry.parts)
    if size > 4 * _LONGEST_TEXT:
        raise ValueError(f"is a text of {size} bytes (at most {4 * _LONGEST_TEXT} are read)")
    try:
        # NumPy fills a text up with zeros.
        return b"".join(entry.parts).decode("utf-32-le").rstrip("\0")
    except UnicodeDecodeError:
        raise ValueError("is no text") from None


def _array(entry: _Entry) -> np.ndarray:
    if entry.kind not in _TYPES:
        raise ValueError(f"is of the type {printable(entry.kind)!r}, which is none of {', '.join(_TYPES)}")
    stored, size = _TYPES[entry.kind], sum(len(part) for part in entry.parts)
    shape = () if entry.dims == (0,) and size else entry.dims
    if min(shape, default=0) < 0 or math.prod(shape) * stored.itemsize != size:
        extents = "x".join(map(str, shape)) or "one number"
        raise ValueError(f"has {size} bytes, and its shape ({extents} of {entry.kind}) takes "
                         f"{math.prod(shape) * stored.itemsize}")
    content = entry.parts[0] if len(entry.parts) == 1 else np.concatenate(
        [np.frombuffer(part, np.uint8) for part in entry.parts]).data
    array = np.frombuffer(content, stored).reshape(shape)
    if not array.flags.aligned:
        # As it lies in the file; MindSpore 2.7 takes no such array.
        array = array.copy()
    if entry.kind == "Bool":
        _check_bool(array)
    if entry.kind == "BFloat16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    array.flags.writeable = False
    return array


def _check_bool(array: np.ndarray) -> None:
    if array.size and array.view(np.uint8).max() > 1:
        raise ValueError("is of the type Bool and holds bytes that are neither 0 nor 1")


def write(path: Union[str, os.PathLike], arrays: Iterable[Tuple[str, np.ndarray]], texts: Mapping[str, str]) -> None:
    """Write a checkpoint with its checksum, byte for byte as MindSpore's `save_checkpoint` does, in place.

    Args:
        arrays: (name, values) pairs; looked at one after the other, so that they need not be in memory together.
        texts: come last, in their order.

    Raises:
        OSError: it cannot be written.
    """
    crc = 0
    with open(path, "wb") as file:
        for name, kind, dims, content in _contents(arrays, texts):
            for start in range(0, len(content), _PART):
                part = content[start:start + _PART]
                head = _head(name, kind, dims, len(part))
                crc = zlib.crc32(part, zlib.crc32(head, crc))
                file.write(head)
                file.write(part)
        file.write(_CRC + crc.to_bytes(10, "big"))


def _contents(arrays: Iterable[Tuple[str, np.ndarray]], texts: Mapping[str, str]):
    for name, array in arrays:
        flat = np.ascontiguousarray(array).reshape(-1)
        yield name, _NAMES[str(array.dtype)], array.shape, memoryview(flat.view(np.uint8))
    for name, text in texts.items():
        yield name, _TEXT, (0,), memoryview((text or "\0").encode("utf-32-le"))


def _head(name: str, kind: str, dims: Tuple[int, ...], size: int) -> bytes:
    """All of an entry but its content, which comes last in it."""
    tensor = b"".join(b"\x08" + protobuf.varint(extent) for extent in dims)
    tensor += b"\x12" + protobuf.varint(len(kind)) + kind.encode() + b"\x1a" + protobuf.varint(size)
    tag = b"\x0a" + protobuf.varint(len(name.encode())) + name.encode()
    tag += b"\x12" + protobuf.varint(len(tensor) + size)
    return b"\x0a" + protobuf.varint(len(tag) + len(tensor) + size) + tag + tensor


def refuse_not_finite(arrays: Iterable[Tuple[str, np.ndarray]], path: Union[str, os.PathLike]) -> None:
    """ValueError where weights hold NaN or infinite numbers: every output would be NaN, and every image class 0.

    Args:
        arrays: (name, values) pairs, looked at one after the other.
        path: of the file, for the sentence.
    """
    for name, array in arrays:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            wrong = int((~np.isfinite(array)).sum())
            raise ValueError(f"'{path}' holds numbers that are not finite, first in {printable(name)[:100]} ({wrong} "
                             f"of {array.size}): its training diverged, or it is damaged; take an earlier checkpoint")
