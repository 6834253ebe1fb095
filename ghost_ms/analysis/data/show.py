"""What the network sees: images as the training step gets them, and as they are evaluated, in one picture."""
import dataclasses
import math
import warnings
from typing import List, NamedTuple, Sequence

import numpy as np

from ghost_ms.config import Config
from ghost_ms.core.files import whole_file
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.loader import TrainingBatches, evaluation_batches
from ghost_ms.data.transforms import Preprocessing, preprocessing_of
from ghost_ms.models import model_card
from ghost_ms.tasks.base import Task
from ghost_ms.tasks.registry import create_task

#: Images in a row.
COLUMNS = 8


class Panel(NamedTuple):
    """Images uint8 (N, H, W, C) and what stands above each and above all."""

    title: str
    images: np.ndarray
    names: List[str]


def panels(config: Config, count: int) -> List[Panel]:
    """The first images of the first epoch as the training step gets them, augmented and mixed; and images to evaluate
    on as the network gets them, spread over the split.

    Raises:
        ValueError, OSError: the data or an image cannot be read.
    """
    found = []
    task = create_task(config.task.name, config.task.args)
    for split in [split for split in task.splits(config.data) if split != "test"]:
        source = task.open(config.data, split)
        spec = preprocessing_of(model_card(config.model.name), config.data, config.model.in_channels or source.channels,
                                bool(config.task.head))
        make = _trained if split == "train" else _evaluated
        found.append(make(task, config, source, spec, min(count, source.size)))
    return found


def _trained(task: Task, config: Config, source: Dataset, spec: Preprocessing, count: int) -> Panel:
    batch = min(config.data.batch_size, source.size)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=batch))
    images: List[np.ndarray] = []
    names: List[str] = []
    for pixels, *targets in TrainingBatches(source, config, task.training(config, source, spec), 0):
        arrays = [target.asnumpy() for target in targets]
        images += list(task.shown(_bytes(pixels.asnumpy(), spec), arrays, source))
        names += task.captions(arrays, source, config.loss.label_smoothing)
        if len(images) >= count:
            break
    return Panel("training images as the network gets them in the first epoch", np.stack(images[:count]), names[:count])


def _evaluated(task: Task, config: Config, source: Dataset, spec: Preprocessing, count: int) -> Panel:
    chosen = source.subset(np.linspace(0, source.size - 1, count).round().astype(int))
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, eval_batch_size=count))
    pixels, *targets = next(evaluation_batches(chosen, config, task.evaluation(config, chosen, spec)))
    return Panel("images to evaluate on as the network gets them",
                 task.shown(_bytes(pixels, spec), targets, chosen), task.captions(targets, chosen, 0.0))


def _bytes(images: np.ndarray, spec: Preprocessing) -> np.ndarray:
    """Images as a network gets them as uint8 (N, H, W, C); what normalised ones have beyond black and white is cut."""
    if images.dtype == np.uint8:
        return images
    mean, std = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (spec.mean, spec.std))
    return np.clip((images * std + mean) * 255, 0, 255).round().astype(np.uint8).transpose(0, 2, 3, 1)


def draw(path: str, found: Sequence[Panel]) -> List[str]:
    """Write the panels as a PNG file; returns what is to be said of it. OSError where it cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [math.ceil(len(panel.images) / COLUMNS) for panel in found]
    figure = Figure(figsize=(1.6 * COLUMNS, 2 * sum(rows) + 0.5 * len(found)), layout="constrained")
    FigureCanvasAgg(figure)
    parts = np.atleast_1d(figure.subfigures(len(found), 1, height_ratios=rows))
    for part, panel, count in zip(parts, found, rows):
        part.suptitle(panel.title, fontsize=11)
        grid = part.subplots(count, COLUMNS, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, image, name in zip(grid, panel.images, panel.names):
            axes.imshow(image[:, :, 0] if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=255,
                        interpolation="nearest")
            # A name with two dollars would be set as a formula.
            axes.set_title(name, fontsize=8, parse_math=False)
    with warnings.catch_warnings(record=True) as said, whole_file(path) as temporary:
        warnings.simplefilter("always")
        figure.savefig(temporary, dpi=120, format="png")
    missing = any("missing from" in str(warning.message) for warning in said)
    return ["the fonts of matplotlib here lack characters of the classes' names, which become boxes"] if missing else []
