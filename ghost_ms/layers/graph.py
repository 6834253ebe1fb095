"""Graphs over the positions of a map: neighbour search, max-relative convolution and the Grapher block.

Vision GNN (NeurIPS 2022, arXiv 2206.00272), section 3; its dilation is that of DeepGCNs (arXiv 1904.03751).
Maps are (B, C, H, W); as nodes they are (B, C, N), N = H * W.
"""
from typing import Callable, Optional, Tuple

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from ghost_ms.layers.conv import conv2d
from ghost_ms.layers.drop import DropPath
from ghost_ms.layers.mlp import gelu

#: Distances that are held at once (64 MB in float32), for the whole batch; above it the search goes chunk by chunk.
MAX_DISTANCES = 2 ** 24


def bounded_neighbours(k: int, dilation: int, nodes: int) -> Tuple[int, int]:
    """(k, dilation) that a graph of `nodes` nodes can give: first the dilation shrinks, then k.

    k * dilation candidates have to exist; the published networks at their published size are never bounded.
    """
    if nodes < 1:
        raise ValueError("the map has no node left to connect to; use a larger input_size")
    k = min(k, nodes)
    return k, max(1, min(dilation, nodes // k))


def _unit_length(nodes: Tensor) -> Tensor:
    length = ops.sqrt((nodes * nodes).sum(1, keepdims=True))
    return nodes / ops.maximum(length, 1e-12)


def largest_indices(x: Tensor, k: int) -> Tensor:
    """Places of the k largest of every row, the largest first: (B, N, M) -> int32 (B, N, k)."""
    return ops.topk(x, k, 2, True, True)[1]


class LargestIndices(nn.Cell):
    """`largest_indices` as a cell."""

    def construct(self, x: Tensor, k: int) -> Tensor:
        return largest_indices(x, k)


def _nearest(x: Tensor, y: Tensor, relative_pos: Optional[Tensor], k: int, dilation: int,
             search: Callable[[Tensor, int], Tensor]) -> Tensor:
    # |x|^2 - distance = 2 x.y - |y|^2 - relative_pos: |x|^2 is common to a row and cannot change its order.
    closeness = ops.matmul(ops.transpose(2.0 * x, (0, 2, 1)), y) - (y * y).sum(1, keepdims=True)
    if relative_pos is not None:
        closeness = closeness - relative_pos
    index = search(closeness, k * dilation)
    return index if dilation == 1 else index[:, :, ::dilation]


def nearest_neighbours(x: Tensor, y: Tensor, k: int, dilation: int = 1, relative_pos: Optional[Tensor] = None,
                       max_distances: Optional[int] = MAX_DISTANCES,
                       search: Callable[[Tensor, int], Tensor] = largest_indices) -> Tensor:
    """The k nodes of `y` nearest to every node of `x`: int32 indices (B, N, k).

    Distances are squared, between features of unit length, plus `relative_pos`; of the k * dilation nearest, sorted,
    every `dilation`-th is taken. At most `max_distances` distances exist at a time, whatever the batch; a larger search
    runs over chunks of the nodes of `x`, with the same result. None lifts the limit, which an open batch needs.

    Args:
        x: (B, C, N).
        y: (B, C, M); it may be `x` itself.
        relative_pos: (1, N, M), added to the distances.
        search: finds the largest; see `largest_indices`.

    Raises:
        ValueError: fewer than k * dilation nodes in `y`.
    """
    if k * dilation > y.shape[2]:
        raise ValueError("k * dilation is larger than the number of nodes; bounded_neighbours gives values that fit")
    # In half precision the choice would differ from the one the weights were trained for.
    x = _unit_length(x.astype(ms.float32))
    y = _unit_length(y.astype(ms.float32))
    nodes = x.shape[2]
    rows = nodes if max_distances is None else max(1, max_distances // (x.shape[0] * y.shape[2]))
    if rows >= nodes:
        return _nearest(x, y, relative_pos, k, dilation, search)
    chunks = []
    for start in range(0, nodes, rows):
        stop = min(start + rows, nodes)
        position = None if relative_pos is None else relative_pos[:, start:stop]
        chunks.append(_nearest(x[:, :, start:stop], y, position, k, dilation, search))
    return ops.cat(chunks, 1)


def neighbour_maximum(y: Tensor, index: Tensor, open_batch: bool = False) -> Tensor:
    """Largest value among each node's neighbours, per channel: (B, C, M) and indices (B, N, k) -> (B, C, N).

    With `open_batch` nothing depends on B being known when the graph is made.
    """
    channels, nodes = y.shape[1:]
    size, k = index.shape[1:]
    table = ops.transpose(y, (0, 2, 1)).reshape(-1, channels)
    if open_batch:
        # 0, M, 2M, ...: M for every image, summed over the images before.
        index = index + ops.CumSum(exclusive=True)(ops.zeros_like(index[:, :1, :1]) + nodes, 0)
    elif y.shape[0] > 1:
        index = index + Tensor([[[image * nodes]] for image in range(y.shape[0])], ms.int32)
    columns = ops.split(index.reshape(-1, k), 1, 1)
    # A gather and a maximum per neighbour: half the time of one gather of all and a reduction, and 1 / k the memory.
    largest = ops.gather(table, columns[0], 0)
    for column in columns[1:]:
        largest = ops.maximum(largest, ops.gather(table, column, 0))
    return ops.transpose(largest.reshape(-1, size, channels), (0, 2, 1))


def interleave(x: Tensor, y: Tensor) -> Tensor:
    """Channels of two (B, C, N) tensors in turn, x_0, y_0, x_1, y_1, ...: (B, 2C, N)."""
    _, channels, nodes = x.shape
    return ops.cat((ops.expand_dims(x, 2), ops.expand_dims(y, 2)), 2).reshape(-1, 2 * channels, nodes)


class MaxRelativeConv(nn.Cell):
    """Max-relative graph convolution (section 3.2): (B, C, H, W) -> (B, 2C, H, W).

    The four groups of the convolution are the heads of the paper. Export sets `open_batch` where the batch is open.
    """

    open_batch = False

    def __init__(self, channels: int):
        super().__init__()
        self.nn = nn.SequentialCell(conv2d(2 * channels, 2 * channels, groups=4, bias=True),
                                    nn.BatchNorm2d(2 * channels), gelu())

    def construct(self, x: Tensor, y: Tensor, index: Tensor) -> Tensor:
        """Map x (B, C, H, W), the nodes y (B, C, M) that `index` (B, H * W, k) points to."""
        _, channels, height, width = x.shape
        nodes = x.reshape(-1, channels, height * width)
        # max(x_j - x_i) = max(x_j) - x_i, to the bit, since rounding is monotone.
        relative = neighbour_maximum(y, index, self.open_batch) - nodes
        return self.nn(interleave(nodes, relative).reshape(-1, 2 * channels, height, width))


class DynamicGraphConv(nn.Cell):
    """Graph of nearest neighbours, made anew for every map, then the convolution over it.

    (B, C, H, W) -> (B, 2C, H, W). With `pool` > 1 the neighbours are the cells of the map averaged pool x pool.
    Export sets `open_batch` where the batch is open.
    """

    open_batch = False

    def __init__(self, channels: int, k: int, dilation: int = 1, pool: int = 1):
        super().__init__()
        self.k, self.dilation = k, dilation
        self.pool = nn.AvgPool2d(pool, pool) if pool > 1 else nn.Identity()
        self.gconv = MaxRelativeConv(channels)
        self.search = LargestIndices()

    def construct(self, x: Tensor, relative_pos: Optional[Tensor] = None) -> Tensor:
        _, channels, height, width = x.shape
        nodes = x.reshape(-1, channels, height * width)
        pooled = self.pool(x)
        others = pooled.reshape(-1, channels, pooled.shape[2] * pooled.shape[3])
        limit = None if self.open_batch else MAX_DISTANCES
        # Stopped within the search, a gradient of nodes that are their own neighbours does not compile.
        index = nearest_neighbours(ops.stop_gradient(nodes), ops.stop_gradient(others), self.k, self.dilation,
                                   relative_pos, limit, self.search)
        return self.gconv(x, others, index)


class Grapher(nn.Cell):
    """Linear layers around a graph convolution, with shortcut (section 3.2): (B, C, H, W) -> same shape.

    Args:
        channels: C.
        grid: (H, W).
        k: neighbours of a node.
        dilation: every which of the nearest is taken. Both shrink on small grids, see `bounded_neighbours`.
        pool: the neighbours come from the map averaged pool x pool.
        relative_pos: (H * W, M) for the M nodes of the pooled map, added to the distances; frozen.
        drop_path: probability that a sample skips the block while training.
    """

    def __init__(self, channels: int, grid: Tuple[int, int], k: int = 9, dilation: int = 1, pool: int = 1,
                 relative_pos: Optional[np.ndarray] = None, drop_path: float = 0.0):
        super().__init__()
        k, dilation = bounded_neighbours(k, dilation, (grid[0] // pool) * (grid[1] // pool))
        self.relative_pos = None if relative_pos is None else Parameter(
            Tensor(relative_pos[None], ms.float32), name="relative_pos", requires_grad=False)
        self.fc1 = nn.SequentialCell(conv2d(channels, channels, bias=True), nn.BatchNorm2d(channels))
        self.graph_conv = DynamicGraphConv(channels, k, dilation, pool)
        self.fc2 = nn.SequentialCell(conv2d(2 * channels, channels, bias=True), nn.BatchNorm2d(channels))
        self.drop_path = DropPath(drop_path)

    def construct(self, x: Tensor) -> Tensor:
        return self.drop_path(self.fc2(self.graph_conv(self.fc1(x), self.relative_pos))) + x


class GraphFeedForward(nn.Cell):
    """Two 1x1 convolutions with BatchNorm and a shortcut (section 3.2): (B, C, H, W) -> same shape."""

    def __init__(self, channels: int, expansion: int = 4, drop_path: float = 0.0):
        super().__init__()
        hidden = channels * expansion
        self.fc1 = nn.SequentialCell(conv2d(channels, hidden, bias=True), nn.BatchNorm2d(hidden))
        self.act = gelu()
        self.fc2 = nn.SequentialCell(conv2d(hidden, channels, bias=True), nn.BatchNorm2d(channels))
        self.drop_path = DropPath(drop_path)

    def construct(self, x: Tensor) -> Tensor:
        return self.drop_path(self.fc2(self.act(self.fc1(x)))) + x
