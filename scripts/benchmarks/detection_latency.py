"""Milliseconds from a normalised image to candidates: files of this package, and torchvision's SSDLite320, in turns.

    python scripts/benchmarks/detection_latency.py --torch-python ENV/bin/python

Ours are exported to ONNX and run in ONNX Runtime: SSDLite on GhostNetV2 1.0x for 80 classes, and torchvision's own
network for as many, of which the file is an exact copy; both decode their boxes. torchvision's runs eager in PyTorch,
backbone and head alone, in both layouts of memory. No suppression on either side; untrained weights, 320 pixels, one
image.
"""
import argparse
import os
import sys
import tempfile
import time
from typing import Callable

import in_turns
import numpy as np

OURS = ("ssdlite+ghostnetv2_100", "ssdlite320_mobilenet_v3_large")
THEIRS = ("torchvision", "torchvision channels-last")
CLASSES, SIZE = 80, 320


def own_call(name: str, threads: int) -> Callable[[], None]:
    """An exported file in ONNX Runtime."""
    from ghost_ms.checkpoints.reconcile import Wish, describe
    from ghost_ms.config import Config
    from ghost_ms.core import device
    from ghost_ms.deploy.export import export_onnx
    from ghost_ms.runtime.onnx import load_onnx

    device.setup("CPU")
    config = Config()
    config.task.name, config.data.input_size = "detection", (SIZE, SIZE)
    head, _, config.model.name = name.rpartition("+")
    config.task.head = head or None
    classes = [f"class {place}" for place in range(CLASSES)]
    spec = describe(Wish(config), 3, classes)
    if not head:
        spec.args["num_classes"] = CLASSES + 1
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "net.onnx")
        export_onnx(spec.build().set_train(False), spec, path)
        run = load_onnx(path, threads)
    images = np.random.default_rng(0).standard_normal((1, 3, SIZE, SIZE)).astype(np.float32)
    return lambda: run(images)


def peers_call(name: str, threads: int) -> Callable[[], None]:
    """torchvision's network."""
    import torch
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    torch.set_num_threads(threads)
    layout = torch.channels_last if name.endswith("last") else torch.contiguous_format
    net = ssdlite320_mobilenet_v3_large(num_classes=CLASSES + 1, weights=None, weights_backbone=None).eval()
    net = net.to(memory_format=layout)
    images = torch.randn(1, 3, SIZE, SIZE).contiguous(memory_format=layout)

    def call() -> None:
        with torch.inference_mode():
            net.head(list(net.backbone(images).values()))

    return call


def work(name: str, threads: int) -> None:
    """Answer every line on standard input with the milliseconds of a call."""
    call = (peers_call if name in THEIRS else own_call)(name, threads)
    for _ in range(3):
        call()

    def measure() -> float:
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - begin))
        return sorted(times)[2]

    in_turns.serve(measure, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", default=sys.executable, help="Python with torch and torchvision")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--worker", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options.worker, options.threads)
    workers = {}
    for name in (*OURS, *THEIRS):
        python = options.torch_python if name in THEIRS else sys.executable
        workers[name], _ = in_turns.start([python, os.path.abspath(__file__), "--threads", str(options.threads),
                                           "--worker", name])
    in_turns.tell(in_turns.rounds_of(workers, options.rounds), THEIRS, 1)


if __name__ == "__main__":
    main()
