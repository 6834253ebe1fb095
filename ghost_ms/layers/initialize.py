"""Weight initialisation that several families share."""
from typing import Tuple, Type

from mindspore import Parameter, nn
from mindspore.common.initializer import HeNormal, Normal, initializer


def kaiming_fan_out(weight: Parameter) -> None:
    """Refill a convolution's weight by normal draws of variance 2 / (filters * kernel area) (arXiv 1502.01852)."""
    weight.set_data(initializer(HeNormal(mode="fan_out", nonlinearity="relu"), weight.shape, weight.dtype))


def initialize_convolutions(net: nn.Cell, kinds: Tuple[Type[nn.Cell], ...] = (nn.Conv2d,)) -> None:
    """`kaiming_fan_out` for the `weight` of every cell of the given kinds below `net`; zero for their biases."""
    for _, cell in net.cells_and_names():
        if isinstance(cell, kinds):
            kaiming_fan_out(cell.weight)
            if getattr(cell, "bias", None) is not None:
                cell.bias.set_data(initializer("zeros", cell.bias.shape, cell.bias.dtype))


def init_dense(cell: nn.Cell, deviation: float = 0.02) -> nn.Cell:
    """Draw the weights of all Dense layers in `cell` from N(0, deviation), zero their biases; returns `cell`.

    The papers cut the normal at -2 and 2, which at deviation 0.02 lies a hundred deviations out and changes nothing.
    """
    for _, layer in cell.cells_and_names():
        if isinstance(layer, nn.Dense):
            layer.weight.set_data(initializer(Normal(deviation), layer.weight.shape, layer.weight.dtype))
            if layer.has_bias:
                layer.bias.set_data(initializer("zeros", layer.bias.shape, layer.bias.dtype))
    return cell
