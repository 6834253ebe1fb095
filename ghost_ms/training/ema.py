"""A running mean of the weights (Polyak averaging) inside the compiled step."""
import contextlib

import mindspore as ms
from mindspore import ParameterTuple, Tensor, nn, ops

# A loop in `construct` over hundreds of parameters compiles in minutes; a map over them in seconds.
_approach = ops.MultitypeFuncGraph("approach")


@_approach.register("Tensor", "Tensor", "Tensor")
def _approach_weight(share, mean, weight):
    return ops.assign(mean, mean + share * (weight - mean))


class Ema(nn.Cell):
    """Exponential running mean of every parameter of a network, BatchNorm statistics included.

    mean <- mean + (1 - d) (weight - mean) at update t, with d = `decay`, or min(decay, (1 + t) / (10 + t)) while it
    warms up: the rule of TensorFlow's ExponentialMovingAverage with `num_updates`.

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

    def construct(self, updates: Tensor):
        """`updates`: those done, this one included."""
        share = Tensor(1.0 - self.decay, ms.float32)
        if self.warmup:
            count = updates.astype(ms.float32).reshape(())
            share = ops.maximum(share, 9.0 / (10.0 + count))
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
