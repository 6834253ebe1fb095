"""What `ghost-ms plan --card cpu` rests on, measured here; and training steps to hold its plans against.

python scripts/measure_cpu.py rates
    Rates of a training's three kinds of work on one core: products of dense convolutions, of depthwise ones, and
    passes over activations; each in chains of layers, forward and backward.
python scripts/measure_cpu.py step MODEL --batch 16 --size 224
    Seconds of a step. Started by msrun it is a data-parallel step, gradients averaged over all ranks.
python scripts/measure_cpu.py reduce MODEL
    Started by msrun: seconds of the averaging alone.

Run it on an idle machine, with OMP_NUM_THREADS=1.
"""
import argparse
import os
import statistics
import time

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ghost_ms import create_model
from ghost_ms.config import LossConfig, OptimizerConfig
from ghost_ms.core import device
from ghost_ms.layers.conv import conv2d
from ghost_ms.tasks.classification.loss import LabelCriterion, create_loss
from ghost_ms.training.distributed import gradient_reducer
from ghost_ms.training.optimizer import create_optimizer
from ghost_ms.training.step import TrainStep

BATCH, DEPTH = 4, 4
#: (kernel, channels, pixels of a side) as in ResNet-50 and GhostNet.
DENSE = ((1, 256, 56), (3, 64, 56), (1, 512, 28), (3, 128, 28), (1, 1024, 14), (3, 256, 14))
DEPTHWISE = ((3, 24, 112), (3, 72, 56), (5, 72, 56), (3, 120, 28), (5, 120, 28), (3, 240, 14))
MAPS = ((16, 112), (64, 56), (128, 28), (256, 14))


class Chain(nn.Cell):
    """The sum of squares behind some equal layers, so that every layer runs forward and backward."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.SequentialCell(layers)

    def construct(self, x):
        y = self.layers(x)
        return (y * y).sum()


class Gradient(nn.Cell):
    """A chain's value and gradients, by its input and all its parameters."""

    def __init__(self, chain):
        super().__init__()
        self.run = ops.value_and_grad(chain, 0, chain.trainable_params())

    def construct(self, x):
        return self.run(x)


def chain_seconds(layers, channels, side):
    """Of one forward and backward pass of a chain: the median of some, without the first two, which compile."""
    run = Gradient(Chain(layers).set_train())
    x = Tensor(np.random.default_rng(0).standard_normal((BATCH, channels, side, side)), ms.float32)
    times, begin = [], time.perf_counter()
    while len(times) < 7 or time.perf_counter() - begin < 2:
        start = time.perf_counter()
        run(x)[0].asnumpy()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


class Reduce(nn.Cell):
    """The averaging of gradients alone, of the shapes of some weights; returns a number that needs all of it."""

    def __init__(self, weights, reducer):
        super().__init__(auto_prefix=False)
        self.weights, self.reducer = ms.ParameterTuple(weights), reducer

    def construct(self):
        return ops.addn([gradient.reshape(-1)[0] for gradient in self.reducer(self.weights)])


def reduce(name):
    """Print the median seconds of averaging, over all ranks, gradients of the shapes of a network's weights."""
    world, weights = device.world(), create_model(name).trainable_params()
    run, times = Reduce(weights, gradient_reducer(weights, world)), []
    for _ in range(12):
        start = time.perf_counter()
        run().asnumpy()
        times.append(time.perf_counter() - start)
    size = 4e-6 * sum(weight.size for weight in weights)
    print(f"{name}, rank {world.rank} of {world.size}: {statistics.median(times[2:]):.4f} s to average {len(weights)} "
          f"gradients of {size:.1f} MB", flush=True)


def rates():
    """Print the three rates, each layer's own first."""
    for name, shapes, groups in (("dense", DENSE, 1), ("depthwise", DEPTHWISE, None)):
        flop = spent = 0.0
        for kernel, channels, side in shapes:
            group = groups or channels
            layers = [conv2d(channels, channels, kernel, groups=group) for _ in range(DEPTH)]
            seconds = chain_seconds(layers, channels, side)
            work = 2 * 3 * DEPTH * BATCH * side ** 2 * kernel ** 2 * channels * channels // group
            print(f"  {kernel}x{kernel}, {channels} channels, {side} px: {work / seconds / 1e9:.2f} GFLOP/s")
            flop, spent = flop + work, spent + seconds
        print(f"{name}: {flop / spent:.3g} FLOP/s", flush=True)
    elements = spent = 0.0
    for channels, side in MAPS:
        layers = [layer for _ in range(DEPTH) for layer in (nn.BatchNorm2d(channels), nn.ReLU())]
        seconds = chain_seconds(layers, channels, side)
        written = 2 * DEPTH * BATCH * channels * side ** 2
        print(f"  norm and ReLU, {channels} channels, {side} px: {1e9 * seconds / written:.2f} ns an element")
        elements, spent = elements + written, spent + seconds
    print(f"activations: {1e9 * spent / elements:.3g} ns an element", flush=True)


def step(name, batch, size, steps):
    """Print the median of a step's seconds, on every rank."""
    world = device.world()
    net = create_model(name, input_size=(size, size))
    options = OptimizerConfig("sgd", momentum=0.9, weight_decay=4e-5)
    train = TrainStep(net, LabelCriterion(create_loss(LossConfig())), create_optimizer(net, options, [0.01] * 10000),
                      reduce=gradient_reducer(net.trainable_params(), world)).set_train()
    draw = np.random.default_rng(world.rank)
    images = Tensor(draw.standard_normal((batch, 3, size, size)), ms.float32)
    labels = Tensor(draw.integers(0, 1000, batch), ms.int32)
    times = []

    def call():
        start = time.perf_counter()
        train(images, labels)[0].asnumpy()
        times.append(time.perf_counter() - start)

    for _ in range(2 + steps):
        call()
    low, middle, high = statistics.quantiles(times[2:], n=4)
    print(f"{name}, batch {batch}, {size} px, rank {world.rank} of {world.size}: {middle:.4f} s a step "
          f"(quartiles {low:.4f} - {high:.4f} of {len(times) - 2}), first {times[0]:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rates", "step", "reduce"])
    parser.add_argument("model", nargs="?", default="ghostnet_100")
    parser.add_argument("--batch", type=int, default=16, help="images of a step on each rank (default 16)")
    parser.add_argument("--size", type=int, default=224, help="pixels of a side (default 224)")
    parser.add_argument("--steps", type=int, default=12, help="that are timed (default 12)")
    options = parser.parse_args()
    device.setup("CPU", join=True)
    print(f"MindSpore {ms.__version__}, {os.cpu_count()} cores, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS')}")
    if options.what == "rates":
        rates()
    elif options.what == "reduce":
        reduce(options.model)
    else:
        step(options.model, options.batch, options.size, options.steps)


if __name__ == "__main__":
    main()
