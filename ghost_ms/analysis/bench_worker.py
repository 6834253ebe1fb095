"""One network in one process, timed on request: the measuring half of `ghost-ms bench`.

Speaks JSON, a line a message, on standard input and output. First comes the task (model, backend, batch, input_size,
threads); the answer tells what preparing took. Each further line {"calls": n} is answered by the milliseconds of n
calls. At the end of the input the process prints its peak memory and ends.
"""
import dataclasses
import json
import os
import resource
import sys
import tempfile
import time
from typing import Callable, Dict, Tuple


def main() -> None:
    """Answer the messages of the parent process."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What libraries print must not mix with the answers.
    task = json.loads(sys.stdin.readline())
    _limit_threads(task["threads"])
    try:
        answer, run = BACKENDS[task["backend"]](task)
    except (ValueError, OSError, ImportError) as error:
        answer, run = {"error": " ".join(str(error).split())}, None
    print(json.dumps(answer), file=out, flush=True)
    if run is None:
        return
    for line in sys.stdin:
        times = []
        for _ in range(json.loads(line)["calls"]):
            start = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - start))
        print(json.dumps({"ms": times}), file=out, flush=True)
    print(json.dumps({"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}), file=out, flush=True)


def _limit_threads(threads: int) -> None:
    """No more cores than threads, whatever the pools of a library count; set before any library is imported."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:threads])


def _network(task: dict) -> tuple:
    """(network with random weights, float32 images, seconds that building took)."""
    import numpy as np

    from ghost_ms import create_model, device

    device.setup("CPU")
    size = tuple(task["input_size"])
    start = time.perf_counter()
    net = create_model(task["model"], input_size=size)
    seconds = time.perf_counter() - start
    shape = (task["batch"], 3, *size)
    return net, np.random.default_rng(0).standard_normal(shape).astype(np.float32), seconds


def _prepare(run: Callable[[], object], **answer: float) -> Tuple[Dict[str, float], Callable[[], object]]:
    """The first call, which compiles, is part of the preparation."""
    start = time.perf_counter()
    run()
    return {**answer, "compile_s": time.perf_counter() - start}, run


def mindspore(task: dict) -> tuple:
    """The deploy form in graph mode."""
    import mindspore as ms

    from ghost_ms.deploy.fuse import to_deploy_form

    net, images, build = _network(task)
    net, images = to_deploy_form(net), ms.Tensor(images)
    size = sum(p.nbytes for p in net.get_parameters()) / 1e6
    return _prepare(lambda: net(images).asnumpy(), build_s=build, size_mb=size)


def train(task: dict) -> tuple:
    """A step of training in graph mode: forward, gradients, update by SGD with momentum."""
    import mindspore as ms
    from mindspore import nn

    from ghost_ms import model_card

    net, images, build = _network(task)
    optimizer = nn.SGD(net.trainable_params(), 0.01, 0.9, weight_decay=4e-5)
    step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.CrossEntropyLoss()), optimizer).set_train()
    labels = ms.Tensor([index % model_card(task["model"]).num_classes for index in range(task["batch"])], ms.int32)
    images = ms.Tensor(images)
    size = sum(p.nbytes for p in net.get_parameters()) / 1e6
    return _prepare(lambda: step(images, labels).asnumpy(), build_s=build, size_mb=size)


def mindir(task: dict) -> tuple:
    """The exported file."""
    import mindspore as ms

    from ghost_ms.deploy.export import export_mindir, load_mindir
    from ghost_ms.deploy.resolve import describe

    net, images, build = _network(task)
    description, images = describe(task["model"]), ms.Tensor(images)
    description.preprocessing = dataclasses.replace(description.preprocessing, input_size=images.shape[2:])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "net.mindir")
        report = export_mindir(net, description, path, task["batch"])
        size, cell = os.path.getsize(path) / 1e6, load_mindir(path)
    return _prepare(lambda: cell(images).asnumpy(), build_s=build + report["seconds"], size_mb=size)


BACKENDS = {"mindspore": mindspore, "train": train, "mindir": mindir}

if __name__ == "__main__":
    main()
