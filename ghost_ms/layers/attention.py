"""Scaled dot-product attention, written once for every family, and tables of attention biases.

The fused kernel of the device is chosen in `fused_attention_fits` and nowhere else.
"""
from typing import Optional, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ghost_ms.layers.position import resize_table, source_grid

Grid = Tuple[int, int]


def device_name() -> str:
    """Name of the accelerator, such as 'Ascend910B3'; 'CPU' or 'GPU' elsewhere."""
    target = ms.get_context("device_target")
    return ms.hal.get_device_name(0, "Ascend") if target == "Ascend" else target


def fused_attention_fits(heads: int, head_dim: int) -> bool:
    """Whether `ops.flash_attention_score` takes this attention on this device.

    MindSpore offers it on the Atlas A2 series alone (chips named 910B), for at most 256 heads whose dimension is a
    multiple of 16 and at most 512. That it takes half precision only is asked of the tensors, at the call.
    """
    return heads <= 256 and head_dim % 16 == 0 and head_dim <= 512 and "910B" in device_name().upper()


def split_heads(x: Tensor, heads: int, parts: int = 1) -> Tensor:
    """(B, N, parts * C) -> (B, parts * heads, N, C / heads): the heads of the first part, then of the next."""
    _, count, channels = x.shape
    return x.reshape(-1, count, parts * heads, channels // (parts * heads)).transpose(0, 2, 1, 3)


class ScaledDotProductAttention(nn.Cell):
    """softmax(q k^T / sqrt(head_dim) + bias) v (Vaswani et al., arXiv 1706.03762, equation 1), heads joined again.

    Queries (B, heads, N, head_dim), keys and values (B, heads, M, head_dim), and optionally a bias
    (1, heads, N, M) -> (B, N, heads * head_dim).
    """

    def __init__(self, heads: int, head_dim: int):
        super().__init__()
        self.heads, self.channels = heads, heads * head_dim
        self.scale = head_dim ** -0.5
        self.fused = fused_attention_fits(heads, head_dim)
        self.logits = ops.BatchMatMul(transpose_b=True)
        self.weigh = ops.BatchMatMul()
        self.softmax = nn.Softmax(axis=-1)

    def construct(self, query: Tensor, key: Tensor, value: Tensor, bias: Optional[Tensor] = None) -> Tensor:
        if bias is not None:
            bias = bias.astype(query.dtype)
        if self.fused and query.dtype in (ms.float16, ms.bfloat16):
            x = ops.flash_attention_score(query, key, value, self.heads, real_shift=bias, scalar_value=self.scale,
                                          input_layout="BNSD")
        else:
            # Scaling the queries costs N x head_dim products, scaling the logits N x M.
            x = self.logits(query * self.scale, key)
            if bias is not None:
                x = x + bias
            x = self.weigh(self.softmax(x), value)
        return x.transpose(0, 2, 1, 3).reshape(-1, query.shape[2], self.channels)


def resize_attention_bias(table: np.ndarray, queries: Grid, keys: Grid) -> np.ndarray:
    """Resample a table of biases (..., N, M) between the positions of two maps for maps of the given sizes.

    The released tables belong to square maps. Keys are resampled first, then queries, each as a map of its own; a
    table that already fits is returned unchanged, to the bit.
    """
    lead, (count, others) = table.shape[:-2], table.shape[-2:]
    (height, width), (rows, columns) = source_grid(count, queries), source_grid(others, keys)
    if (height, width) == tuple(queries) and (rows, columns) == tuple(keys):
        return table
    table = resize_table(table.reshape(lead + (count, rows, columns)), keys)
    table = table.reshape(lead + (height, width, -1))
    table = np.moveaxis(resize_table(np.moveaxis(table, -1, -3), queries), -3, -1)
    return np.ascontiguousarray(table).reshape(lead + (queries[0] * queries[1], keys[0] * keys[1]))
