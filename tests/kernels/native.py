"""The library called directly, and what it has to give, in float64 by NumPy."""
import ctypes
import math
import zlib

import numpy as np

from ghost_ms.kernels import build
from ghost_ms.kernels.ops import ACTIVATIONS


def call(name, inputs, *outputs):
    """Run an operator as MindSpore does: arrays in, shapes (or (shape, dtype)) out; a list of arrays."""
    inputs = [np.ascontiguousarray(value) for value in inputs]
    made = [np.full(shape, np.nan, np.float32) if not isinstance(shape, np.ndarray) else shape for shape in outputs]
    arrays = inputs + made
    count = len(arrays)
    shapes = [np.array(array.shape, np.int64) for array in arrays]
    params = (ctypes.c_void_p * count)(*(array.ctypes.data for array in arrays))
    ndims = (ctypes.c_int * count)(*(array.ndim for array in arrays))
    extents = (ctypes.POINTER(ctypes.c_int64) * count)(
        *(shape.ctypes.data_as(ctypes.POINTER(ctypes.c_int64)) for shape in shapes))
    code = getattr(ctypes.CDLL(build.library()), f"ghost_{name}")(count, params, ndims, extents, None, None, None)
    assert code == 0, f"{name} returned {code}"
    return made


def draw(*parts):
    """Random numbers that depend on what they are for."""
    return np.random.default_rng(zlib.crc32(repr(parts).encode()))


def act_code(name):
    return np.array([ACTIVATIONS.index(name)], np.int32)


def convolution(x, w, stride, padding, dilation):
    """Depthwise, in float64: ((B, C, H', W'), the padded input's slices by tap)."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    top, bottom, left, right = padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    kh, kw = w.shape[2:]
    height = (padded.shape[2] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    width = (padded.shape[3] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    places = [(i, j, slice(i * dilation[0], i * dilation[0] + (height - 1) * stride[0] + 1, stride[0]),
               slice(j * dilation[1], j * dilation[1] + (width - 1) * stride[1] + 1, stride[1]))
              for i in range(kh) for j in range(kw)]
    y = sum(padded[:, :, rows, columns] * w[:, 0, i, j][None, :, None, None] for i, j, rows, columns in places)
    return y, padded, places


def convolution_gradients(x, w, dy, stride, padding, dilation):
    """(dx, dw) in float64."""
    _, padded, places = convolution(x, w, stride, padding, dilation)
    dy = np.asarray(dy, np.float64)
    dpadded, dw = np.zeros_like(padded), np.zeros(w.shape)
    for i, j, rows, columns in places:
        dpadded[:, :, rows, columns] += dy * np.asarray(w, np.float64)[:, 0, i, j][None, :, None, None]
        dw[:, 0, i, j] = (dy * padded[:, :, rows, columns]).sum((0, 2, 3))
    top, _, left, _ = padding
    return dpadded[:, :, top:top + x.shape[2], left:left + x.shape[3]], dw


erf = np.vectorize(math.erf, otypes=[float])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


#: name -> (function, derivative), in float64.
FUNCTIONS = {
    "none": (lambda x: x, np.ones_like),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    "relu6": (lambda x: np.clip(x, 0, 6), lambda x: ((x > 0) & (x < 6)) * 1.0),
    "hsigmoid": (lambda x: np.clip(x + 3, 0, 6) / 6, lambda x: (np.abs(x) < 3) / 6),
    "hswish": (lambda x: x * np.clip(x + 3, 0, 6) / 6,
               lambda x: np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5))),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    "gelu": (lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
             lambda x: 0.5 * (1 + erf(x / math.sqrt(2))) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)),
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda x: -np.sin(x)),
}


def near(found, expected, tolerance=2e-6):
    """Within a tolerance of the largest number expected."""
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max(initial=0) <= tolerance * max(1, np.abs(expected).max(initial=0))
