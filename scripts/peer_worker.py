"""The measuring half of compare_peers.py: one network of MindCV or timm in one process, in its own environment.

Speaks as `ghost_ms.analysis.measure.bench_worker`, whose loop it uses; that needs NumPy alone, so it runs beside torch
too.
"""
import os
import time
from typing import Callable

import numpy as np

from ghost_ms.analysis.measure.bench_worker import main, prepare, random_images


def _timm(task: dict) -> tuple:
    """(timm's network as it is deployed, images, seconds that building took)."""
    import timm
    import torch
    from timm.utils.model import reparameterize_model

    torch.set_num_threads(task["threads"])
    start = time.perf_counter()
    net = reparameterize_model(timm.create_model(task["model"]).eval())
    return net, torch.from_numpy(random_images(task)), time.perf_counter() - start


def _size_mb(net) -> float:
    return sum(p.nbytes for p in net.parameters()) / 1e6


def _in_torch(net, images, run: Callable, build: float) -> tuple:
    import torch

    def infer() -> np.ndarray:
        with torch.inference_mode():
            return run(images).numpy()

    return prepare(infer, build_s=build, size_mb=_size_mb(net))


def timm_eager(task: dict, _: str) -> tuple:
    """timm's network, operator by operator."""
    net, images, build = _timm(task)
    return _in_torch(net, images, net, build)


def timm_channels_last(task: dict, _: str) -> tuple:
    """timm's network, operator by operator, its maps with the channels last in memory."""
    import torch

    net, images, build = _timm(task)
    net, images = net.to(memory_format=torch.channels_last), images.contiguous(memory_format=torch.channels_last)
    return _in_torch(net, images, net, build)


def timm_step(task: dict, _: str) -> tuple:
    """A training step of timm's network: forward, gradients, SGD with momentum."""
    import torch

    return _step(task, torch.contiguous_format)


def timm_step_channels_last(task: dict, _: str) -> tuple:
    """The same, its maps with the channels last in memory."""
    import torch

    return _step(task, torch.channels_last)


def _step(task: dict, layout) -> tuple:
    import timm
    import torch

    torch.set_num_threads(task["threads"])
    start = time.perf_counter()
    net = timm.create_model(task["model"]).train().to(memory_format=layout)
    images = torch.from_numpy(random_images(task)).contiguous(memory_format=layout)
    labels = torch.arange(task["batch"])
    # A rate of 0, since hundreds of steps on one batch of noise would diverge; the work is the same.
    optimizer = torch.optim.SGD(net.parameters(), 0.0, 0.9)
    loss_of = torch.nn.CrossEntropyLoss()

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return prepare(step, build_s=time.perf_counter() - start, size_mb=_size_mb(net))


def timm_compile(task: dict, _: str) -> tuple:
    """timm's network under torch.compile with its default settings."""
    import torch

    net, images, build = _timm(task)
    return _in_torch(net, images, torch.compile(net), build)


def timm_onnx(task: dict, folder: str) -> tuple:
    """timm's network as torch.onnx.export writes it, in ONNX Runtime."""
    import onnxruntime
    import torch

    start = time.perf_counter()
    net, images, _ = _timm(task)
    path = os.path.join(folder, "net.onnx")
    torch.onnx.export(net, (images,), path, external_data=False)
    build = time.perf_counter() - start
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task["threads"]
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images.numpy()}
    return prepare(lambda: session.run(None, feed), build_s=build, size_mb=os.path.getsize(path) / 1e6)


def mindcv(task: dict, _: str) -> tuple:
    """MindCV's network in graph mode."""
    import logging

    import mindspore as ms

    from ghost_ms.core import device

    device.setup("CPU")
    logging.disable(logging.INFO)
    import mindcv as theirs

    start = time.perf_counter()
    net = theirs.create_model(task["model"]).set_train(False)
    build, images = time.perf_counter() - start, ms.Tensor(random_images(task))
    size = sum(p.nbytes for p in net.get_parameters()) / 1e6
    return prepare(lambda: net(images).asnumpy(), build_s=build, size_mb=size)


if __name__ == "__main__":
    main({"mindcv": mindcv, "timm eager": timm_eager, "timm compile": timm_compile, "timm onnx": timm_onnx,
          "timm channels-last": timm_channels_last, "timm step": timm_step,
          "timm step channels-last": timm_step_channels_last})
