"""A training step of a segmenter here, and of torchvision's LR-ASPP on MobileNetV3 in PyTorch: one run, in turns.

    python scripts/benchmarks/segmentation_step.py --torch-python ENV/bin/python [HEAD+BACKBONE...]

Both sides: float32, cross-entropy over the pixels, SGD with momentum, random images and maps; PyTorch eager with its
channels first and last, of which the better counts. The interpreter for PyTorch needs torch and torchvision.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from typing import Callable, Dict, List

import numpy as np

OURS = ("lraspp+ghostnetv2_100", "lraspp+mobilenetv3_large_100")
THEIRS = ("torchvision", "torchvision channels-last")
CLASSES = 21


def own_step(name: str, batch: int, size: int) -> Callable[[], float]:
    """A step as a recipe with its defaults makes it."""
    import mindspore as ms

    from ghost_ms.checkpoints.reconcile import Wish, describe
    from ghost_ms.config import Config
    from ghost_ms.core import device
    from ghost_ms.tasks.registry import create_task
    from ghost_ms.training.build import create_step

    device.setup("CPU")
    config = Config()
    config.task.name, (config.task.head, config.model.name) = "segmentation", name.split("+")
    config.data.input_size = (size, size)
    spec = describe(Wish(config), 3, [f"class {place}" for place in range(CLASSES)])
    task = create_task("segmentation")
    step = create_step(spec.build(), config, [0.0] * 1000, spec, task.criterion(config, None, spec), logits=False)
    step.set_train()
    images = ms.Tensor(np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8))
    targets = [ms.Tensor(target) for target in task.example_targets(spec, batch)]
    return lambda: float(step(images, *targets)[0].asnumpy())


def peers_step(name: str, batch: int, size: int) -> Callable[[], float]:
    """The step of torchvision's network."""
    import torch
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    layout = torch.channels_last if name.endswith("last") else torch.contiguous_format
    net = lraspp_mobilenet_v3_large(num_classes=CLASSES, weights=None, weights_backbone=None).train()
    net = net.to(memory_format=layout)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=layout)
    labels = (torch.arange(batch * size * size) % CLASSES).reshape(batch, size, size)
    optimizer, loss_of = torch.optim.SGD(net.parameters(), 0.0, 0.9), torch.nn.CrossEntropyLoss(ignore_index=255)

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(net(images)["out"], labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def work(name: str, batch: int, size: int) -> None:
    """Answer every line on standard input with the milliseconds of a step."""
    step = (own_step if "+" in name else peers_step)(name, batch, size)
    begin = time.process_time()
    step()
    print(json.dumps(time.process_time() - begin), flush=True)
    step()
    for _ in sys.stdin:
        begin = time.perf_counter()
        step()
        print(json.dumps(1e3 * (time.perf_counter() - begin)), flush=True)


def answer(process: subprocess.Popen) -> float:
    """The next number that a worker prints, whatever else it says."""
    for line in process.stdout:
        try:
            return float(json.loads(line))
        except (TypeError, ValueError):
            continue
    raise RuntimeError(f"{process.args[-1]} ended: see above")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=OURS, metavar="HEAD+BACKBONE")
    parser.add_argument("--torch-python", default=sys.executable, help="Python with torch and torchvision")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--worker", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options.worker, options.batch, options.size)
    names, workers = [*options.networks, *THEIRS], {}
    for name in names:
        python = sys.executable if "+" in name else options.torch_python
        workers[name] = subprocess.Popen(
            [python, os.path.abspath(__file__), "--batch", str(options.batch), "--size", str(options.size), "--worker",
             name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        print(f"{name}: first step {answer(workers[name]):.1f} s of processor time", flush=True)
    rounds: Dict[str, List[float]] = {name: [] for name in names}
    for index in range(options.rounds):
        for name in names[index % len(names):] + names[:index % len(names)]:
            workers[name].stdin.write("\n")
            workers[name].stdin.flush()
            rounds[name].append(answer(workers[name]))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    best = np.minimum(*(np.array(rounds[name]) for name in THEIRS))
    for name in names:
        times = np.array(rounds[name])
        print(f"{name}: {np.median(times):.0f} ms ({times.min():.0f} to {times.max():.0f}); to the better of "
              f"torchvision's, round by round, {np.median(times / best):.2f}")


if __name__ == "__main__":
    main()
