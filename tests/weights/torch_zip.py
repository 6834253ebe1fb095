"""Writes PyTorch's files without PyTorch, for tests: the pickle names its classes and functions as PyTorch's does."""
import io
import pickle
import sys
import types
import zipfile
from unittest import mock

import numpy as np

_STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage", "float64": "DoubleStorage"}


def _modules():
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def rebuild(*_):
        raise AssertionError("nothing is rebuilt while writing")

    rebuild.__name__ = rebuild.__qualname__ = "_rebuild_tensor_v2"
    rebuild.__module__ = "torch._utils"
    utils._rebuild_tensor_v2, torch._utils = rebuild, utils
    for name in _STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    return {"torch": torch, "torch._utils": utils}


class _Storage:
    def __init__(self, array):
        self.array = array


class _Pickler(pickle.Pickler):
    def __init__(self, file, torch):
        super().__init__(file, 2)
        self.torch, self.storages = torch, []

    def persistent_id(self, value):
        if not isinstance(value, _Storage):
            return None
        self.storages.append(value.array)
        kind = getattr(self.torch, _STORAGES[str(value.array.dtype)])
        return "storage", kind, str(len(self.storages) - 1), "cpu", value.array.size

    def reducer_override(self, value):
        if not isinstance(value, np.ndarray):
            return NotImplemented
        strides = tuple(stride // value.itemsize for stride in np.zeros(value.shape, value.dtype).strides)
        return self.torch._utils._rebuild_tensor_v2, (_Storage(value), 0, value.shape, strides, False, {})


def save(tree, path):
    """What `torch.save(tree, path)` writes, where tensors are given as NumPy arrays."""
    modules, body = _modules(), io.BytesIO()
    with mock.patch.dict(sys.modules, modules):
        pickler = _Pickler(body, modules["torch"])
        pickler.dump(tree)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", body.getvalue())
        archive.writestr("archive/byteorder", b"little")
        for key, array in enumerate(pickler.storages):
            archive.writestr(f"archive/data/{key}", np.ascontiguousarray(array).tobytes())
        archive.writestr("archive/version", b"3\n")
    return path
