"""PyTorch's files and safetensors, read with NumPy and the standard library; nothing from a file is executed.

Formats: the zip archive of PyTorch 1.6 and later, the sequence of pickles before it (`.pth`, `.pt`, `.pth.tar`: the
last is no archive), and safetensors. A file that is cut, damaged or made to harm ends in a ValueError of one sentence.
Memory stays below the file's size (mapped, not read) plus its tensors.
"""
import json
import mmap
import struct
import zlib
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np

from ghost_ms.weights.torch_objects import (DTYPES, NumpyArray, StorageRef, TensorRef, find, storage_dtype)
from ghost_ms.weights.torch_pickle import Budget, Global, Machine

#: First and second pickle of a file before PyTorch 1.6.
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_SAFETENSORS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
                "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "U16": "uint16", "U32": "uint32",
                "U64": "uint64", "BOOL": "bool", "C64": "complex64"}
#: What is often saved under the name of a weight file, by its first bytes.
_STRANGERS = ((b"<!", "a web page"), (b"<html", "a web page"), (b"version https://git-lfs", "a git-lfs pointer"),
              (b"\x1f\x8b", "a gzip archive: unpack it first"), (b"\x89HDF", "an HDF5 file"))
_DEEPEST = 64
#: Elements to which `expand` may have stretched a tensor beyond its storage.
_MOST_STRETCHED = 1 << 20


def read(path) -> Tuple[Dict[str, np.ndarray], Dict[str, Any]]:
    """Every tensor of a file, and what else it holds.

    Args:
        path: a `.pth`, `.pt`, `.pth.tar` or `.safetensors` file.

    Returns:
        (tensors, metadata). Tensors are read-only arrays in the file's order; bfloat16 becomes float32. Names of
        nested dictionaries are joined by '/': a training checkpoint gives `state_dict/conv1.weight`. Metadata are
        the plain values beside them under the same kind of name, and `@format`: 'zip', 'legacy' or 'safetensors'.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is cut, damaged, of another kind, or asks for more than tensors; the sentence says what.
    """
    with open(path, "rb") as file:
        try:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError:
            raise ValueError(f"{path} is empty") from None
    try:
        if bytes(data[:4]) == b"PK\x03\x04":
            return _read_zip(data)
        if bytes(data[8:9]) == b"{" or str(path).endswith(".safetensors"):
            return _read_safetensors(data)
        if data[0] == 0x80:
            return _read_legacy(data)
        if bytes(data[257:262]) == b"ustar":
            raise ValueError("it is a tar archive, which no released file is: unpack it first")
        for start, kind in _STRANGERS:
            if bytes(data[:len(start)]).lower() == start.lower():
                raise ValueError(f"it is {kind}")
        raise ValueError("it is neither a PyTorch file nor safetensors")
    except ValueError as error:
        raise ValueError(f"cannot read {path}: {error}") from None


