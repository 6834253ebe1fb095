"""One network in one process, timed on request: the measuring half of `ghost-ms bench`.

Speaks lines of JSON (`core.talk`). First comes the task (model, backend, batch, input_size, threads); the answer tells
what preparing took. Each further line {"calls": n} is answered by the milliseconds of n calls, {"profile": n} by the
operators' (`operator_times`). At the end of the input the process tells its peak memory and ends.
"""
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from typing import Callable, Dict, List, Tuple

import numpy as np

from ghost_ms.analysis.measure.operator_times import operator_times
from ghost_ms.core import interpreter, talk

#: Steps that have a learning rate; more than a process is asked for.
STEPS = 100_000
#: Milliseconds of each of some calls; at the end, the peak memory in MB.
Measure = Callable[[int], List[float]]
Peak = Callable[[], float]


def main(backends: Dict[str, Callable[[dict, str], tuple]]) -> None:
    """Answer the messages of the parent process; a backend takes the task and a folder for its files."""
    tell = talk.speaker()
    task = json.loads(sys.stdin.readline())
    take_cores(task["threads"])
    with tempfile.TemporaryDirectory() as folder:
        try:
            answer, measure, peak = backends[task["backend"]](task, folder)
        except (ValueError, OSError) as error:
            tell(error=" ".join(str(error).split()))
            return
        tell(**answer)
        for line in sys.stdin:
            message = json.loads(line)
            if "profile" in message:
                tell(profile=operator_times(lambda: measure(1), message["profile"]))
            else:
                tell(ms=measure(message["calls"]))
        tell(peak_mb=peak())


def take_cores(threads: int, place: int = 0) -> None:
    """No more cores than threads, whatever the pools of a library count; other ones for each place, while there are."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        start = place * threads % len(cores)
        os.sched_setaffinity(0, (cores + cores)[start:start + threads])


def _network(task: dict) -> tuple:
    """(network with random weights, float32 images, seconds that building took)."""
    from ghost_ms.core import device
    from ghost_ms.factory import create_model

    device.setup("CPU")
    size = tuple(task["input_size"])
    start = time.perf_counter()
    net = create_model(task["model"], input_size=size)
    seconds = time.perf_counter() - start
    return net, random_images(task), seconds


def _processor_seconds() -> float:
    """Processor seconds of this process and of those it waited for, which do not depend on what else runs."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def prepare(run: Callable[[], object], **answer: float) -> Tuple[Dict[str, float], Measure, Peak]:
    """The first call, which compiles, is part of the preparation."""
    start = _processor_seconds()
    run()
    answer["compile_s"] = _processor_seconds() - start

    def measure(calls: int) -> List[float]:
        times = []
        for _ in range(calls):
            begin = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - begin))
        return times

    return answer, measure, lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def mindspore(task: dict, _: str) -> tuple:
    """The deploy form in graph mode."""
    import mindspore as ms

    from ghost_ms.kernels.swap import accelerate
    from ghost_ms.surgery.fold_norms import to_deploy_form
    from ghost_ms.tasks.base import as_outputs

    net, images, build = _network(task)
    net, images = to_deploy_form(net), ms.Tensor(images)
    accelerate(net, task["kernels"])
    size = sum(p.nbytes for p in net.get_parameters()) / 1e6
    return prepare(lambda: as_outputs(net(images)), build_s=build, size_mb=size)


def train(task: dict, _: str) -> tuple:
    """A step of this package's training in graph mode, as the defaults of a recipe make it.

    Images come as bytes and are normalised in the step; then forward, gradients, update, and the counting of loss and
    accuracy.
    """
    import mindspore as ms

    from ghost_ms.checkpoints.reconcile import wish_of
    from ghost_ms.checkpoints.resolve import by_name
    from ghost_ms.data.dataset import Dataset
    from ghost_ms.tasks.registry import create_task
    from ghost_ms.training.build import create_step

    net, _, build = _network(task)
    wish = wish_of(None, "", model__name=task["model"])
    description = by_name(wish)
    description.preprocessing = dataclasses.replace(description.preprocessing, input_size=tuple(task["input_size"]))
    size = sum(p.nbytes for p in net.get_parameters()) / 1e6
    # A rate of 0, since hundreds of steps on one batch of noise would diverge; the work is the same.
    pixels = np.random.default_rng(0).integers(0, 256, (task["batch"], *task["input_size"], 3), np.uint8)
    kind = create_task(description.task)
    dataset = Dataset(description.classes, np.zeros(1, np.int32), 3, False, lambda sample: pixels[sample])
    criterion = kind.criterion(wish.recipe, dataset, description)
    step = create_step(net, wish.recipe, [0.0] * STEPS, description, criterion,
                       kernels=task["kernels"]).set_train()
    images = ms.Tensor(pixels)
    targets = [ms.Tensor(target) for target in kind.example_targets(description, task["batch"])]
    return prepare(lambda: step(images, *targets)[0].asnumpy(), build_s=build, size_mb=size)


def _exported(task: dict, folder: str, kind: str) -> Tuple[str, dict]:
    """(path of the exported network, seconds that writing took); by a process whose memory does not count here."""
    path = os.path.join(folder, f"net.{kind}")
    command = ["export", "--model", task["model"], "--format", kind.upper(), "--batch_size", str(task["batch"]),
               "--input_size", *map(str, task["input_size"]), "--output", path]
    start = time.perf_counter()
    done = subprocess.run(interpreter.command("ghost_ms.cli", *command), capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr.strip().splitlines()[-1])
    return path, {"build_s": time.perf_counter() - start}


def random_images(task: dict) -> np.ndarray:
    shape = (task["batch"], 3, *task["input_size"])
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def mindir(task: dict, folder: str) -> tuple:
    """The exported file in MindSpore."""
    import mindspore as ms

    from ghost_ms.core import device
    from ghost_ms.runtime.mindir import load_mindir
    from ghost_ms.tasks.base import as_outputs

    path, answer = _exported(task, folder, "mindir")
    device.setup("CPU")
    net, images = load_mindir(path), ms.Tensor(random_images(task))
    return prepare(lambda: as_outputs(net(images)), size_mb=os.path.getsize(path) / 1e6, **answer)


def onnx(task: dict, folder: str) -> tuple:
    """The exported file in ONNX Runtime."""
    from ghost_ms.runtime.onnx import OnnxModel

    path, answer = _exported(task, folder, "onnx")
    # Our own file need not be looked through, whose memory would count.
    net, images = OnnxModel(path, path, task["threads"]), random_images(task)
    return prepare(lambda: net(images), size_mb=os.path.getsize(path) / 1e6, **answer)


def lite(task: dict, folder: str) -> tuple:
    """The exported file, converted for devices, in MindSpore Lite."""
    from ghost_ms.deploy.lite.convert import convert
    from ghost_ms.runtime.lite import LiteModel

    path, answer = _exported(task, folder, "onnx")
    start = _processor_seconds()
    convert(path, os.path.join(folder, "net.ms"))
    model = LiteModel(os.path.join(folder, "net.ms"), task["threads"])
    model(random_images(task))
    answer.update(compile_s=_processor_seconds() - start + model.facts["load_s"], size_mb=model.facts["size_mb"])
    return answer, model.time, model.close


BACKENDS = {"mindspore": mindspore, "train": train, "mindir": mindir, "onnx": onnx, "lite": lite}

if __name__ == "__main__":
    main(BACKENDS)
