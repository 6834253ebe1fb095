"""What a PyTorch file may name, and the inert value that each name becomes.

Tensors become references to storages (`TensorRef`), resolved once the storages are at hand. Bookkeeping that training
scripts save beside them (options, counters, paths, NumPy scalars) becomes plain Python values; its classes are never
imported.
"""
from typing import Any, Dict, NamedTuple, Optional, Tuple

import numpy as np

from ghost_ms.weights.torch_pickle import Attributes, Budget, Global, dictionary_key

#: Element types by PyTorch's name: the NumPy type that the bytes are read as, little-endian.
DTYPES: Dict[str, np.dtype] = {name: np.dtype(code) for name, code in {
    "float64": "<f8", "float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "int64": "<i8", "int32": "<i4",
    "int16": "<i2", "int8": "i1", "uint8": "u1", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8", "bool": "?",
    "complex64": "<c8", "complex128": "<c16"}.items()}
#: Storage classes by the element type they hold.
_STORAGES = {"DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
             "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16",
             "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
             "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8"}
_NUMPY_CODES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "c8", "c16"}


class StorageRef(NamedTuple):
    """A run of elements kept outside the pickle: its key, element type, and first element within the record."""

    key: str
    dtype: str
    first: int = 0


class TensorRef(NamedTuple):
    """A tensor as the pickle describes it: a strided window into a storage (offset and strides in elements)."""

    storage: StorageRef
    dtype: str
    offset: int
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]


def _tensor(budget: Budget, storage, offset, shape, strides, *rest) -> TensorRef:
    return _typed_tensor(budget, storage, offset, shape, strides, None, None, Global(f"torch.{storage.dtype}"))


def _typed_tensor(budget: Budget, storage, offset, shape, strides, grad, hooks, dtype, *rest) -> TensorRef:
    if not isinstance(storage, StorageRef) or not isinstance(dtype, Global):
        raise TypeError
    if len(shape) > 32 or len(shape) != len(strides) or not all(map(_is_extent, (offset, *shape, *strides))):
        raise ValueError(f"it describes a tensor of shape {_short(shape)} and strides {_short(strides)}, which "
                         "cannot be")
    return TensorRef(storage, dtype.name.rpartition(".")[2], offset, tuple(shape), tuple(strides))


def _is_extent(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _short(value: Any) -> str:
    if not isinstance(value, tuple) or len(value) > 32 or not all(isinstance(n, int) for n in value):
        return f"of the type {type(value).__name__}"
    return str(value)


def _subclassed(budget: Budget, function, kind, arguments, state) -> Any:
    if function.build not in (_tensor, _typed_tensor, _first) or not isinstance(arguments, tuple):
        raise TypeError
    return function.build(budget, *arguments)


class NumpyType:
    """A NumPy element type while its state is still to come."""

    def __init__(self, budget: Budget, code, *rest):
        if not isinstance(code, str) or code not in _NUMPY_CODES:
            raise ValueError("it holds a NumPy array of a type other than numbers, which is refused")
        self.dtype = np.dtype(code)

    def set_state(self, state) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class NumpyArray:
    """A NumPy array while its state is still to come; `array` is a read-only view of the bytes in the pickle."""

    def __init__(self, budget: Budget, *rest):
        self.array = np.zeros(0, np.float32)

    def set_state(self, state) -> None:
        _, shape, kind, fortran, raw = state
        count = 1
        for extent in shape:
            if not _is_extent(extent):
                raise TypeError
            count *= extent
        if not isinstance(raw, bytes) or count * kind.dtype.itemsize != len(raw):
            raise ValueError(f"it holds a NumPy array of shape {_short(shape)} whose bytes do not fit")
        try:
            self.array = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if fortran else "C")
        except ValueError:
            raise ValueError(f"it describes a NumPy array of shape {_short(shape)}, which cannot be") from None


def _numpy_scalar(budget: Budget, kind: NumpyType, raw: bytes):
    if not isinstance(raw, bytes) or len(raw) != kind.dtype.itemsize:
        raise TypeError
    return np.frombuffer(raw, kind.dtype)[0].item()


def _ordered(budget: Budget, pairs=()) -> dict:
    budget.spend(len(pairs))
    if isinstance(pairs, dict):
        return pairs
    return {dictionary_key(key): value for key, value in pairs}


