"""What the ranks of a data-parallel run tell each other once an epoch.

On CPU MindSpore knows all-reduce of float sums, all-gather and broadcast; only the first is used, so that the same code
runs everywhere. Gradients are averaged by the compiled step, once an update.
"""
from typing import Iterable, List, Optional, Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, nn, ops

from ghost_ms.device import World


def _sum(values: np.ndarray) -> np.ndarray:
    return ops.AllReduce()(ms.Tensor(values.astype(np.float32))).asnumpy()


def gradient_reducer(parameters: Sequence[Parameter], world: World) -> Optional[nn.Cell]:
    """Gradients of the trained parameters to their mean over all ranks; None for one rank."""
    return nn.DistributedGradReducer(parameters) if world.size > 1 else None


def sum_over_ranks(values: List[float], world: World) -> List[float]:
    """Every value added up over all ranks, in float32 (counts are exact up to 16.7 million)."""
    return list(values) if world.size == 1 else _sum(np.array(values)).astype(np.float64).tolist()


def average_statistics(parameters: Iterable[Parameter], world: World) -> None:
    """Give all ranks the mean of the BatchNorm statistics among the parameters, and of the running means (`Ema`), which
    hold those too: each rank gathered them on its own share of the images."""
    statistics = [p for p in parameters if p.name.endswith(("moving_mean", "moving_variance")) or p.name == "ema"]
    if world.size == 1 or not statistics:
        return
    # One message for all: an exchange costs more than the few thousand numbers in it.
    flat = _sum(np.concatenate([p.asnumpy().reshape(-1) for p in statistics])) / world.size
    ends = np.cumsum([p.size for p in statistics])[:-1]
    for parameter, values in zip(statistics, np.split(flat, ends)):
        parameter.set_data(ms.Tensor(values.reshape(parameter.shape), parameter.dtype))
