"""Weight initialisation that several families share."""
from typing import Tuple

from mindspore import Parameter, nn
from mindspore.common.initializer import HeNormal, initializer


def kaiming_fan_out(weight: Parameter) -> None:
    """Refill a convolution's weight by normal draws of variance 2 / (filters * kernel area) (arXiv 1502.01852)."""
    weight.set_data(initializer(HeNormal(mode="fan_out", nonlinearity="relu"), weight.shape, weight.dtype))


def initialize_convolutions(net: nn.Cell, kinds: Tuple[type, ...] = (nn.Conv2d,)) -> None:
    """`kaiming_fan_out` for the `weight` of every cell of the given kinds below `net`; zero for their biases."""
    for _, cell in net.cells_and_names():
        if isinstance(cell, kinds):
            kaiming_fan_out(cell.weight)
            if getattr(cell, "bias", None) is not None:
                cell.bias.set_data(initializer("zeros", cell.bias.shape, cell.bias.dtype))
