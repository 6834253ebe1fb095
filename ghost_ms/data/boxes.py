"""The objects in images: boxes and classes, of one image and of a whole split."""
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np


class Objects(NamedTuple):
    """The objects of an image, as its annotations have them.

    Args:
        boxes: float64 (n, 4), left, top, right, bottom in pixels of the image.
        labels: int32 (n,), numbers of their classes.
        crowd: bool (n,), those that nobody is to find: COCO's crowds, VOC's difficult ones.
        areas: float64 (n,), pixels.
    """

    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray

    @classmethod
    def none(cls) -> "Objects":
        return cls(np.zeros((0, 4)), np.zeros(0, np.int32), np.zeros(0, bool), np.zeros(0))


class Table(NamedTuple):
    """The objects of all images of a split, one below the other.

    Args:
        starts: int64 (images + 1,), where each image's rows begin.
        boxes: float64 (rows, 4), left, top, width, height in pixels.
        labels: int32 (rows,).
        crowd: bool (rows,).
        areas: float64 (rows,).
        sizes: int32 (images, 2), width and height; 0 where they are not known.
    """

    starts: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of_rows(cls, rows: Sequence[Objects], sizes: Sequence[Optional[Tuple[int, int]]]) -> "Table":
        def column(key: str, kind: Any, width: Tuple[int, ...] = ()) -> np.ndarray:
            return np.concatenate([np.zeros((0, *width)), *(getattr(one, key) for one in rows)]).astype(kind)

        boxes = column("boxes", np.float64, (4,))
        return cls(np.concatenate([[0], np.cumsum([len(one.labels) for one in rows])]).astype(np.int64),
                   np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1),
                   column("labels", np.int32), column("crowd", bool), column("areas", np.float64),
                   np.array([size or (0, 0) for size in sizes], np.int32).reshape(-1, 2))

    def of(self, sample: int) -> Objects:
        """The objects of an image."""
        rows = slice(self.starts[sample], self.starts[sample + 1])
        boxes = self.boxes[rows]
        return Objects(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1), self.labels[rows],
                       self.crowd[rows], self.areas[rows])

    def size_of(self, sample: int) -> Optional[Tuple[int, int]]:
        """(width, height) of an image as its annotations say; None where they do not."""
        width, height = self.sizes[sample].tolist()
        return (width, height) if width and height else None

    def notes(self) -> List[str]:
        """Sentences on what no training learns from."""
        found = []
        empty = int(((self.boxes[:, 2:] <= 0).any(1) & ~self.crowd).sum())
        if empty:
            found.append(f"{empty} boxes of no width or height are passed over in training")
        known = np.repeat((self.sizes > 0).all(1), np.diff(self.starts))
        limits = np.repeat(self.sizes, np.diff(self.starts), 0)
        ends = self.boxes[:, :2] + self.boxes[:, 2:]
        # Half a pixel is rounding.
        beyond = known & ((self.boxes[:, :2] < -1).any(1) | (ends > limits + 1).any(1))
        if beyond.any():
            found.append(f"{int(beyond.sum())} boxes reach beyond their image and are cut at its border in training")
        if self.crowd.any():
            found.append(f"{int(self.crowd.sum())} crowds or difficult objects are not trained on, and count neither "
                         "for nor against a detector")
        return found
