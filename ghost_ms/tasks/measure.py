"""An exported file of any task, measured on a split of labelled data."""
from typing import Any, Callable, Iterator, Tuple

import numpy as np

from ghost_ms.config import Config
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.decode import to_pillow
from ghost_ms.runtime import files
from ghost_ms.runtime.sidecar import Sidecar
from ghost_ms.tasks.base import Judgement, Task


def measure(run: Callable[[np.ndarray], Any], task: Task, recipe: Config, source: Dataset,
            sidecar: Sidecar) -> Judgement:
    """What a file makes of all images of a source.

    Args:
        run: the file as a function from images to its output, or to the tuple of its outputs.
        recipe: its data and evaluation sections say how images are read.
        sidecar: how many images a call takes, and how they are prepared.
    """
    return task.judge(run, _batches(task, recipe, source, sidecar), source, sidecar.spec(), sidecar.form.softmax)


def _batches(task: Task, recipe: Config, source: Dataset, sidecar: Sidecar) -> Iterator[Tuple[np.ndarray, ...]]:
    """(images as the file takes them, then the targets of the first b of them); the last call is filled up where it has
    to be."""
    transforms, spec = task.evaluation(recipe, source, sidecar.preprocessing), sidecar.preprocessing
    size = sidecar.batch_size or files.BATCH
    for start in range(0, source.size, size):
        rows = []
        for place in range(start, min(start + size, source.size)):
            with files.named(source, place):
                rows.append(transforms.sample(to_pillow(source.read(place), spec.channels, spec.orient), place, None))
        pixels, *targets = (np.stack(column) for column in zip(*rows))
        if not sidecar.form.in_graph:
            pixels, targets = transforms.collate(pixels, tuple(targets), None)
        images, = files.batches(pixels, sidecar.batch_size)
        yield (images, *targets)
