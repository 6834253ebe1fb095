"""The deploy form: BatchNorm folded into the layers around it, dropout removed.

What follows what is known from these sources only: in an `nn.SequentialCell` a cell feeds the next one and nothing
else; a class states its own pairs as `folds = (("conv", "bn"), ...)`, and as `folds_ahead = (("bn", ("conv", ...)),
...)` the BatchNorms whose output these convolutions, and nothing else, take. A test compares every folded network with
itself before.
"""
from typing import Iterator, Sequence, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from ghost_ms.layers.reparam import (affine_of, biased_conv, fold_affine_ahead, fold_batch_norm, replace_cell,
                                     takes_no_padding)
from ghost_ms.models.backbone import Backbone


def to_deploy_form(net: Backbone) -> Backbone:
    """Fuse branches, fold BatchNorm and drop Dropout, in place; outputs in evaluation mode are unchanged."""
    net.reparameterize()
    for parent, first, second in list(_pairs(net)):
        cells = parent.name_cells()
        replace_cell(parent, first, fold_batchnorm(cells[first], cells[second]))
        replace_cell(parent, second, nn.Identity())
    for _, parent in list(net.cells_and_names()):
        for norm, takers in getattr(parent, "folds_ahead", ()):
            _fold_ahead(parent, norm, takers)
    for _, parent in list(net.cells_and_names()):
        for name, cell in list(parent.name_cells().items()):
            if isinstance(cell, nn.Dropout):
                replace_cell(parent, name, nn.Identity())
    net.rename_parameters()
    return net.set_train(False)


def fold_final_norm(net: Backbone) -> Backbone:
    """Fold a BatchNorm before pooling and classifier into the classifier, in place.

    For networks whose class states that pair as `final_norm`. The logits stay; `forward_features` loses its norm, so
    this is for export, where only the logits are left.
    """
    norm_name, head_name = getattr(net, "final_norm", ("", ""))
    cells = net.name_cells()
    norm, head = cells.get(norm_name), cells.get(head_name)
    if isinstance(norm, nn.BatchNorm2d) and isinstance(head, nn.Dense):
        scale, shift = affine_of(norm)
        weight, bias = head.weight.asnumpy().astype(np.float64), head.bias.asnumpy().astype(np.float64)
        head.weight.set_data(Tensor(weight * scale, ms.float32))
        head.bias.set_data(Tensor(bias + weight @ shift, ms.float32))
        replace_cell(net, norm_name, nn.Identity())
        net.rename_parameters()
    return net


def fold_batchnorm(conv: nn.Cell, norm: nn.BatchNorm2d) -> nn.Cell:
    """A cell that equals `norm(conv(x))` in evaluation mode; `conv` is a convolution or has `absorb_affine`."""
    if hasattr(conv, "absorb_affine"):
        return conv.absorb_affine(*affine_of(norm))
    return biased_conv(*fold_batch_norm(conv, norm), conv)


def count_cells(net: nn.Cell, kind: type) -> int:
    """How many cells of a kind a network holds."""
    return sum(isinstance(cell, kind) for _, cell in net.cells_and_names())


def _fold_ahead(parent: nn.Cell, norm_name: str, takers: Sequence[str]) -> None:
    """Fold a BatchNorm into the convolutions behind it, if none of them pads: beyond the border there is no shift."""
    norm = parent.name_cells().get(norm_name)
    places = [_place(parent, path) for path in takers]
    convs = [owner.name_cells()[name] for owner, name in places]
    if not isinstance(norm, nn.BatchNorm2d) or not convs or not all(
            isinstance(conv, nn.Conv2d) and takes_no_padding(conv) for conv in convs):
        return
    for (owner, name), conv in zip(places, convs):
        replace_cell(owner, name, biased_conv(*fold_affine_ahead(conv, *affine_of(norm)), conv))
    replace_cell(parent, norm_name, nn.Identity())


def _place(parent: nn.Cell, path: str) -> Tuple[nn.Cell, str]:
    """The cell that holds the one at `path`, and the name it has there."""
    *owners, name = path.split(".")
    for owner in owners:
        parent = parent.name_cells()[owner]
    return parent, name


def _pairs(net: nn.Cell) -> Iterator[Tuple[nn.Cell, str, str]]:
    """(parent, name of a convolution, name of the BatchNorm that alone takes its output)."""
    for _, parent in net.cells_and_names():
        # Not name_cells(), which leaves out a cell that it has met before: its neighbours would seem to touch.
        cells = parent._cells
        names = list(cells)
        pairs = list(zip(names, names[1:])) if isinstance(parent, nn.SequentialCell) else getattr(parent, "folds", ())
        for first, second in pairs:
            conv = cells.get(first)
            if (isinstance(conv, nn.Conv2d) or hasattr(conv, "absorb_affine")) and isinstance(cells.get(second),
                                                                                             nn.BatchNorm2d):
                yield parent, first, second
