"""Where the pixels of an image went: affine maps, and boxes and label maps that follow them.

A map is a float64 array (2, 3), `[[a, b, c], [d, e, f]]`: the point (x, y) of the image before it lies at
(a x + b y + c, d x + e y + f) afterwards. Points are continuous, and (0, 0) is the image's upper left corner: the pixel
in column j and row i covers [j, j + 1) x [i, i + 1), and its centre is (j + 0.5, i + 0.5). Boxes are (left, top, right,
bottom) in the same coordinates, so that a box's width is right - left, without the + 1 of older data sets.
"""
import math
from typing import List, NamedTuple, Sequence, Tuple

import numpy as np
from PIL import Image

#: A map, float64 (2, 3).
Affine = np.ndarray
#: Maps in the order in which they were applied; what moves pixels appends to such a list where it is given one.
Moves = List[Affine]
#: Label of pixels that no loss and no metric counts.
IGNORE = 255


def affine(a: float, b: float, c: float, d: float, e: float, f: float) -> Affine:
    return np.array([[a, b, c], [d, e, f]], np.float64)


def identity() -> Affine:
    return affine(1, 0, 0, 0, 1, 0)


def shifted(x: float, y: float) -> Affine:
    """Everything moves by (x, y); a crop at (left, top) is `shifted(-left, -top)`."""
    return affine(1, 0, x, 0, 1, y)


def resized(before: Sequence[float], after: Sequence[float]) -> Affine:
    """An image of (width, height) `before` becomes one of `after`."""
    return affine(after[0] / before[0], 0, 0, 0, after[1] / before[1], 0)


def mirrored(width: float) -> Affine:
    """Left and right are exchanged in an image of that width."""
    return affine(-1, 0, width, 0, 1, 0)


def rotated(degrees: float, size: Sequence[float]) -> Affine:
    """A turn counterclockwise, as seen, about the centre of an image of (width, height) `size`."""
    angle, (x, y) = math.radians(degrees), (size[0] / 2, size[1] / 2)
    cos, sin = math.cos(angle), math.sin(angle)
    return affine(cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y)


def compose(moves: Sequence[Affine]) -> Affine:
    """One map for several, the first of which is applied first."""
    whole = np.eye(3)
    for move in moves:
        whole = _square(move) @ whole
    return whole[:2]


def invert(move: Affine) -> Affine:
    """The way back; LinAlgError for a map that flattens the image."""
    return np.linalg.inv(_square(move))[:2]


def _square(move: Affine) -> np.ndarray:
    return np.vstack([np.asarray(move, np.float64), [0.0, 0.0, 1.0]])


def move_points(move: Affine, points: np.ndarray) -> np.ndarray:
    """Points (N, 2) to float64 (N, 2)."""
    return np.asarray(points, np.float64).reshape(-1, 2) @ move[:, :2].T + move[:, 2]


class MovedBoxes(NamedTuple):
    """Boxes after a map.

    Args:
        boxes: float64 (N, 4), cut at the border of the image.
        share: float64 (N,), the part of each box's area that is left in the image; 0 where nothing is.
    """

    boxes: np.ndarray
    share: np.ndarray

    def kept(self, least: float = 0.0, side: float = 0.0) -> np.ndarray:
        """Which boxes are worth keeping, bool (N,): more than `least` of their area is left, and both sides are longer
        than `side` pixels. Labels are chosen by the same mask."""
        extents = self.boxes[:, 2:] - self.boxes[:, :2]
        return (self.share > least) & (extents > side).all(1)


def move_boxes(move: Affine, boxes: np.ndarray, size: Sequence[float]) -> MovedBoxes:
    """The upright boxes around what boxes (N, 4) become, cut at the border of an image of (width, height) `size`."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
    moved = move_points(move, corners).reshape(-1, 4, 2)
    whole = np.concatenate([moved.min(1), moved.max(1)], 1)
    cut = np.clip(whole, 0, np.tile(np.asarray(size, np.float64), 2))
    return MovedBoxes(cut, _areas(cut) / np.maximum(_areas(whole), 1e-12))


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)


def move_labels(move: Affine, labels: np.ndarray, size: Tuple[int, int], fill: int = IGNORE) -> np.ndarray:
    """A map of labels, uint8 (H, W), moved as its image was: each pixel of the result, uint8 (height, width), takes the
    label that lies under its centre; `fill` where the image does not reach.

    Args:
        size: (width, height) of the image afterwards.
    """
    back = invert(move)
    picture = Image.fromarray(np.ascontiguousarray(labels, np.uint8))
    # Pillow asks for the way from a pixel's centre to the point that it shows, in the coordinates of this module.
    return np.asarray(picture.transform(size, Image.Transform.AFFINE, back.ravel().tolist(), Image.Resampling.NEAREST,
                                        fillcolor=fill))


class Frame(NamedTuple):
    """Where an image lies in a frame that it was brought into without changing its shape.

    Args:
        inner: (width, height) that it has there.
        left, top: of its upper left corner.
    """

    inner: Tuple[int, int]
    left: int
    top: int

    @classmethod
    def around(cls, image: Sequence[int], frame: Sequence[int], centre: bool = True) -> "Frame":
        """Of an image of (width, height) in a frame of (width, height), in its middle or its upper left corner."""
        scale = min(frame[0] / image[0], frame[1] / image[1])
        inner = max(1, round(image[0] * scale)), max(1, round(image[1] * scale))
        left, top = ((frame[0] - inner[0]) // 2, (frame[1] - inner[1]) // 2) if centre else (0, 0)
        return cls(inner, left, top)

    def moves(self, image: Sequence[int]) -> Moves:
        """The maps from an image of (width, height) to the frame."""
        return [resized(image, self.inner), shifted(self.left, self.top)]

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The image's part of an array (..., height, width) of the frame."""
        return array[..., self.top:self.top + self.inner[1], self.left:self.left + self.inner[0]]


def letterbox(image: Image.Image, size: Tuple[int, int], resample: int = Image.Resampling.BILINEAR,
              fill: Tuple[int, ...] = (114, 114, 114), centre: bool = True) -> Tuple[Image.Image, Affine]:
    """An image brought into a frame without changing its shape, and the map that did it.

    Args:
        size: (width, height) of the frame.
        resample: filter of Pillow, antialiased.
        fill: colour of the border, a value for each channel.
        centre: put the image into the middle of the frame; otherwise into its upper left corner.
    """
    place = Frame.around(image.size, size, centre)
    frame = Image.new(image.mode, size, fill[0] if image.mode == "L" else fill)
    frame.paste(image.resize(place.inner, resample), (place.left, place.top))
    return frame, compose(place.moves(image.size))
