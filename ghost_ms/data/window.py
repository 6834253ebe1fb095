"""A part of an enlarged image, with what belongs to it: map of labels, boxes."""
from typing import Tuple

import numpy as np
from PIL import Image

from ghost_ms.data import geometry


class Window:
    """A part of an enlarged image.

    Args:
        before: (width, height) of the image.
        whole: (width, height) of the enlarged one.
        start: (left, top) of the part in there; negative where the image does not fill it.
        size: (width, height) of the part.
    """

    def __init__(self, before: Tuple[int, int], whole: Tuple[int, int], start: Tuple[int, int], size: Tuple[int, int]):
        self.before, self.whole, self.start, self.size = before, whole, start, size
        self.move = geometry.compose([geometry.resized(before, whole), geometry.shifted(-start[0], -start[1])])

    def show(self, image: Image.Image, resample: int, fill: Tuple[int, ...]) -> Image.Image:
        """The part of the image, with a colour where there is none. Nothing larger than it is made."""
        starts = [max(0, start) for start in self.start]
        ends = [min(whole, start + size) for whole, start, size in zip(self.whole, self.start, self.size)]
        ratios = [before / whole for before, whole in zip(self.before, self.whole)]
        box = (starts[0] * ratios[0], starts[1] * ratios[1], min(self.before[0], ends[0] * ratios[0]),
               min(self.before[1], ends[1] * ratios[1]))
        part = image.resize((ends[0] - starts[0], ends[1] - starts[1]), resample, box)
        if part.size == self.size:
            return part
        frame = Image.new(image.mode, self.size, fill[0] if image.mode == "L" else fill)
        frame.paste(part, (starts[0] - self.start[0], starts[1] - self.start[1]))
        return frame

    def show_labels(self, labels: np.ndarray) -> np.ndarray:
        """The same part of a map, uint8 (height, width); 255 where there is no image."""
        return geometry.move_labels(self.move, labels, self.size)

    def show_boxes(self, boxes: np.ndarray) -> geometry.MovedBoxes:
        """The same part of boxes (N, 4), cut at its border."""
        return geometry.move_boxes(self.move, boxes, self.size)

    def share(self, labels: np.ndarray) -> float:
        """How much of what counts in the part is of its largest class; 0 where nothing counts."""
        counts = np.bincount(self.show_labels(labels).ravel(), minlength=256)[:geometry.IGNORE]
        return float(counts.max() / counts.sum()) if counts.any() else 0.0
