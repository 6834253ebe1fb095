"""A running mean of the weights (Polyak averaging), a compiled graph of its own.

Inside the graph of the step every weight would be read once more after its update, which takes MindSpore longer to
compile than the update itself: 10 s against 3 s for 158 parameters.
"""
import contextlib

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

# A loop in `construct` over hundreds of parameters compiles in minutes; a map over them, of primitives, in seconds.
_approach = ops.MultitypeFuncGraph("approach")
_subtract, _multiply, _difference = ops.AssignSub(), ops.Mul(), ops.Sub()


@_approach.register("Tensor", "Tensor", "Tensor")
def _approach_weight(share, mean, weight):
    return _subtract(mean, _multiply(share, _difference(mean, weight)))


class Ema(nn.Cell):
    """Exponential running mean of every parameter of a network, BatchNorm statistics included.

    mean <- mean + (1 - d) (weight - mean) at update t, with d = `decay`, or min(decay, (1 + t) / (10 + t)) while it
    warms up: the rule of TensorFlow's ExponentialMovingAverage with `num_updates`. Called after every step; where the
    step made no update (gradients are accumulated, or were not finite), nothing changes.

    Args:
        net: whose parameters are averaged; the means start as copies, named 'ema.' + name.
    """

    def __init__(self, net: nn.Cell, decay: float, warmup: bool = True):
        super().__init__(auto_prefix=False)
        self.decay, self.warmup, self.map = decay, warmup, ops.HyperMap()
        self.weights = ParameterTuple(net.get_parameters())
        self.means = self.weights.clone("ema", init="same")
        for mean in self.means:
            mean.requires_grad = False
        self.counted = Parameter(Tensor(np.zeros(1), ms.int32), name="ema_updates", requires_grad=False)

    def construct(self, updates: Tensor):
        """`updates`: those done so far, int32 (1,)."""
        share = Tensor(1.0 - self.decay, ms.float32)
        if self.warmup:
            share = ops.maximum(share, 9.0 / (10.0 + updates.astype(ms.float32)))
        # No branch: the host does not know whether there was an update, and a branch would hold a graph of its own.
        share = share * (updates > self.counted).astype(ms.float32)
        share = ops.depend(share, ops.assign(self.counted, updates)).reshape(())
        return self.map(ops.partial(_approach, share), self.means, self.weights)

    @contextlib.contextmanager
    def in_place(self):
        """Let the network hold the means for a while; its own values return afterwards, bit by bit."""
        kept = [weight.asnumpy().copy() for weight in self.weights]
        try:
            for weight, mean in zip(self.weights, self.means):
                weight.set_data(Tensor(mean.asnumpy()))
            yield
        finally:
            for weight, value in zip(self.weights, kept):
                weight.set_data(Tensor(value))
