"""Initial weights of transformers."""
from mindspore import nn
from mindspore.common.initializer import Normal, initializer


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