class _Storages:
    """Storages by key, as one-dimensional arrays; copies are made once, and only where bytes cannot be used as is."""

    def __init__(self, room: int):
        self.room = room
        self.declared: Dict[str, Tuple[str, int]] = {}
        self.raw: Dict[str, memoryview] = {}
        self.arrays: Dict[Tuple[str, str], np.ndarray] = {}
        self.order = "<"

    def declare(self, identity: Any) -> StorageRef:
        """The storage that a persistent id of a pickle stands for."""
        if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
            wanted = identity[0] if isinstance(identity, tuple) and identity and isinstance(identity[0], str) else "?"
            raise ValueError(f"it asks for the object {wanted[:40]!r} outside its pickle, which is refused")
        kind, key, count = storage_dtype(identity[1]), identity[2], identity[4]
        if not isinstance(key, str) or type(count) is not int or count < 0:
            raise ValueError("its pickle is damaged: a storage has no proper key and length")
        if self.declared.setdefault(key, (kind, count)) != (kind, count):
            raise ValueError(f"its pickle is damaged: storage {key[:40]!r} is described in two ways")
        view = identity[5] if len(identity) == 6 else None
        if view is None:
            return StorageRef(key, kind)
        if not isinstance(view, tuple) or len(view) != 3 or type(view[1]) is not int or view[1] < 0:
            raise ValueError(f"its pickle is damaged: the view of storage {key[:40]!r} is malformed")
        return StorageRef(key, kind, view[1])

    def size(self, key: str) -> int:
        """Length in bytes that the pickle gives storage `key`; all of them together must fit the file."""
        kind, count = self.declared[key]
        size = count * DTYPES[kind].itemsize
        self.room -= size
        if self.room < 0:
            raise ValueError(f"its storages do not fit: {key[:40]!r} alone would have {size} bytes")
        return size

    def elements(self, key: str, dtype: str) -> np.ndarray:
        """All elements of a storage: (count,)."""
        if (key, dtype) not in self.arrays:
            stored = DTYPES[dtype].newbyteorder(self.order)
            if stored.isnative:
                # Not the same to MindSpore 2.7, which takes '<f4' for no number at all.
                stored = stored.newbyteorder("=")
            raw = self.raw[key]
            array = np.frombuffer(raw[:len(raw) // stored.itemsize * stored.itemsize], stored) if len(raw) else \
                np.zeros(0, stored)
            if dtype == "bfloat16":
                array = (array.astype(np.uint32) << 16).view(np.float32)
            elif not array.flags.aligned or not array.dtype.isnative:
                array = array.astype(stored.newbyteorder("="))
            array.flags.writeable = False
            self.arrays[key, dtype] = array
        return self.arrays[key, dtype]

    def tensor(self, name: str, ref: TensorRef) -> np.ndarray:
        """The window that a tensor is, as a view."""
        elements = self.elements(ref.storage.key, ref.dtype)
        first = ref.storage.first + ref.offset
        last = first + sum((extent - 1) * stride for extent, stride in zip(ref.shape, ref.strides))
        count = 1
        for extent in ref.shape:
            count *= extent
        if count and (last >= len(elements) or count > max(len(elements), _MOST_STRETCHED)):
            raise ValueError(f"tensor {name[:100]!r} of shape {ref.shape} does not fit its storage of "
                             f"{len(elements)} elements")
        strides = [stride * elements.itemsize if extent > 1 else 0 for extent, stride in zip(ref.shape, ref.strides)]
        try:
            if not count:
                return np.zeros(ref.shape, elements.dtype)
            return np.lib.stride_tricks.as_strided(elements[first:], ref.shape, strides, writeable=False)
        except ValueError:
            raise ValueError(f"tensor {name[:100]!r} of shape {ref.shape} cannot be") from None


def _flatten(tree: Any, storages: _Storages, budget: Budget) -> Tuple[Dict[str, np.ndarray], Dict[str, Any]]:
    tensors: Dict[str, np.ndarray] = {}
    metadata: Dict[str, Any] = {}

    def visit(value, name, depth):
        budget.spend(1, len(name))
        if depth > _DEEPEST:
            raise ValueError(f"its containers nest deeper than {_DEEPEST} levels")
        if name in tensors or name in metadata:
            raise ValueError(f"two of its entries are called {name[:100]!r}")
        if isinstance(value, TensorRef):
            tensors[name] = storages.tensor(name, value)
        elif isinstance(value, NumpyArray):
            tensors[name] = value.array
        elif isinstance(value, dict):
            for key, part in value.items():
                visit(part, f"{name}/{key}" if depth else str(key), depth + 1)
        elif isinstance(value, (list, tuple)) and not isinstance(value, Global):
            budget.spend(len(value))
            if all(isinstance(part, (str, bytes, int, float)) or part is None for part in value):
                metadata[name] = list(value)
                return
            for index, part in enumerate(value):
                visit(part, f"{name}/{index}" if depth else str(index), depth + 1)
        elif isinstance(value, Global):
            metadata[name] = value.name
        elif value is None or isinstance(value, (str, bytes, int, float, complex)):
            metadata[name] = value
        else:
            metadata[name] = f"<{type(value).__name__}>"

    visit(tree, "tensor" if isinstance(tree, (TensorRef, NumpyArray)) else "", 0)
    return tensors, metadata


# --- before PyTorch 1.6 ----------------------------------------------------------------------------------------------


def _read_legacy(data: memoryview):
    storages, budget, position = _Storages(len(data)), Budget(), 0

    def pickled(persistent=None):
        nonlocal position
        machine = Machine(data, position, find, persistent, budget)
        value = machine.run()
        position = machine.position
        return value

    def take(count):
        nonlocal position
        if position + count > len(data):
            raise ValueError(f"it is cut off: {count} bytes of weights are wanted at byte {position} of {len(data)}")
        position += count
        return data[position - count:position]

    if pickled() != _MAGIC:
        raise ValueError("it is a pickle, but not one that PyTorch wrote")
    if pickled() != _PROTOCOL:
        raise ValueError(f"it has a protocol other than {_PROTOCOL}")
    system = pickled()
    if not isinstance(system, dict):
        raise ValueError("its pickle is damaged: the description of the system is missing")
    storages.order = "<" if system.get("little_endian", True) else ">"
    tree = pickled(storages.declare)
    keys = pickled()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("its pickle is damaged: the list of storages is missing")
    for key in keys:
        if key not in storages.declared or key in storages.raw:
            raise ValueError(f"its list of storages does not fit its pickle at {key[:40]!r}")
        size, (count,) = storages.size(key), struct.unpack(storages.order + "q", take(8))
        if count != storages.declared[key][1]:
            raise ValueError(f"storage {key[:40]!r} has {count} elements, not the {storages.declared[key][1]} declared")
        storages.raw[key] = take(size)
    absent = set(storages.declared) - set(storages.raw)
    if absent:
        raise ValueError(f"the weights of storage {min(absent)[:40]!r} are missing")
    tensors, metadata = _flatten(tree, storages, budget)
    return tensors, {**metadata, "@format": "legacy"}


# --- zip, PyTorch 1.6 and later --------------------------------------------------------------------------------------


class _Record(NamedTuple):
    method: int
    crc: int
    stored: int
    size: int
    header: int


_MOST_RECORDS = 200_000


def _directory(data: memoryview) -> Dict[bytes, _Record]:
    """The central directory of a zip archive (APPNOTE 4.3.12 to 4.3.16), zip64 included."""
    tail = max(0, len(data) - 65557)
    end = bytes(data[tail:]).rfind(b"PK\x05\x06")
    try:
        if end < 0:
            raise ValueError("it is cut off: the directory at the end of the archive is missing")
        end += tail
        count, size, start, _ = struct.unpack_from("<HLLH", data, end + 10)
        if (count == 0xFFFF or 0xFFFFFFFF in (size, start)) and bytes(data[max(end - 20, 0):end - 16]) == b"PK\x06\x07":
            count, _, start = struct.unpack_from("<QQQ", data, struct.unpack_from("<Q", data, end - 12)[0] + 32)
        if count > _MOST_RECORDS:
            raise ValueError(f"its archive has {count} records, which no checkpoint needs")
        records = {}
        for _ in range(count):
            (mark, _, _, flags, method, _, _, crc, stored, size, name_length, extra_length, comment_length, _, _, _,
             header) = struct.unpack_from("<4s6H3L5H2L", data, start)
            name = bytes(data[start + 46:start + 46 + name_length])
            extra = data[start + 46 + name_length:start + 46 + name_length + extra_length]
            if mark != b"PK\x01\x02" or flags & 1 or name in records:
                raise ValueError("its archive is damaged: the directory is malformed")
            size, stored, header = _wide((size, stored, header), extra)
            records[name] = _Record(method, crc, stored, size, header)
            start += 46 + name_length + extra_length + comment_length
    except (struct.error, OverflowError):
        raise ValueError("its archive is damaged: the directory points outside the file") from None
    return records


def _wide(fields: Tuple[int, ...], extra: memoryview) -> List[int]:
    """The fields whose 32 bits did not suffice, from the zip64 extra field (id 1)."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{min(length // 8, 4)}Q", extra, position + 4))
            return [next(wide, field) if field == 0xFFFFFFFF else field for field in fields]
        position += 4 + length
    return list(fields)


def _read_zip(data: memoryview):
    records = _directory(data)
    roots = [name[:-len(b"data.pkl")] for name in records if name.endswith(b"/data.pkl") and name.count(b"/") == 1]
    if not roots:
        raise ValueError("it is a zip archive, but not one that PyTorch wrote: it has no data.pkl")
    root = roots[0]
    if root + b"constants.pkl" in records:
        raise ValueError("it is a TorchScript program; save the state dict instead")

    def content(name: str) -> memoryview:
        full = root + name.encode("utf-8", "replace")
        record = records.get(full)
        if record is None:
            raise ValueError(f"its archive has no record {name[:60]!r}")
        if record.method or record.stored != record.size:
            raise ValueError(f"its record {name[:60]!r} is compressed, which PyTorch never does")
        head = bytes(data[record.header:record.header + 30])
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise ValueError(f"its archive is damaged: the directory points beside the record {name[:60]!r}")
        name_length, extra_length = struct.unpack_from("<HH", head, 26)
        start = record.header + 30 + name_length + extra_length
        part = data[start:start + record.size]
        if len(part) != record.size or bytes(data[record.header + 30:record.header + 30 + name_length]) != full:
            raise ValueError(f"its archive is damaged: the record {name[:60]!r} is not where the directory says")
        # PyTorch writes 0 where it was told not to compute checksums.
        if record.crc and zlib.crc32(part) != record.crc:
            raise ValueError(f"its record {name[:60]!r} is damaged: the checksum differs")
        return part

    storages, budget = _Storages(len(data)), Budget()
    if root + b"byteorder" in records:
        storages.order = {b"little": "<", b"big": ">"}.get(bytes(content("byteorder")[:16]))
        if storages.order is None:
            raise ValueError("its byte order is neither little nor big")
    tree = Machine(content("data.pkl"), 0, find, storages.declare, budget).run()
    for key in storages.declared:
        raw = content(f"data/{key}")
        if len(raw) != storages.size(key):
            raise ValueError(f"storage {key[:40]!r} has {len(raw)} bytes, which is not what its pickle declares")
        storages.raw[key] = raw
    tensors, metadata = _flatten(tree, storages, budget)
    return tensors, {**metadata, "@format": "zip"}


# --- safetensors -----------------------------------------------------------------------------------------------------


def _unique(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("its header names an entry twice")
    return result


def _read_safetensors(data: memoryview):
    size = int.from_bytes(bytes(data[:8]), "little")
    if size > min(len(data) - 8, 100_000_000):
        raise ValueError(f"it is cut off or damaged: its header would have {size} bytes")
    try:
        header = json.loads(bytes(data[8:8 + size]), object_pairs_hook=_unique, parse_int=_small_int,
                            parse_float=lambda text: None)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ValueError("its header is damaged: it is no JSON text") from None
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise ValueError("its header is damaged: it is no list of tensors")
    metadata = dict(header.pop("__metadata__", {}))
    body, tensors, spans = data[8 + size:], {}, []
    for name, entry in header.items():
        dtype, shape, start, end = _entry(name, entry)
        count = 1
        for extent in shape:
            count *= extent
        if not start <= end <= len(body) or count * DTYPES[dtype].itemsize != end - start:
            raise ValueError(f"tensor {name[:100]!r} does not fit: shape {str(shape)[:100]}, bytes {start} to {end} of "
                             f"{len(body)}")
        spans.append((start, end))
        storages = _Storages(len(data))
        storages.raw[name] = body[start:end]
        try:
            tensors[name] = storages.elements(name, dtype).reshape(shape)
        except ValueError:
            raise ValueError(f"tensor {name[:100]!r} cannot have {len(shape)} axes") from None
    spans.sort()
    if [start for start, _ in spans] != [0, *(end for _, end in spans)][:-1] or (spans and spans[-1][1] != len(body)):
        raise ValueError("its tensors overlap or leave gaps, or the file is cut off")
    return tensors, {**metadata, "@format": "safetensors"}


def _small_int(text: str) -> int:
    if len(text) > 20:
        raise ValueError("its header holds a number of more than 20 digits")
    return int(text)


def _entry(name: str, entry: Any) -> Tuple[str, List[int], int, int]:
    if not isinstance(entry, dict):
        raise ValueError(f"its header is damaged at {name[:100]!r}")
    kind, shape, span = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(kind, str) or kind not in _SAFETENSORS:
        shown = kind[:20] if isinstance(kind, str) else "?"
        raise ValueError(f"tensor {name[:100]!r} has the type {shown!r}, which is not read")
    numbers = [*shape, *span] if isinstance(shape, list) and isinstance(span, list) and len(span) == 2 else [-1]
    if len(numbers) > 34 or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(f"its header is damaged at {name[:100]!r}")
    return _SAFETENSORS[kind], shape, span[0], span[1]
