"""Epsilon and momentum of a network's BatchNorms, where they are not those of its family."""
from typing import Optional

from mindspore import nn, ops


def set_batch_norms(net: nn.Cell, eps: Optional[float] = None, momentum: Optional[float] = None) -> None:
    """Give every BatchNorm of a freshly built network this epsilon and this momentum; None leaves either.

    Args:
        eps: added to the variance.
        momentum: share of the running statistics that a training step keeps, as MindSpore counts it: its 0.9 is what
            PyTorch calls 0.1.

    Raises:
        ValueError: a value that cannot be, or a network without BatchNorm.
    """
    if eps is not None and not (_is_number(eps) and 0 < eps < 1):
        raise ValueError(f"norm_eps is {eps}, but it must be a number above 0 and below 1")
    if momentum is not None and not (_is_number(momentum) and 0 <= momentum <= 1):
        raise ValueError(f"norm_momentum is {momentum}, but it must lie between 0 and 1 (0.9 keeps nine tenths)")
    norms = [cell for _, cell in net.cells_and_names() if isinstance(cell, nn.BatchNorm2d)]
    if not norms:
        raise ValueError(f"a {type(net).__name__} has no BatchNorm; leave norm_eps and norm_momentum out")
    for norm in norms:
        norm.eps = norm.eps if eps is None else float(eps)
        # The cell keeps the share that is replaced.
        norm.momentum = norm.momentum if momentum is None else 1 - float(momentum)
        norm.bn_train = ops.BatchNorm(is_training=True, epsilon=norm.eps, momentum=norm.momentum,
                                      data_format=norm.format)
        norm.bn_infer = ops.BatchNorm(is_training=False, epsilon=norm.eps, data_format=norm.format)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
