"""Position tables: fresh ones, and released ones for input sizes other than the published one."""
import math
from typing import Tuple

import numpy as np
from mindspore import Parameter
from mindspore.common.initializer import Normal, initializer


def token_table(count: int, channels: int) -> Parameter:
    """A learned vector for each of `count` tokens, (1, count, channels), drawn with deviation 0.02."""
    return Parameter(initializer(Normal(0.02), (1, count, channels)))


def bicubic_matrix(source: int, target: int) -> np.ndarray:
    """(target, source) float64 matrix that resamples an axis as PyTorch's bicubic interpolation does.

    Cubic convolution with a = -0.75 (Keys, 1981), half-pixel centres, border samples repeated, no antialiasing.
    """
    def kernel(distance):
        near, far = (1.25 * distance - 2.25) * distance ** 2 + 1, ((distance - 5) * distance + 8) * distance - 4
        return np.where(distance <= 1, near, -0.75 * far) * (distance < 2)

    matrix = np.zeros((target, source))
    centres = (np.arange(target) + 0.5) * source / target - 0.5
    for offset in range(-1, 3):
        position = np.floor(centres).astype(int) + offset
        np.add.at(matrix, (np.arange(target), np.clip(position, 0, source - 1)), kernel(np.abs(centres - position)))
    return matrix


def resize_table(table: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Resample the last two axes of a table bicubically: (..., h, w) -> (..., size[0], size[1]), same dtype.

    A table that already has the size is returned unchanged, to the bit.
    """
    if table.shape[-2:] == tuple(size):
        return table
    rows, columns = (bicubic_matrix(s, t) for s, t in zip(table.shape[-2:], size))
    return (rows @ table.astype(np.float64) @ columns.T).astype(table.dtype)


def source_grid(count: int, grid: Tuple[int, int]) -> Tuple[int, int]:
    """Rows and columns that `count` released tokens came from: a square, as all published input sizes are.

    A count that is no square must be that of `grid` itself, and is then taken to lie on it.

    Raises:
        ValueError: `count` is neither a square nor the count of `grid`.
    """
    side = math.isqrt(count)
    if side * side == count:
        return side, side
    if count == grid[0] * grid[1]:
        return tuple(grid)
    raise ValueError(f"a position table of {count} tokens belongs neither to a square map nor to one of "
                     f"{grid[0]}x{grid[1]}")


def resize_tokens(table: np.ndarray, grid: Tuple[int, int], prefix: int = 0) -> np.ndarray:
    """Resample a table of tokens (1, prefix + h * w, C) to `grid`; the first `prefix` tokens have no position.

    A table that already fits is returned unchanged, to the bit.
    """
    tokens = table[:, prefix:]
    source = source_grid(tokens.shape[1], grid)
    if source == tuple(grid):
        return table
    maps = resize_table(tokens.transpose(0, 2, 1).reshape(tokens.shape[0], -1, *source), grid)
    tokens = maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1)
    return np.ascontiguousarray(np.concatenate([table[:, :prefix], tokens], axis=1))
