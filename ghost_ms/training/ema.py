"""A running mean of the weights (Polyak averaging): one vector, and a compiled graph of its own.

Inside the graph of the step, and with a mean for each parameter, it takes MindSpore 8 s more to compile a network of
314 parameters; this way it takes half a second.
"""
import contextlib
from typing import Dict, Optional

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from ghost_ms.training.distributed import is_statistic
from ghost_ms.training.flat import as_vector


class Ema(nn.Cell):
    """Exponential running mean of every parameter of a network, BatchNorm statistics included.

    mean <- mean + (1 - d) (weight - mean) at update t, with d = `decay`, or min(decay, (1 + t) / (10 + t)) while it
    warms up: the rule of TensorFlow's ExponentialMovingAverage with `num_updates`. Called after every step; where the
    step made no update (gradients are accumulated, or were not finite), nothing changes.

    Args:
        net: whose float32 parameters are averaged; the means start as copies. They are two vectors: 'ema' of the
            weights, and 'ema_statistics' of BatchNorm's statistics, which ranks do not share.
    """

    def __init__(self, net: nn.Cell, decay: float, warmup: bool = True):
        super().__init__(auto_prefix=False)
        self.decay, self.warmup = decay, warmup
        self.map, self.concat = ops.HyperMap(), ops.Concat(0)
        parameters = [parameter for parameter in net.get_parameters() if parameter.dtype == ms.float32]
        weights = [parameter for parameter in parameters if not is_statistic(parameter)]
        statistics = [parameter for parameter in parameters if is_statistic(parameter)]
        self.groups = tuple(ParameterTuple(group) for group in (weights, statistics) if group)
        self.vectors = ParameterTuple([
            Parameter(Tensor(np.concatenate([parameter.asnumpy().ravel() for parameter in group])), name=name,
                      requires_grad=False) for group, name in zip(self.groups, ("ema", "ema_statistics"))])
        self.counted = Parameter(Tensor(np.zeros(1), ms.int32), name="ema_updates", requires_grad=False)
        self.updates: Optional[Parameter] = None

    def follow(self, updates: Parameter) -> None:
        """Tell where the updates done so far are counted, int32 (1,); before the first call."""
        self.updates = updates

    def construct(self):
        updates = self.updates
        share = Tensor(1.0 - self.decay, ms.float32)
        if self.warmup:
            share = ops.maximum(share, 9.0 / (10.0 + updates.astype(ms.float32)))
        # No branch: the host does not know whether there was an update, and a branch would hold a graph of its own.
        share = share * (updates > self.counted).astype(ms.float32)
        share = ops.depend(share, ops.assign(self.counted, updates))
        done = ()
        for index in range(len(self.groups)):
            values, mean = self.concat(self.map(as_vector, self.groups[index])), self.vectors[index]
            done += (ops.assign_sub(mean, share * (mean - values)),)
        return done

    def means(self) -> Dict[str, np.ndarray]:
        """The mean of each parameter, by its name."""
        found = {}
        for group, vector in zip(self.groups, self.vectors):
            ends = np.cumsum([parameter.size for parameter in group])
            # The array of a parameter is its memory, which the next step changes.
            parts = np.split(vector.asnumpy().copy(), ends[:-1])
            found.update({parameter.name: part.reshape(parameter.shape) for parameter, part in zip(group, parts)})
        return found

    @contextlib.contextmanager
    def in_place(self):
        """Let the network hold the means for a while; its own values return afterwards, bit by bit."""
        weights = [weight for group in self.groups for weight in group]
        kept = [weight.asnumpy().copy() for weight in weights]
        try:
            for weight, mean in zip(weights, self.means().values()):
                _put(weight, mean)
            yield
        finally:
            for weight, value in zip(weights, kept):
                _put(weight, value)


def _put(parameter: Parameter, values: np.ndarray) -> None:
    """Give a parameter other values."""
    if ms.get_context("mode") == ms.PYNATIVE_MODE:
        # There set_data gives it other memory, and nn.SGD goes on changing the old: every later update would be lost.
        ops.assign(parameter, Tensor(values))
    else:
        parameter.set_data(Tensor(values))
