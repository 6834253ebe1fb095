"""What is done to a whole batch: normalising, random erasing, mixup and cutmix.

It runs in the data pipeline, beside the training step, on NumPy arrays: mixing in the compiled step would add the
cost of a pass over the images to every step, here it is hidden behind it. Everything random is a function of the
generator that the caller passes.
"""
import dataclasses
import math
from typing import Sequence, Tuple

import numpy as np


def normalize_batch(images: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """uint8 (B, H, W, C) to float32 (B, C, H, W), the same bits as `transforms.normalize`.

    A plane at a time: it stays in the cache, and NumPy lets other threads run meanwhile.
    """
    batch, height, width, channels = images.shape
    result = np.empty((batch, channels, height, width), np.float32)
    for image, planes in zip(images, result):
        for channel in range(channels):
            plane = np.divide(image[:, :, channel], np.float32(255), out=planes[channel])
            plane -= np.float32(mean[channel])
            plane /= np.float32(std[channel])
    return result


@dataclasses.dataclass(frozen=True)
class RandomErasing:
    """Random rectangles of a normalised image are replaced (arXiv 1708.04896), with timm's ranges.

    Args:
        probability: of an image being changed.
        mode: 'pixel' draws every value from a normal distribution, 'const' fills with zero (the mean colour).
        area: smallest and largest share of the image.
        aspect: smallest ratio of height and width; the largest is its inverse.
    """

    probability: float
    mode: str = "pixel"
    area: Tuple[float, float] = (0.02, 1 / 3)
    aspect: float = 0.3

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> None:
        """Change an image, float32 (C, H, W), in place."""
        if rng.random() >= self.probability:
            return
        channels, height, width = image.shape
        for _ in range(10):
            area = rng.uniform(*self.area) * height * width
            aspect = math.exp(rng.uniform(math.log(self.aspect), -math.log(self.aspect)))
            rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if rows < height and columns < width:
                top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
                patch = (channels, rows, columns)
                image[:, top:top + rows, left:left + columns] = \
                    rng.standard_normal(patch, np.float32) if self.mode == "pixel" else 0
                return


def soft_targets(labels: np.ndarray, classes: int, smoothing: float = 0.0) -> np.ndarray:
    """Labels (B,) to float32 (B, classes): smoothing / classes everywhere, and 1 - smoothing more at the label."""
    targets = np.full((len(labels), classes), smoothing / classes, np.float32)
    targets[np.arange(len(labels)), labels] += np.float32(1 - smoothing)
    return targets


def set_targets(labels: np.ndarray, outputs: int, smoothing: float = 0.0) -> np.ndarray:
    """Sets of labels, 0 or 1 (B, classes), to float32 (B, outputs): smoothing / outputs everywhere, and 1 - smoothing
    more at each label; outputs beyond the classes are never right."""
    targets = np.full((len(labels), outputs), smoothing / outputs, np.float32)
    targets[:, :labels.shape[1]] += labels * np.float32(1 - smoothing)
    return targets


@dataclasses.dataclass(frozen=True)
class Mixing:
    """Mixup (arXiv 1710.09412) and cutmix (arXiv 1905.04899) of a batch with itself in reverse, as in timm.

    Args:
        mixup, cutmix: parameters of the beta distributions; 0 turns one off.
        probability: of a batch being mixed.
        switch_probability: of cutmix, where both are on.
        classes: length of the targets.
        smoothing: of the targets.
    """

    mixup: float
    cutmix: float
    probability: float
    switch_probability: float
    classes: int
    smoothing: float

    def __call__(self, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change images, float32 (B, C, H, W), in place; returns the targets, float32 (B, classes).

        Args:
            labels: int (B,), or targets (B, classes) as `set_targets` gives them.
        """
        targets = labels if labels.ndim == 2 else soft_targets(labels, self.classes, self.smoothing)
        if rng.random() >= self.probability:
            return targets
        cut = self.cutmix > 0 and (not self.mixup or rng.random() < self.switch_probability)
        alpha = self.cutmix if cut else self.mixup
        share = rng.beta(alpha, alpha)
        if cut:
            share = _cutmix(images, share, rng)
        else:
            other = images[::-1] * np.float32(1 - share)
            images *= np.float32(share)
            images += other
        return targets * np.float32(share) + targets[::-1] * np.float32(1 - share)


def _cutmix(images: np.ndarray, share: float, rng: np.random.Generator) -> float:
    """Paste a rectangle of the reversed batch; returns the share of each image that stayed its own."""
    height, width = images.shape[2:]
    side = math.sqrt(1 - share)
    half_h, half_w = int(height * side) // 2, int(width * side) // 2
    y, x = int(rng.integers(height)), int(rng.integers(width))
    top, bottom = max(0, y - half_h), min(height, y + half_h)
    left, right = max(0, x - half_w), min(width, x + half_w)
    images[:, :, top:bottom, left:right] = images[::-1, :, top:bottom, left:right].copy()
    return 1 - (bottom - top) * (right - left) / (height * width)
