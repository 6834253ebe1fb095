"""The deploy form: BatchNorm folded into the convolution before it, dropout removed.

What follows what is known from two sources only: in an `nn.SequentialCell` a cell feeds the next one and nothing
else; and a class states its own pairs as `folds = (("conv", "bn"), ...)`. A test compares every folded network with
itself before.
"""
from typing import Iterator, Tuple

from mindspore import nn

from ghost_ms.layers.reparam import biased_conv, fold_batch_norm, replace_cell
from ghost_ms.models.backbone import Backbone


def to_deploy_form(net: Backbone) -> Backbone:
    """Fuse branches, fold BatchNorm and drop Dropout, in place; outputs in evaluation mode are unchanged."""
    net.reparameterize()
    for parent, first, second in list(_pairs(net)):
        cells = parent.name_cells()
        replace_cell(parent, first, fold_batchnorm(cells[first], cells[second]))
        replace_cell(parent, second, nn.Identity())
    for _, parent in list(net.cells_and_names()):
        for name, cell in list(parent.name_cells().items()):
            if isinstance(cell, nn.Dropout):
                replace_cell(parent, name, nn.Identity())
    net.rename_parameters()
    return net.set_train(False)


def fold_batchnorm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A convolution with bias that equals `norm(conv(x))` in evaluation mode."""
    return biased_conv(*fold_batch_norm(conv, norm), conv)


def count_cells(net: nn.Cell, kind: type) -> int:
    """How many cells of a kind a network holds."""
    return sum(isinstance(cell, kind) for _, cell in net.cells_and_names())


def _pairs(net: nn.Cell) -> Iterator[Tuple[nn.Cell, str, str]]:
    """(parent, name of a convolution, name of the BatchNorm that alone takes its output)."""
    for _, parent in net.cells_and_names():
        # Not name_cells(), which leaves out a cell that it has met before: its neighbours would seem to touch.
        cells = parent._cells
        names = list(cells)
        pairs = list(zip(names, names[1:])) if isinstance(parent, nn.SequentialCell) else getattr(parent, "folds", ())
        for first, second in pairs:
            if isinstance(cells.get(first), nn.Conv2d) and isinstance(cells.get(second), nn.BatchNorm2d):
                yield parent, first, second
