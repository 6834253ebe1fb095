"""How images and their maps of labels become rows of batches: both through one geometry."""
from typing import Any, Optional, Tuple

import numpy as np
from PIL import Image

from ghost_ms.config import Config
from ghost_ms.data import geometry
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.decode import to_pillow
from ghost_ms.data.loader import Draws
from ghost_ms.data.mixing import normalize_batch
from ghost_ms.data.transforms import FILTERS, Preprocessing, color_jitter
from ghost_ms.data.window import Window
from ghost_ms.tasks.arguments import refuse_for_classes
from ghost_ms.tasks.segmentation.args import SegmentationArgs

Arrays = Tuple[np.ndarray, ...]
#: Crops that are drawn before one is taken although a class covers more of it than it may.
TRIES = 10


class TrainingTransforms:
    """Images uint8 (B, H, W, C), which the training step normalises, and maps int32 (B, H, W), 255 at what does not
    count.

    An image is enlarged by a random factor, cropped to the input's size, mirrored, and its colours are changed
    (`augment.color_jitter`). Where the enlarged image is smaller than the crop, the mean colour surrounds it, and
    255 its map.
    """

    targets = ("labels",)

    def __init__(self, config: Config, args: SegmentationArgs, dataset: Dataset, preprocessing: Preprocessing):
        refuse_for_classes(config.augment, "segmentation", ("task.args.scale", "augment.horizontal_flip",
                                                            "augment.color_jitter"))
        self.augment, self.args, self.dataset, self.preprocessing = config.augment, args, dataset, preprocessing
        self.filter = FILTERS[preprocessing.interpolation]
        jitter = config.augment.color_jitter
        self.jitter = (jitter,) * 3 if isinstance(jitter, (int, float)) else tuple(jitter)

    def sample(self, picture: Any, sample: int, rng: Optional[np.random.Generator]) -> Arrays:
        spec = self.preprocessing
        image, labels = to_pillow(picture, spec.channels), self.dataset.target(sample)  # type: ignore[misc]
        _check_size(image, labels, self.dataset.name(sample))
        place, mirrored = self._place(image.size, labels, rng)
        crop = place.show(image, self.filter, spec.colour)
        moved = place.show_labels(labels)
        if mirrored:
            crop, moved = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT), moved[:, ::-1]
        if any(self.jitter):
            crop = color_jitter(crop, self.jitter, rng)
        return np.asarray(crop).reshape(*spec.input_size, spec.channels), np.ascontiguousarray(moved)

    def _place(self, size: Tuple[int, int], labels: np.ndarray, rng: np.random.Generator) -> Tuple[Window, bool]:
        """The part of an image of (width, height) that is shown, and whether it is mirrored."""
        height, width = self.preprocessing.input_size
        low, high = self.args.scale
        factor = min(width, height) / min(size) * (low + (high - low) * rng.random())
        whole = max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
        mirrored = rng.random() < self.augment.horizontal_flip
        for _ in range(TRIES):
            left, top = (int(rng.integers(min(0, whole[axis] - extent), max(0, whole[axis] - extent) + 1))
                         for axis, extent in enumerate((width, height)))
            window = Window(size, whole, (left, top), (width, height))
            if self.args.max_class_share == 1 or window.share(labels) <= self.args.max_class_share:
                break
        return window, mirrored

    def collate(self, pixels: np.ndarray, targets: Arrays, draws: Optional[Draws]) -> Tuple[np.ndarray, Arrays]:
        return pixels, (targets[0].astype(np.int32),)


class EvaluationTransforms:
    """Images float32 (B, C, H, W), normalised, and maps uint8 (B, H, W): whole, in the middle of the input; 255 around
    them."""

    targets = ("labels",)

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing):
        self.dataset, self.preprocessing = dataset, preprocessing

    def sample(self, picture: Any, sample: int, rng: Optional[np.random.Generator]) -> Arrays:
        spec, labels = self.preprocessing, self.dataset.target(sample)  # type: ignore[misc]
        moves: geometry.Moves = []
        _check_size(picture, labels, self.dataset.name(sample))
        pixels = np.asarray(spec.resize(picture, moves)).reshape(*spec.input_size, spec.channels)
        return pixels, geometry.move_labels(geometry.compose(moves), labels, spec.input_size[::-1])

    def collate(self, pixels: np.ndarray, targets: Arrays, draws: Optional[Draws]) -> Tuple[np.ndarray, Arrays]:
        return normalize_batch(pixels, self.preprocessing.mean, self.preprocessing.std), targets


def _check_size(image: Image.Image, labels: np.ndarray, name: str) -> None:
    if labels.shape != image.size[::-1]:
        raise ValueError(f"the map of {name} is {labels.shape[1]}x{labels.shape[0]} pixels, and the image "
                         f"{image.width}x{image.height}: width and height have to agree")
