"""Maps of a head as rows of a table, one for each anchor."""
from typing import Sequence

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer


def rows_of(x: Tensor, values: int) -> Tensor:
    """(B, anchors * values, H, W) -> (B, H * W * anchors, values): row by row, and of a cell anchor by anchor."""
    channels, height, width = x.shape[1:]
    return x.transpose(0, 2, 3, 1).reshape(-1, height * width * (channels // values), values)


def stacked(maps: Sequence[Tensor], values: int) -> Tensor:
    """The rows of all levels below each other: (B, N, values)."""
    rows = ()
    for one in maps:
        rows += (rows_of(one, values),)
    return ops.concat(rows, 1)


def draw_normal(net: nn.Cell, deviation: float) -> None:
    """Draw every convolution's weights from N(0, deviation), and zero its biases."""
    for _, cell in net.cells_and_names():
        if isinstance(cell, nn.Conv2d):
            cell.weight.set_data(initializer(Normal(deviation), cell.weight.shape, cell.weight.dtype))
            if cell.has_bias:
                cell.bias.set_data(initializer("zeros", cell.bias.shape, cell.bias.dtype))
