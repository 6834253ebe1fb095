"""A running mean of the weights (Polyak averaging): one vector, and a compiled graph of its own.

Inside the graph of the step, and with a mean for each parameter, it takes MindSpore 8 s more to compile a network of
314 parameters; this way it takes half a second.
"""
import contextlib
from typing import Dict, Optional

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from ghost_ms.training.flat import as_vector


class Ema(nn.Cell):
    """Exponential running mean of every parameter of a network, BatchNorm statistics included.

    mean <- mean + (1 - d) (weight - mean) at update t, with d = `decay`, or min(decay, (1 + t) / (10 + t)) while it
    warms up: the rule of TensorFlow's ExponentialMovingAverage with `num_updates`. Called after every step; where the
    step made no update (gradients are accumulated, or were not finite), nothing changes.

    Args:
        net: whose float32 parameters are averaged; the means start as copies.

    Attributes:
        mean: (N,), the means of all parameters in the order of the network, one after the other.
    """

    def __init__(self, net: nn.Cell, decay: float, warmup: bool = True):
        super().__init__(auto_prefix=False)
        self.decay, self.warmup = decay, warmup
        self.map, self.concat = ops.HyperMap(), ops.Concat(0)
        self.weights = ParameterTuple([weight for weight in net.get_parameters() if weight.dtype == ms.float32])
        start = np.concatenate([weight.asnumpy().ravel() for weight in self.weights])
        self.mean = Parameter(Tensor(start), name="ema", requires_grad=False)
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
        weights = self.concat(self.map(as_vector, self.weights))
        return ops.assign_sub(self.mean, share * (self.mean - weights))

    def means(self) -> Dict[str, np.ndarray]:
        """The mean of each parameter, by its name."""
        ends = np.cumsum([weight.size for weight in self.weights])
        # The array of a parameter is its memory, which the next step changes.
        parts = np.split(self.mean.asnumpy().copy(), ends[:-1])
        return {weight.name: part.reshape(weight.shape) for weight, part in zip(self.weights, parts)}

    @contextlib.contextmanager
    def in_place(self):
        """Let the network hold the means for a while; its own values return afterwards, bit by bit."""
        kept = [weight.asnumpy().copy() for weight in self.weights]
        try:
            for weight, mean in zip(self.weights, self.means().values()):
                weight.set_data(Tensor(mean))
            yield
        finally:
            for weight, value in zip(self.weights, kept):
                weight.set_data(Tensor(value))
