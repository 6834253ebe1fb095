"""What the ranks of a data-parallel run tell each other outside the compiled step.

On CPU MindSpore knows all-reduce of float sums, all-gather and broadcast; only the first two are used, on float32, so
that the same code runs everywhere. Gradients are averaged by the compiled step, once an update.
"""
from typing import Iterable, List, Optional, Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, nn, ops

from ghost_ms.core.device import World


def _sum(values: np.ndarray) -> np.ndarray:
    return ops.AllReduce()(ms.Tensor(values.astype(np.float32))).asnumpy()


def gradient_reducer(parameters: Sequence[Parameter], world: World) -> Optional[nn.Cell]:
    """Gradients of the trained parameters to their mean over all ranks; None for one rank."""
    return nn.DistributedGradReducer(parameters) if world.size > 1 else None


def sum_over_ranks(values: List[float], world: World) -> List[float]:
    """Every value added up over all ranks, in float64 and in the order of the ranks: whole numbers are exact."""
    if world.size == 1:
        return list(values)
    # They travel as pairs of float32 of the same bits: pixels are counted by the billion, and float32 ends at 16.7
    # million.
    bits = ms.Tensor(np.array(values, np.float64).view(np.float32))
    ranks = ops.AllGather()(bits).asnumpy().view(np.float64).reshape(world.size, -1)
    return ranks.sum(0).tolist()


def from_main(values: List[float], world: World) -> List[float]:
    """The values of rank 0, on every rank."""
    return sum_over_ranks(values if world.is_main else [0.0] * len(values), world)


def gather(parameters: Sequence[Parameter], world: World) -> List[np.ndarray]:
    """Each parameter (of 32-bit numbers) of every rank, as an array (ranks, *shape)."""
    # Unlike ascontiguousarray, this leaves a scalar one.
    arrays = [p.asnumpy().copy(order="C") for p in parameters]
    if world.size == 1:
        return [array[None] for array in arrays]
    # Integers travel as the float32 of the same bits; nothing is computed on the way.
    flat = np.concatenate([array.reshape(-1).view(np.float32) for array in arrays])
    ranks = ops.AllGather()(ms.Tensor(flat)).asnumpy().reshape(world.size, -1)
    pieces = np.split(ranks, np.cumsum([array.size for array in arrays])[:-1], axis=1)
    return [np.ascontiguousarray(piece).view(array.dtype).reshape(world.size, *array.shape)
            for piece, array in zip(pieces, arrays)]


#: Calls of `Vote.ask` between two exchanges, where steps are queued on a device.
ASK_EVERY = 10


class Vote:
    """Whether any rank says yes, with the same answer on all ranks at the same call.

    The ranks exchange at every call on a CPU, where no step is under way when Python looks, and elsewhere at every
    tenth: reading an answer waits for what is queued. The answer of `ask` is that to the exchange before, which has
    arrived by now. One process alone gets its answer at once.
    """

    def __init__(self, world: World):
        self.world, self.asked, self.calls = world, None, 0
        self.every = 1 if ms.get_context("device_target") == "CPU" else ASK_EVERY

    def ask(self, yes: bool) -> bool:
        """Called by all ranks after the same step; who said yes once goes on saying it."""
        if self.world.size == 1:
            return yes
        self.calls += 1
        if self.calls % self.every:
            return False
        before, self.asked = self.asked, ops.AllReduce()(ms.Tensor([float(yes)], ms.float32))
        return before is not None and float(before.asnumpy()[0]) > 0

    def ask_now(self, yes: bool) -> bool:
        """The answer to this call, and what the call before has not told yet."""
        before, self.asked = self.asked, None
        late = before is not None and float(before.asnumpy()[0]) > 0
        return sum_over_ranks([float(yes or late)], self.world)[0] > 0


def is_statistic(parameter: Parameter) -> bool:
    """Whether it is a BatchNorm statistic or a running mean of one, which each rank gathers on its own images."""
    return parameter.name.endswith(("moving_mean", "moving_variance", "ema_statistics"))


def average_statistics(parameters: Iterable[Parameter], world: World) -> None:
    """Give all ranks the mean of what each rank gathered on its own share of the images."""
    statistics = [p for p in parameters if is_statistic(p)]
    if world.size == 1 or not statistics:
        return
    # One message for all: an exchange costs more than the few thousand numbers in it.
    flat = _sum(np.concatenate([p.asnumpy().reshape(-1) for p in statistics])) / world.size
    ends = np.cumsum([p.size for p in statistics])[:-1]
    for parameter, values in zip(statistics, np.split(flat, ends)):
        parameter.set_data(ms.Tensor(values.reshape(parameter.shape), parameter.dtype))
