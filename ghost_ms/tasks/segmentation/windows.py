"""Evaluation of images at their own size: windows that slide over them at several scales (as mmsegmentation's)."""
import collections
from typing import Callable, Deque, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from ghost_ms.data.dataset import Dataset
from ghost_ms.data.decode import to_pillow
from ghost_ms.data.mixing import normalize_batch
from ghost_ms.data.transforms import FILTERS, Preprocessing

#: Gives logits (B, classes, H, W) of images as the network or file takes them.
Run = Callable[[np.ndarray], np.ndarray]


class _Layer:
    """A picture at one scale, and the sum of its windows' logits.

    Args:
        factor: that the picture is enlarged by; where it is then smaller than a window, the mean colour follows it.
    """

    def __init__(self, picture: Image.Image, factor: float, spec: Preprocessing):
        height, width = spec.input_size
        self.size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
        self.window = height, width
        pixels = np.asarray(picture.resize(self.size, FILTERS[spec.interpolation]))
        self.frame = np.empty((max(self.size[1], height), max(self.size[0], width), spec.channels), np.uint8)
        self.frame[:] = np.array(spec.colour, np.uint8)
        self.frame[:self.size[1], :self.size[0]] = pixels.reshape(self.size[1], self.size[0], spec.channels)
        self.places = [(top, left) for top in starts(self.frame.shape[0], height)
                       for left in starts(self.frame.shape[1], width)]
        self.total: Optional[np.ndarray] = None
        self.counts = np.zeros(self.frame.shape[:2], np.float32)

    def cut(self, place: Tuple[int, int]) -> np.ndarray:
        """A window, uint8 (H, W, C)."""
        return self.frame[place[0]:place[0] + self.window[0], place[1]:place[1] + self.window[1]]

    def add(self, place: Tuple[int, int], logits: np.ndarray) -> None:
        """Take a window's logits, (classes, H, W)."""
        if self.total is None:
            self.total = np.zeros((len(logits), *self.frame.shape[:2]), np.float32)
        rows, columns = (slice(start, start + extent) for start, extent in zip(place, self.window))
        self.total[:, rows, columns] += logits
        self.counts[rows, columns] += 1

    def logits(self, size: Tuple[int, int]) -> np.ndarray:
        """(classes, height, width) at a picture's (width, height), enlarged bilinearly."""
        assert self.total is not None
        own = (self.total / self.counts)[:, :self.size[1], :self.size[0]]
        return np.stack([np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(
            size, Image.Resampling.BILINEAR)) for plane in own])


class _Whole:
    """A picture on its way: its layers, and how many windows are still to come."""

    def __init__(self, picture: Image.Image, layers: Sequence[_Layer]):
        self.picture, self.layers = picture, layers
        self.missing = sum(len(layer.places) for layer in layers)

    def labels(self) -> np.ndarray:
        """The class of each pixel, (H, W): the largest of the sum of all layers' logits."""
        return np.asarray(sum(layer.logits(self.picture.size) for layer in self.layers)).argmax(0)


def predict(run: Run, example: np.ndarray, spec: Preprocessing, scales: Sequence[float],
            pictures: Iterable[Image.Image]) -> Iterator[np.ndarray]:
    """The class of each pixel of each picture, int (H, W), in their order; windows of several share a call.

    Args:
        run: images to logits, in calls like `example`.
        example: images as a call takes them, whose number and type all calls have.
        spec: of the network; its input is a window.
        scales: relative to an image whose short side is the window's.
    """
    waiting: Deque[_Whole] = collections.deque()
    batch: List[Tuple[_Whole, _Layer, Tuple[int, int]]] = []

    def call() -> None:
        windows = np.stack([layer.cut(place) for _, layer, place in batch])
        windows = np.concatenate([windows, np.repeat(windows[-1:], len(example) - len(batch), axis=0)])
        given = windows if example.dtype == np.uint8 else normalize_batch(windows, spec.mean, spec.std)
        for (whole, layer, place), logits in zip(batch, run(given)):
            layer.add(place, logits)
            whole.missing -= 1
        batch.clear()

    for picture in pictures:
        factors = [scale * min(spec.input_size) / min(picture.size) for scale in scales]
        whole = _Whole(picture, [_Layer(picture, factor, spec) for factor in factors])
        waiting.append(whole)
        for layer in whole.layers:
            for place in layer.places:
                batch.append((whole, layer, place))
                if len(batch) == len(example):
                    call()
        while waiting and not waiting[0].missing:
            yield waiting.popleft().labels()
    if batch:
        call()
    while waiting:
        yield waiting.popleft().labels()


def starts(whole: int, window: int) -> List[int]:
    """Where windows begin: every two thirds of one; the last ends where the image does."""
    step = max(1, window * 2 // 3)
    return [min(start, whole - window) for start in range(0, max(whole - window, 0) + step, step)
            if start == 0 or start - step + window < whole]


def picture_of(dataset: Dataset, sample: int, spec: Preprocessing) -> Image.Image:
    """A picture of a data set, upright; ValueError names a file that cannot be read."""
    try:
        return to_pillow(dataset.read(sample), spec.channels, spec.orient)
    except (ValueError, OSError) as error:
        raise ValueError(f"{dataset.name(sample)} cannot be read: {error}") from None
