"""How images and their boxes become rows of batches: both through one geometry."""
from typing import Any, Optional, Tuple

import numpy as np
from PIL import Image

from ghost_ms.config import Config
from ghost_ms.data import geometry
from ghost_ms.data.boxes import Objects
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.decode import to_pillow
from ghost_ms.data.loader import Draws
from ghost_ms.data.mixing import normalize_batch
from ghost_ms.data.transforms import FILTERS, Preprocessing, color_jitter
from ghost_ms.data.window import Window
from ghost_ms.tasks.arguments import refuse_for_classes
from ghost_ms.tasks.detection.args import DetectionArgs
from ghost_ms.tasks.detection.matching import NONE
from ghost_ms.tasks.detection.postprocess import Detections

Arrays = Tuple[np.ndarray, ...]
#: Least overlaps of a crop with an object that it holds, of which one is drawn (arXiv 1512.02325, section 2.2), and
#: parts that are tried; smallest part of an image's width or height that a crop keeps.
OVERLAPS, TRIES, SMALLEST = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0), 40, 0.3
#: Purpose of the random numbers that draw a batch's size.
SIZE = 20
#: Shortest side in pixels of a box that is trained on.
SHORTEST = 1.0


class TrainingTransforms:
    """Images uint8 (B, H, W, C), which the training step normalises; boxes float32 (B, K, 4) in pixels of the input;
    labels int32 (B, K), -1 where there is no box.

    An image is enlarged by a random factor, shifted, cut or surrounded by the mean colour, mirrored, and its colours
    are changed (`augment.color_jitter`); perhaps it is cropped before (`crop`), perhaps it is one of four (`mosaic`).
    """

    targets = ("boxes", "labels")

    def __init__(self, config: Config, args: DetectionArgs, dataset: Dataset, preprocessing: Preprocessing):
        refuse_for_classes(config.augment, "detection", (
            "task.args.scale, crop and mosaic", "augment.horizontal_flip", "augment.color_jitter"))
        self.augment, self.args, self.dataset, self.preprocessing = config.augment, args, dataset, preprocessing
        self.filter = FILTERS[preprocessing.interpolation]
        height, width = preprocessing.input_size
        larger = next((size for size in args.sizes if size[0] > height or size[1] > width), None)
        if larger is not None:
            raise ValueError(f"task.args.sizes holds {larger[0]}x{larger[1]}, which is larger than the input, "
                             f"{height}x{width}; raise data.input_size")
        jitter = config.augment.color_jitter
        self.jitter = (jitter,) * 3 if isinstance(jitter, (int, float)) else tuple(jitter)

    def sample(self, picture: Any, sample: int, rng: Optional[np.random.Generator]) -> Arrays:
        spec = self.preprocessing
        image = to_pillow(picture, spec.channels)
        height, width = spec.input_size
        if self.args.mosaic and rng.random() < self.args.mosaic:
            canvas, boxes, labels = self._mosaic(image, sample, rng)
        else:
            canvas, boxes, labels = self._one(image, sample, (width, height), rng)
        if rng.random() < self.augment.horizontal_flip:
            canvas = canvas.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
        if any(self.jitter):
            canvas = color_jitter(canvas, self.jitter, rng)
        return (np.asarray(canvas).reshape(height, width, spec.channels), *self._rows(boxes, labels))

    def _rows(self, boxes: np.ndarray, labels: np.ndarray) -> Arrays:
        """The boxes as a fixed number of rows, of too many the largest."""
        most = self.args.max_objects
        if len(boxes) > most:
            kept = np.sort(np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], 1), kind="stable")[:most])
            boxes, labels = boxes[kept], labels[kept]
        filled = np.zeros((most, 4), np.float32)
        numbers = np.full(most, NONE, np.int32)
        filled[:len(boxes)], numbers[:len(boxes)] = boxes, labels
        return filled, numbers

    def _one(self, image: Image.Image, sample: int, size: Tuple[int, int],
             rng: np.random.Generator) -> Tuple[Image.Image, np.ndarray, np.ndarray]:
        """An image in a frame of (width, height), with its boxes and labels."""
        found = trained(self.dataset.target(sample), image.size)  # type: ignore[misc]
        window = self._window(image.size, size, found, rng)
        moved = window.show_boxes(found.boxes)
        kept = moved.kept(self.args.min_visible, SHORTEST)
        return window.show(image, self.filter, self.preprocessing.colour), moved.boxes[kept], found.labels[kept]

    def _window(self, image: Tuple[int, int], size: Tuple[int, int], found: Objects,
                rng: np.random.Generator) -> Window:
        low, high = self.args.scale
        factor = low + (high - low) * rng.random()
        part = (0.0, 0.0, float(image[0]), float(image[1]))
        if self.args.crop and rng.random() < self.args.crop:
            part = crop_of(image, found.boxes, rng)
        scale = factor * min(extent / (end - start) for extent, start, end in zip(size, part[:2], part[2:]))
        whole = tuple(max(1, round(extent * scale)) for extent in image)
        start = []
        for axis in range(2):
            # All of the part is shown where it fits, else as much of it as does.
            first, last = part[axis] * scale, part[axis + 2] * scale - size[axis]
            low_end, high_end = sorted((first, last))
            start.append(int(rng.integers(int(np.floor(low_end)), int(np.ceil(high_end)) + 1)))
        return Window(image, whole, tuple(start), size)  # type: ignore[arg-type]

    def _mosaic(self, image: Image.Image, sample: int,
                rng: np.random.Generator) -> Tuple[Image.Image, np.ndarray, np.ndarray]:
        """Four images about a random point (YOLOv4, arXiv 2004.10934, section 3.3)."""
        height, width = self.preprocessing.input_size
        x, y = (int(extent * rng.uniform(0.3, 0.7)) for extent in (width, height))
        places = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
        canvas, boxes, labels = Image.new(image.mode, (width, height)), [], []
        for number, (left, top, right, bottom) in enumerate(places):
            other = sample if number == 0 else int(rng.integers(self.dataset.size))
            picture = image if number == 0 else self._read(other)
            if picture is None:
                other, picture = sample, image
            part, found, own = self._one(picture, other, (right - left, bottom - top), rng)
            canvas.paste(part, (left, top))
            boxes.append(found + np.array([left, top, left, top]))
            labels.append(own)
        return canvas, np.concatenate(boxes), np.concatenate(labels)

    def _read(self, sample: int) -> Optional[Image.Image]:
        """Another image; None where it cannot be read, and the first one takes its place."""
        try:
            return to_pillow(self.dataset.read(sample), self.preprocessing.channels, self.preprocessing.orient)
        except (ValueError, OSError):
            return None

    def collate(self, pixels: np.ndarray, targets: Arrays, draws: Optional[Draws]) -> Tuple[np.ndarray, Arrays]:
        if not self.args.sizes:
            return pixels, targets
        sizes = self.args.sizes
        height, width = sizes[int(draws.batch(SIZE).integers(len(sizes)))]  # type: ignore[union-attr]
        before = pixels.shape[1:3]
        if (height, width) == before:
            return pixels, targets
        grey = pixels.shape[3] == 1
        resized = [np.asarray(Image.fromarray(image[..., 0] if grey else image).resize((width, height), self.filter))
                   for image in pixels]
        scale = np.array([width / before[1], height / before[0]] * 2, np.float32)
        return np.stack(resized).reshape(-1, height, width, pixels.shape[3]), (targets[0] * scale, targets[1])


