"""The deploy form: BatchNorm folded into the convolution before it, dropout removed.

What follows what is known from two sources only: in an `nn.SequentialCell` a cell feeds the next one and nothing
else; and a class states its own pairs as `folds = (("conv", "bn"), ...)`. A test compares every folded network with
itself before.
"""
from typing import Iterator, Tuple

import mindspore as ms
import numpy as np
from mindspore import nn

from ghost_ms.models.backbone import Backbone


def to_deploy_form(net: Backbone) -> Backbone:
    """Fuse branches, fold BatchNorm and drop Dropout, in place; outputs in evaluation mode are unchanged."""
    net = net.reparameterize().set_train(False)
    for parent, first, second in list(_pairs(net)):
        conv, norm = parent._cells[first], parent._cells[second]
        setattr(parent, first, fold_batchnorm(conv, norm))
        setattr(parent, second, nn.Identity())
        if isinstance(parent, nn.SequentialCell):
            parent.cell_list = list(parent._cells.values())
    for _, parent in net.cells_and_names():
        for name, cell in parent._cells.items():
            if isinstance(cell, nn.Dropout):
                setattr(parent, name, nn.Identity())
                if isinstance(parent, nn.SequentialCell):
                    parent.cell_list = list(parent._cells.values())
    net.rename_parameters()
    return net.set_train(False)


def fold_batchnorm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A convolution with bias that equals `norm(conv(x))` in evaluation mode (arithmetic in float64)."""
    gamma, beta, mean, variance = (p.asnumpy().astype(np.float64) for p in
                                   (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance))
    scale = gamma / np.sqrt(variance + norm.eps)
    bias = conv.bias.asnumpy().astype(np.float64) if conv.has_bias else 0.0
    fused = type(conv)(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, pad_mode=conv.pad_mode,
                       padding=conv.padding, dilation=conv.dilation, group=conv.group, has_bias=True)
    dtype = conv.weight.dtype
    weight = conv.weight.asnumpy().astype(np.float64) * scale[:, None, None, None]
    fused.weight.set_data(ms.Tensor(weight.astype(np.float32), dtype))
    fused.bias.set_data(ms.Tensor((beta + (bias - mean) * scale).astype(np.float32), dtype))
    return fused


def count_cells(net: nn.Cell, kind: type) -> int:
    """How many cells of a kind a network holds."""
    return sum(isinstance(cell, kind) for _, cell in net.cells_and_names())


def _pairs(net: nn.Cell) -> Iterator[Tuple[nn.Cell, str, str]]:
    """(parent, name of a convolution, name of the BatchNorm that alone takes its output)."""
    for _, parent in net.cells_and_names():
        names = list(parent._cells)
        pairs = list(zip(names, names[1:])) if isinstance(parent, nn.SequentialCell) else getattr(parent, "folds", ())
        for first, second in pairs:
            cells = parent._cells.get(first), parent._cells.get(second)
            if isinstance(cells[0], nn.Conv2d) and isinstance(cells[1], nn.BatchNorm2d):
                yield parent, first, second