def _encoded(budget: Budget, text: str, encoding: str = "latin1") -> bytes:
    budget.spend(size=len(text))
    if encoding not in ("latin1", "latin-1"):
        raise TypeError
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise TypeError from None


def _path(budget: Budget, *parts) -> str:
    budget.spend(len(parts), sum(map(len, parts)))
    return "/".join(parts).replace("//", "/")


def _reconstructed(budget: Budget, kind: Global, base, state) -> Any:
    if kind.build is None:
        raise TypeError
    return kind.build(budget)


def _device(budget: Budget, kind: str, index: Optional[int] = None) -> str:
    if not isinstance(kind, str) or not (index is None or _is_extent(index)):
        raise TypeError
    return kind[:100] if index is None else f"{kind[:100]}:{index}"


def _first(budget: Budget, value=(), *rest) -> Any:
    return value


def _allowed() -> Dict[str, Global]:
    builders = {
        "torch._utils._rebuild_tensor": _tensor, "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor_v3": _typed_tensor, "torch._tensor._rebuild_from_type_v2": _subclassed,
        "torch._utils._rebuild_parameter": _first, "torch._utils._rebuild_parameter_with_state": _first,
        "torch.Size": _first, "torch.device": _device, "torch.serialization._get_layout": _first,
        "collections.OrderedDict": _ordered, "collections.Counter": _ordered,
        "collections.defaultdict": lambda budget, factory=None: {},
        "argparse.Namespace": lambda budget: Attributes(), "yacs.config.CfgNode": lambda budget, *rest: {},
        "easydict.EasyDict": lambda budget, *rest: {}, "types.SimpleNamespace": lambda budget: Attributes(),
        "numpy.dtype": NumpyType, "_codecs.encode": _encoded,
        "copyreg._reconstructor": _reconstructed, "copy_reg._reconstructor": _reconstructed,
    }
    # Hyperparameters in Lightning's checkpoints: a dictionary by another name.
    builders.update({f"{module}.AttributeDict": lambda budget, *rest: {} for module in (
        "pytorch_lightning.utilities.parsing", "lightning.pytorch.utilities.parsing",
        "lightning.fabric.utilities.data", "lightning_fabric.utilities.data")})
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        builders[f"{module}._reconstruct"], builders[f"{module}.scalar"] = NumpyArray, _numpy_scalar
    for module in ("builtins", "__builtin__"):
        builders.update({f"{module}.{name}": _first for name in ("set", "frozenset", "list", "tuple", "bytearray")})
    builders.update({f"pathlib.{name}": _path for name in ("PosixPath", "PurePosixPath", "Path")})
    builders.update({f"pathlib._local.{name}": _path for name in ("PosixPath", "PurePosixPath", "Path")})
    named = [f"torch.{name}" for name in DTYPES]
    named += [f"torch.{name}" for name in ("Tensor", "nn.parameter.Parameter", "_utils.Parameter", "strided")]
    named += [f"numpy.{name}" for name in ("ndarray", "float64", "float32", "int64", "int32", "bool_")]
    named += [f"{module}.{name}" for module in ("builtins", "__builtin__")
              for name in ("dict", "int", "float", "str", "bool", "object", "bytes")]
    table = {name: Global(name, build) for name, build in builders.items()}
    table.update({name: Global(name) for name in named})
    for storage in _STORAGES:
        for module in ("torch", "torch.storage", "torch.cuda"):
            table[f"{module}.{storage}"] = Global(f"{module}.{storage}")
    return table


_TABLE = _allowed()


def find(module: str, name: str) -> Global:
    """The allow-list's entry for a global; ValueError naming it where there is none."""
    entry = _TABLE.get(f"{module}.{name}")
    if entry is None:
        raise ValueError(f"it asks for {f'{module}.{name}'[:100]!r}, which is refused: only tensors and plain values "
                         "are read")
    return entry


def storage_dtype(kind: Any) -> str:
    """Element type of a storage class that the pickle named."""
    dtype = _STORAGES.get(kind.name.rpartition(".")[2]) if isinstance(kind, Global) else None
    if dtype is None:
        raise ValueError("its pickle is damaged: a storage has no known type")
    return dtype
