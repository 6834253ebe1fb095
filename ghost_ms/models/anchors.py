"""The boxes that detectors start from, as constants of the input's size."""
import math
from typing import List, Sequence, Tuple

import numpy as np

Size = Tuple[int, int]


def map_size(size: Size, stride: int) -> Size:
    """(height, width) of a map of this stride to images of (height, width)."""
    return -(-size[0] // stride), -(-size[1] // stride)


def grid_anchors(size: Size, strides: Sequence[int], sizes: Sequence[Sequence[int]],
                 ratios: Sequence[float]) -> np.ndarray:
    """Anchors on the cells of a pyramid, float32 (N, 4): level by level, row by row, and of a cell ratio by ratio.

    As in torchvision, whose released networks need just these: the corners of the boxes about (0, 0) are rounded, the
    first cell's centre is the corner of the image, and cells lie image // map pixels apart.

    Args:
        size: (height, width) of the images.
        strides: of the maps.
        sizes: of each map, side of the square of the same area.
        ratios: height over width.
    """
    found = []
    for stride, own in zip(strides, sizes):
        rows, columns = map_size(size, stride)
        tall = np.sqrt(np.asarray(ratios, np.float32))
        widths, heights = (np.outer(side, np.asarray(own, np.float32)).ravel() for side in (1 / tall, tall))
        base = np.round(np.stack([-widths, -heights, widths, heights], 1) / 2)
        y, x = np.mgrid[:rows, :columns]
        corners = np.stack([x * (size[1] // columns), y * (size[0] // rows)] * 2, -1).reshape(-1, 1, 4)
        found.append((corners + base).reshape(-1, 4))
    return np.concatenate(found).astype(np.float32)


def default_boxes(size: Size, strides: Sequence[int], scales: Sequence[float],
                  ratios: Sequence[float] = (2, 3)) -> np.ndarray:
    """SSD's default boxes (arXiv 1512.02325, section 2.2; as torchvision's SSDLite has them), float32 (N, 4).

    Of each cell, about its middle: the map's scale, the geometric mean of it and the next one's, and of each ratio the
    wide and the tall box. Extents are relative to the image and at most 1.

    Args:
        size: (height, width) of the images.
        scales: of each map, and one more.
    """
    found = []
    for index, stride in enumerate(strides):
        rows, columns = map_size(size, stride)
        scale = scales[index]
        shapes: List[Tuple[float, float]] = [(scale, scale), (math.sqrt(scale * scales[index + 1]),) * 2]
        for ratio in ratios:
            wide, tall = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
            shapes += [(wide, tall), (tall, wide)]
        half = np.minimum(np.array(shapes), 1) / 2
        y, x = (np.mgrid[:rows, :columns] + 0.5) / np.array([rows, columns]).reshape(2, 1, 1)
        centres = np.stack([x, y], -1).reshape(-1, 1, 2)
        found.append(np.concatenate([centres - half, centres + half], -1).reshape(-1, 4))
    return (np.concatenate(found) * np.array([size[1], size[0]] * 2)).astype(np.float32)
