"""PyTorch's parameter names, and loading a state dict that is given as NumPy arrays."""
import math
import re
from typing import Dict, List, Mapping, NamedTuple, Tuple

import mindspore as ms
import numpy as np
from mindspore import nn

from ghost_ms.weights.pick import BOOKKEEPING, shown

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
NORM_NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def torch_names(net: nn.Cell) -> Dict[str, str]:
    """PyTorch's name for every parameter of `net`, by our name, in the network's order.

    Norms rename gamma, beta, moving_mean and moving_variance; everything else keeps its name, but for what the
    network's class states in `torch_renames`.
    """
    names = {}
    norms = {prefix for prefix, cell in net.cells_and_names() if isinstance(cell, NORMS)}
    for name, _ in net.parameters_and_names():
        prefix, _, leaf = name.rpartition(".")
        other = f"{prefix}.{NORM_NAMES[leaf]}" if prefix in norms else name
        for pattern, replacement in getattr(net, "torch_renames", ()):
            other = re.sub(pattern, replacement, other)
        names[name] = other
    return names


def torch_state(net: nn.Cell) -> Dict[str, np.ndarray]:
    """Every parameter of `net` under PyTorch's name, with what PyTorch's network expects beside them.

    That is a `num_batches_tracked` of zero for each BatchNorm, and the entries of the network's `torch_extras`.
    """
    parameters = dict(net.parameters_and_names())
    state = {}
    for name, other in torch_names(net).items():
        state[other] = parameters[name].asnumpy()
        if other.endswith("running_var"):
            state[other[:-len("running_var")] + "num_batches_tracked"] = np.zeros((), np.int64)
    extras = getattr(net, "torch_extras", None)
    return {**state, **extras()} if extras else state


class Difference(NamedTuple):
    """Where a state dict and a network differ: PyTorch's names, and sentences on shapes."""

    missing: List[str]
    unexpected: List[str]
    shapes: List[str]

    def __str__(self):
        if self.missing or self.unexpected:
            return f"missing {shown(self.missing) or 'nothing'}; unexpected {shown(self.unexpected) or 'nothing'}"
        return f"shapes differ: {shown(self.shapes)}"


def is_spare(net: nn.Cell, name: str) -> bool:
    """Whether `net` can do without an entry of this name of PyTorch's though no parameter takes it."""
    return any(re.search(pattern, name) for pattern in (BOOKKEEPING, *getattr(net, "torch_unused", ())))


def fitted(net: nn.Cell, state: Mapping[str, np.ndarray]) -> Tuple[Dict[str, np.ndarray], Difference]:
    """(values by our names, in the shapes of `net`; where the state does not fit); nothing is loaded."""
    names, parameters = torch_names(net), dict(net.parameters_and_names())
    adapt = getattr(net, "adapt_torch_weight", lambda _, value: value)
    values, shapes = {}, []
    for name, other in names.items():
        if other not in state:
            continue
        wanted, value = tuple(parameters[name].shape), np.asarray(state[other])
        try:
            values[name] = np.asarray(adapt(other, value)) if _is_comparable(value, wanted) else value
        except (ValueError, IndexError, ArithmeticError) as error:
            shapes.append(f"{other} {value.shape} (wanted {wanted}; {error})")
            continue
        if values[name].shape != wanted:
            shapes.append(f"{other} {values[name].shape} (wanted {wanted})")
    missing = [other for other in names.values() if other not in state]
    unexpected = sorted(name for name in set(state) - set(names.values()) if not is_spare(net, name))
    return values, Difference(missing, unexpected, shapes)


def _is_comparable(value: np.ndarray, wanted: Tuple[int, ...]) -> bool:
    """Whether it is about as large as what is wanted: resampling a table made to harm could take any memory."""
    return value.size <= 1024 * math.prod(wanted) and max(value.shape, default=0) <= 64 * max(wanted, default=1)


def load_torch_state(net: nn.Cell, state: Mapping[str, np.ndarray]) -> Tuple[List[str], List[str]]:
    """Fill `net` from a PyTorch state dict of NumPy arrays.

    Returns:
        (missing, unexpected) names, both empty: anything else raises before a single weight is changed.

    Raises:
        ValueError: names that the network wants and the state lacks, names that nothing takes, or shapes that
            differ; the sentence lists them.
    """
    values, difference = fitted(net, state)
    if any(difference):
        raise ValueError(f"the state does not fit {type(net).__name__}: {difference}")
    parameters = dict(net.parameters_and_names())
    for name, value in values.items():
        parameters[name].set_data(ms.Tensor(np.require(value, requirements=["C", "A"]), parameters[name].dtype))
    return [], []