def trained(found: Objects, image: Tuple[int, int]) -> Objects:
    """The objects that are trained on: no crowds, none without area in an image of (width, height), the others cut at
    its border."""
    boxes = np.clip(found.boxes, 0, np.tile(np.asarray(image, np.float64), 2))
    kept = ~found.crowd & (boxes[:, 2:] > boxes[:, :2]).all(1)
    return Objects(boxes[kept], found.labels[kept], found.crowd[kept], found.areas[kept])


def crop_of(image: Tuple[int, int], boxes: np.ndarray, rng: np.random.Generator) -> Tuple[float, float, float, float]:
    """A part of an image of (width, height), left, top, right, bottom, that holds the middle of an object and overlaps
    one such by a least IoU that is drawn; the whole image where no such part is found, or by chance."""
    whole = (0.0, 0.0, float(image[0]), float(image[1]))
    choice = int(rng.integers(len(OVERLAPS) + 1))
    if choice == len(OVERLAPS) or not len(boxes):
        return whole
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], 1)
    for _ in range(TRIES):
        sides = rng.uniform(SMALLEST, 1, 2) * image
        start = rng.uniform(0, 1, 2) * (image - sides)
        if not 0.5 <= sides[0] / sides[1] <= 2:
            continue
        end = start + sides
        held = ((middles > start) & (middles < end)).all(1)
        if not held.any():
            continue
        shared = np.prod(np.clip(np.minimum(boxes[held, 2:], end) - np.maximum(boxes[held, :2], start), 0, None), 1)
        if (shared / (areas[held] + np.prod(sides) - shared)).max() >= OVERLAPS[choice]:
            return (*start.tolist(), *end.tolist())
    return whole


class EvaluationTransforms:
    """Images float32 (B, C, H, W), normalised, whole in the middle of the input; the number of each, int64 (B,), and
    its (width, height), int32 (B, 2)."""

    targets = ("numbers", "sizes")

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing):
        self.dataset, self.preprocessing = dataset, preprocessing

    def sample(self, picture: Any, sample: int, rng: Optional[np.random.Generator]) -> Arrays:
        spec = self.preprocessing
        pixels = np.asarray(spec.resize(picture)).reshape(*spec.input_size, spec.channels)
        return pixels, np.int64(sample), np.array(picture.size, np.int32)

    def collate(self, pixels: np.ndarray, targets: Arrays, draws: Optional[Draws]) -> Tuple[np.ndarray, Arrays]:
        return normalize_batch(pixels, self.preprocessing.mean, self.preprocessing.std), targets


def to_photograph(found: Detections, frame: geometry.Frame, size: Tuple[int, int]) -> Detections:
    """Detections in pixels of the input as those in pixels of the image, (width, height), within it; what lies in the
    border around it alone is left out."""
    shift = np.array([frame.left, frame.top] * 2, np.float64)
    scale = np.array([size[0] / frame.inner[0], size[1] / frame.inner[1]] * 2)
    boxes = np.clip((found.boxes - shift) * scale, 0, np.array(size * 2, np.float64)).astype(np.float32)
    inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return Detections(boxes[inside], found.scores[inside], found.labels[inside])
