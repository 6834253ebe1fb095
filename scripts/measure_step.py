"""What this package's training step costs beside MindSpore's bare one: same network and SGD, in turns, in one process.

This package's normalises its images, which come as bytes; the bare one is given them normalised.

python scripts/measure_step.py [--model ghostnet_100] [--batch 16] [--size 224] [--rounds 25]
"""
import argparse
import resource
import statistics
import time

import mindspore as ms
import numpy as np
from mindspore import nn

from ghost_ms import create_model
from ghost_ms.config import LossConfig, OptimizerConfig
from ghost_ms.core import device
from ghost_ms.data.mixing import normalize_batch
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.tasks.classification.loss import LabelCriterion, create_loss
from ghost_ms.training.ema import Ema
from ghost_ms.training.optimizer import create_optimizer
from ghost_ms.training.step import TrainStep

CLASSES = 1000
#: Images of any size: that of the preprocessing is not looked at.
SPEC = Preprocessing((224, 224), 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0.875, "bilinear")
SGD = OptimizerConfig("sgd", momentum=0.9, weight_decay=4e-5, decay_norms_and_biases=True)


def bare(net):
    """MindSpore's own cells."""
    optimizer = nn.SGD(net.trainable_params(), 0.01, 0.9, weight_decay=4e-5)
    return nn.TrainOneStepCell(nn.WithLossCell(net, nn.CrossEntropyLoss()), optimizer)


def ours(net):
    """The step of a recipe with SGD alone: besides the update it counts loss, accuracy and bad steps."""
    return TrainStep(net, LabelCriterion(create_loss(LossConfig())),
                     create_optimizer(net, SGD, [0.01] * 1000), spec=SPEC)


def with_means(net):
    """The same with EMA weights."""
    return TrainStep(net, LabelCriterion(create_loss(LossConfig())),
                     create_optimizer(net, SGD, [0.01] * 1000), ema=Ema(net, 0.9999),
                     spec=SPEC)


def processor_seconds():
    """Of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def prepared(title, make, options):
    """A function that makes a step and waits for all of it."""
    net = create_model(options.model, num_classes=CLASSES, input_size=(options.size, options.size))
    step, draw = make(net).set_train(), np.random.default_rng(0)
    images = draw.integers(0, 256, (options.batch, options.size, options.size, 3), np.uint8)
    images = ms.Tensor(normalize_batch(images, SPEC.mean, SPEC.std) if make is bare else images)
    labels = ms.Tensor(draw.integers(0, CLASSES, options.batch), ms.int32)
    last = step.ema.vectors[0] if getattr(step, "ema", None) is not None else net.trainable_params()[-1]

    def run():
        start = time.perf_counter()
        step(images, labels)
        last.asnumpy()
        return 1e3 * (time.perf_counter() - start)

    start = processor_seconds()
    run()
    print(f"{title}: first step {processor_seconds() - start:.1f} s of processor time", flush=True)
    run()
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ghostnet_100")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224, help="pixels of a side")
    parser.add_argument("--rounds", type=int, default=25, help="steps of each form, which take turns")
    parser.add_argument("--seconds", type=float, default=150, help="no round begins later than this")
    options = parser.parse_args()
    begin = time.perf_counter()
    device.setup("CPU")
    runs = {title: prepared(title, make, options)
            for title, make in (("bare", bare), ("ghost_ms", ours), ("ghost_ms with running means", with_means))}
    times = {title: [] for title in runs}
    for index in range(options.rounds):
        if time.perf_counter() - begin > options.seconds:
            break
        # Each form comes first, second and last equally often: the cache is what the one before left.
        order = list(runs)[index % 3:] + list(runs)[:index % 3]
        for title in order:
            times[title].append(runs[title]())
    print(f"{options.model}, batch {options.batch}, {options.size} px, {len(times['bare'])} rounds, MindSpore "
          f"{ms.__version__}, graph mode, CPU")
    for title, values in times.items():
        ratio = statistics.median(value / beside for value, beside in zip(values, times["bare"]))
        low, middle, high = statistics.quantiles(values, n=4)
        print(f"{title}: median {middle:.1f} ms (quartiles {low:.1f} - {high:.1f}), {ratio:.3f} of bare")


if __name__ == "__main__":
    main()
