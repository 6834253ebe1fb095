"""PyTorch's parameter names, and loading a state dict that is given as NumPy arrays."""
import re
from typing import Dict, List, Mapping, Tuple

import mindspore as ms
import numpy as np
from mindspore import nn

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
NORM_NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
#: Entries of PyTorch files that hold no weight: a counter, and what a FLOP counter left behind.
BOOKKEEPING = re.compile(r"(^|\.)(num_batches_tracked|total_ops|total_params)$")


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


def load_torch_state(net: nn.Cell, state: Mapping[str, np.ndarray]) -> Tuple[List[str], List[str]]:
    """Fill `net` from a PyTorch state dict of NumPy arrays.

    Returns:
        (missing, unexpected) names, both empty: anything else raises before a single weight is changed.

    Raises:
        ValueError: names that the network wants and the state lacks, names that nothing takes, or shapes that
            differ; the sentence lists them.
    """
    names = torch_names(net)
    unused = [re.compile(pattern) for pattern in getattr(net, "torch_unused", ())]
    missing = [other for other in names.values() if other not in state]
    unexpected = sorted(name for name in set(state) - set(names.values())
                        if not BOOKKEEPING.search(name) and not any(p.search(name) for p in unused))
    if missing or unexpected:
        raise ValueError(f"the state does not fit {type(net).__name__}: missing {_listed(missing)}; "
                         f"unexpected {_listed(unexpected)}")
    adapt = getattr(net, "adapt_torch_weight", lambda _, value: value)
    parameters = dict(net.parameters_and_names())
    values = {name: np.asarray(adapt(other, state[other])) for name, other in names.items()}
    wrong = [f"{names[name]} {value.shape} (wanted {tuple(parameters[name].shape)})"
             for name, value in values.items() if value.shape != tuple(parameters[name].shape)]
    if wrong:
        raise ValueError(f"the state does not fit {type(net).__name__}: shapes differ: {_listed(wrong)}")
    for name, value in values.items():
        parameter = parameters[name]
        parameter.set_data(ms.Tensor(np.ascontiguousarray(value), parameter.dtype))
    return missing, unexpected


def _listed(names: List[str], most: int = 8) -> str:
    if not names:
        return "nothing"
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
