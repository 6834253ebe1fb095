"""The images that a quantised network is calibrated and judged with."""
import os
import sys
from typing import Callable, Iterator, List, Optional, Sequence

import numpy as np

from ghost_ms import config as recipes
from ghost_ms.checkpoints.reconcile import Wish, settle
from ghost_ms.core import scores
from ghost_ms.core.text import printable
from ghost_ms.data.datasets import Dataset, open_source
from ghost_ms.data.decode import read_image_file
from ghost_ms.data.images import find_images, passed_over_line
from ghost_ms.runtime.sidecar import Sidecar
from ghost_ms.tasks.classification.predict import as_input

RECIPES = (".yaml", ".yml")
#: Images of a call of a file whose batch is open.
BATCH = 16


def open_images(where: str, split: str = "train", root: Optional[str] = None,
                classes: Optional[Sequence[str]] = None) -> Dataset:
    """The images of a folder, those in folders below it included, or a split of a recipe's data set; what is passed
    over there is said on stderr.

    Args:
        where: folder, or recipe (.yaml).
        split: of the recipe's data set, 'train', 'val' or 'test'.
        root: folder of the recipe's data set, where the recipe does not name it.
        classes: the order that the labels of a recipe's data set follow; see `open_source`.

    Raises:
        FileNotFoundError, ValueError: there is no such folder or recipe, or no image in it.
    """
    if where.endswith(RECIPES):
        recipe = recipes.load(where, ["--data.root", root] if root else [])
        source = open_source(recipe.data, split, classes)
    else:
        source = _folder(where, root)
    for note in source.notes:
        print(note, file=sys.stderr)
    return source


def differences(where: str, sidecar: Sidecar, path: str) -> List[str]:
    """A sentence for every key in which a recipe (.yaml) would bring images to a network otherwise than an exported
    file's sidecar does, which holds; none for a folder."""
    if not where.endswith(RECIPES):
        return []
    return settle(sidecar.preprocessing, f"'{printable(path)}'", Wish(recipes.load(where), file=where))[1]


def _folder(where: str, root: Optional[str]) -> Dataset:
    if root:
        raise ValueError(f"--root belongs to a recipe (.yaml), and --calibrate is '{where}'; leave it out")
    if not os.path.isdir(where):
        raise FileNotFoundError(f"there is no folder of images '{printable(where)}' (--calibrate takes a folder or a "
                                "recipe)")
    found = find_images(where)
    line = passed_over_line(found.passed_over, where)
    if not found.paths:
        raise ValueError(f"folder '{printable(where)}' holds no image that can be decoded here"
                         + (line and f" ({line})"))
    paths = found.paths
    return Dataset([], np.zeros(len(paths), np.int32), 3, True, lambda sample: read_image_file(paths[sample]), paths,
                  where, [line] if line else [])


def draw(source: Dataset, samples: int, sidecar: Sidecar) -> np.ndarray:
    """That many images (all where there are fewer), evenly spaced, so that sorted classes all appear; as the exported
    file takes them, (N, C, H, W) or (N, H, W, C)."""
    places = np.unique(np.linspace(0, source.size - 1, min(samples, source.size)).round().astype(int))
    return read(source, places, sidecar)


def read(source: Dataset, places: Sequence[int], sidecar: Sidecar) -> np.ndarray:
    """The images at some places; ValueError names one that cannot be read."""
    images = []
    for place in places:
        try:
            images.append(as_input(source.read(place), sidecar.preprocessing, sidecar.form.in_graph))
        except OSError as error:
            raise ValueError(f"cannot read '{source.name(place)}': {error.strerror}") from None
        except ValueError as error:
            raise ValueError(f"'{source.name(place)}' is {error}") from None
    return np.stack(images)


def batches(images: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """The images in calls of a file: of `batch_size` images each, the last one filled up by repeating its last image;
    with an open batch (0) the last one is smaller."""
    size = batch_size or BATCH
    for start in range(0, len(images), size):
        batch = images[start:start + size]
        yield np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), 0)]) if batch_size else batch


def run_all(run: Callable[[np.ndarray], np.ndarray], images: np.ndarray, batch_size: int) -> np.ndarray:
    """The outputs (N, classes) for all images."""
    return np.concatenate([run(batch) for batch in batches(images, batch_size)])[:len(images)]


def accuracy(run: Callable[[np.ndarray], np.ndarray], source: Dataset, sidecar: Sidecar) -> float:
    """Top-1 in percent of a file on all images of a labelled source; ValueError where an output is not finite, or an
    image may have several labels."""
    if source.multi_label:
        raise ValueError("an image of this data may have several labels, so that there is no top-1 accuracy; leave "
                         "--evaluate out, and measure both files with `ghost-ms eval --file`")
    hits = 0
    for start in range(0, source.size, 64):
        places = range(start, min(start + 64, source.size))
        output = run_all(run, read(source, places, sidecar), sidecar.batch_size)
        hits += int((scores.best(output, "the file") == source.labels[start:start + 64]).sum())
    return 100 * hits / source.size
