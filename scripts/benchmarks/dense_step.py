"""A training step of a segmenter or a detector here, and of torchvision's network in PyTorch: one run, in turns.

    python scripts/benchmarks/dense_step.py --torch-python ENV/bin/python [--task detection] [HEAD+BACKBONE...]

torchvision's are LR-ASPP on MobileNetV3, and SSDLite320 on MobileNetV3 (its own resizing and matching included, on
images of the right size). Both sides: float32, the network's whole loss, SGD with momentum, random images; PyTorch
eager with its channels first and last, of which the better counts. The interpreter for PyTorch needs torch and
torchvision.
"""
import argparse
import os
import sys
import time
from typing import Callable

import in_turns
import numpy as np

#: Task -> (networks of this package, classes, batch, pixels).
TASKS = {"segmentation": (("lraspp+ghostnetv2_100", "lraspp+mobilenetv3_large_100"), 21, 4, 512),
         "detection": (("ssdlite+ghostnetv2_100", "ssdlite+mobilenetv3_large_100"), 80, 8, 320)}
THEIRS = ("torchvision", "torchvision channels-last")


def own_step(name: str, kind: str, batch: int, size: int) -> Callable[[], float]:
    """A step as a recipe with its defaults makes it."""
    import mindspore as ms

    from ghost_ms.checkpoints.reconcile import Wish, describe
    from ghost_ms.config import Config
    from ghost_ms.core import device
    from ghost_ms.tasks.registry import create_task
    from ghost_ms.training.build import create_step

    device.setup("CPU")
    config = Config()
    config.task.name, (config.task.head, config.model.name) = kind, name.split("+")
    config.data.input_size = (size, size)
    spec = describe(Wish(config), 3, [f"class {place}" for place in range(TASKS[kind][1])])
    task = create_task(kind)
    step = create_step(spec.build(), config, [0.0] * 1000, spec, task.criterion(config, None, spec), logits=False)
    step.set_train()
    images = ms.Tensor(np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8))
    targets = [ms.Tensor(target) for target in task.example_targets(spec, batch)]
    return lambda: float(step(images, *targets)[0].asnumpy())


def peers_step(name: str, kind: str, batch: int, size: int) -> Callable[[], float]:
    """The step of torchvision's network."""
    import torch
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    layout = torch.channels_last if name.endswith("last") else torch.contiguous_format
    classes = TASKS[kind][1]
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=layout)
    if kind == "segmentation":
        net = lraspp_mobilenet_v3_large(num_classes=classes, weights=None, weights_backbone=None).train()
        labels = (torch.arange(batch * size * size) % classes).reshape(batch, size, size)
        pixel_loss = torch.nn.CrossEntropyLoss(ignore_index=255)

        def loss_of():
            return pixel_loss(net(images)["out"], labels)
    else:
        net = ssdlite320_mobilenet_v3_large(num_classes=classes + 1, weights=None, weights_backbone=None).train()
        box = torch.tensor([[0.2 * size, 0.3 * size, 0.6 * size, 0.8 * size]])
        targets = [{"boxes": box, "labels": torch.ones(1, dtype=torch.int64)} for _ in range(batch)]

        def loss_of():
            return sum(net(list(images), targets).values())
    net = net.to(memory_format=layout)
    optimizer = torch.optim.SGD(net.parameters(), 0.0, 0.9)

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def work(name: str, kind: str, batch: int, size: int) -> None:
    """Answer every line on standard input with the milliseconds of a step."""
    step = (own_step if "+" in name else peers_step)(name, kind, batch, size)
    begin = time.process_time()
    step()
    first = time.process_time() - begin
    step()

    def measure() -> float:
        start = time.perf_counter()
        step()
        return 1e3 * (time.perf_counter() - start)

    in_turns.serve(measure, first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="HEAD+BACKBONE")
    parser.add_argument("--task", choices=sorted(TASKS), default="segmentation")
    parser.add_argument("--torch-python", default=sys.executable, help="Python with torch and torchvision")
    parser.add_argument("--batch", type=int, help="4 for segmentation, 8 for detection")
    parser.add_argument("--size", type=int, help="512 for segmentation, 320 for detection")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--worker", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    networks, _, batch, size = TASKS[options.task]
    batch, size = options.batch or batch, options.size or size
    if options.worker:
        return work(options.worker, options.task, batch, size)
    names, workers = [*(options.networks or networks), *THEIRS], {}
    for name in names:
        python = sys.executable if "+" in name else options.torch_python
        workers[name], first = in_turns.start([
            python, os.path.abspath(__file__), "--task", options.task, "--batch", str(batch), "--size", str(size),
            "--worker", name])
        print(f"{name}: first step {first:.1f} s of processor time", flush=True)
    in_turns.tell(in_turns.rounds_of(workers, options.rounds), THEIRS)


if __name__ == "__main__":
    main()
