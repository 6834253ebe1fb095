"""GhostNet 1.0x of this package and of MindCV: inference and training step in graph mode, alternating, same process."""
import logging
import statistics
import time

import mindspore as ms
import numpy as np
from mindspore import nn

from ghost_ms import create_model
from ghost_ms.core import device


def inference(net):
    """A function that runs one image at 224."""
    net.set_train(False)
    image = ms.Tensor(np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32))
    return lambda: net(image).asnumpy()


def training(net, batch=16):
    """A function that makes one SGD step with a batch of 16 at 224."""
    loss, optimizer = nn.CrossEntropyLoss(), nn.SGD(net.trainable_params(), 0.01, 0.9, weight_decay=4e-5)
    step = nn.TrainOneStepCell(nn.WithLossCell(net, loss), optimizer).set_train()
    draw = np.random.default_rng(0)
    images = ms.Tensor(draw.standard_normal((batch, 3, 224, 224)).astype(np.float32))
    labels = ms.Tensor(draw.integers(0, 1000, batch), ms.int32)
    return lambda: step(images, labels).asnumpy()


def compare(title, ours, theirs, rounds, calls):
    """Median milliseconds of both sides, whose calls alternate so that both see the same machine."""
    milliseconds = {}
    for run in (ours, theirs):
        run()
        milliseconds[run] = []
    for _ in range(rounds):
        for run, times in milliseconds.items():
            start = time.perf_counter()
            for _ in range(calls):
                run()
            times.append(1e3 * (time.perf_counter() - start) / calls)
    mine, other = (statistics.median(times) for times in milliseconds.values())
    print(f"{title}: ghost_ms {mine:.1f} ms, MindCV {other:.1f} ms, ratio {mine / other:.2f}", flush=True)


def main():
    device.setup("CPU")
    logging.disable(logging.INFO)
    import mindcv

    print(f"GhostNet 1.0x, 224x224, graph mode, CPU; MindSpore {ms.__version__}, MindCV {mindcv.__version__}; medians")
    nets = create_model("ghostnet_100"), mindcv.create_model("ghostnet_100")
    compare("inference, batch 1", *map(inference, nets), rounds=11, calls=10)
    compare("training step, batch 16", *map(training, nets), rounds=7, calls=1)


if __name__ == "__main__":
    main()
