"""Exported files of every kind as functions, and images in the calls that such a file takes."""
import contextlib
import os
from typing import Any, Callable, Iterator, List, Sequence

import numpy as np

from ghost_ms.data.dataset import Dataset
from ghost_ms.runtime.lite import LiteModel
from ghost_ms.runtime.mindir import MindirModel
from ghost_ms.runtime.sidecar import Sidecar

#: Images of a call of a file whose batch is open.
BATCH = 16


def run_file(path: str) -> Callable[[np.ndarray], Any]:
    """A function from images to outputs that runs an exported file: .mindir, .onnx, or .ms in MindSpore Lite.

    Raises:
        FileNotFoundError, ValueError: there is no such file, it is damaged, or its kind is not known.
    """
    kind = os.path.splitext(path)[1].lower()
    if kind == ".onnx":
        # ONNX Runtime is an extra, and its package takes a second to import.
        from ghost_ms.runtime.onnx import load_onnx

        return load_onnx(path)
    if kind == ".ms":
        return LiteModel(path)
    if kind == ".mindir":
        return MindirModel(path)
    raise ValueError(f"'{path}' is neither .mindir, .onnx nor .ms; `ghost-ms export` and `ghost-ms lite convert` write "
                     "these")


def read_images(dataset: Dataset, places: Sequence[int], sidecar: Sidecar) -> np.ndarray:
    """The images at some places of a data set as an exported file takes them, (N, C, H, W) or (N, H, W, C); ValueError
    names one that cannot be read."""
    images = []
    for place in places:
        with named(dataset, place):
            images.append(sidecar.form.prepare(dataset.read(place), sidecar.preprocessing))
    return np.stack(images)


@contextlib.contextmanager
def named(dataset: Dataset, place: int) -> Iterator[None]:
    """Errors about an image become a ValueError that names it."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"cannot read '{dataset.name(place)}': {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"'{dataset.name(place)}' is {error}") from None


def batches(images: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """The images in calls of a file: of `batch_size` images each, the last one filled up by repeating its last image;
    with an open batch (0) the last one is smaller."""
    size = batch_size or BATCH
    for start in range(0, len(images), size):
        batch = images[start:start + size]
        yield np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), 0)]) if batch_size else batch


def run_all(run: Callable[[np.ndarray], Any], images: np.ndarray, batch_size: int) -> List[np.ndarray]:
    """Every output (N, ...) of a file for all images."""
    found = [run(batch) for batch in batches(images, batch_size)]
    rows = [one if isinstance(one, (tuple, list)) else (one,) for one in found]
    return [np.concatenate(column)[:len(images)] for column in zip(*rows)]
