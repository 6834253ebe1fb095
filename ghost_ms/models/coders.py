"""What the raw outputs of a detector mean: its anchors, its boxes, its scores, and which of them are detections."""
from typing import List, NamedTuple, Sequence, Tuple

import numpy as np
from mindspore import Tensor, nn, ops

from ghost_ms.models import boxes as box_functions
from ghost_ms.models.anchors import Size, default_boxes, grid_anchors, map_size


class Limits(NamedTuple):
    """Which decoded boxes are detections; all of it can be chosen when the network is used.

    Args:
        score: a score has to lie above it.
        iou: of two boxes of one class that overlap by more than this the one of the lower score is dropped.
        detections: most of an image, the best.
        candidates: most scores that are looked at: of every class with `by_class`, else of every level.
        by_class: see `candidates`.
    """

    score: float
    iou: float
    detections: int
    candidates: int
    by_class: bool = False


class BoxCoder:
    """Of one-stage detectors: raw outputs (class logits (B, N, columns), box codes (B, N, 4)[, more]).

    Attributes:
        strides: of the maps, shallow to deep.
        first_class: column of the logits that the first class has; those before it are a background, or not used.
        per_cell: anchors of a cell.
        limits: usual ones.
    """

    strides: Tuple[int, ...] = (8, 16, 32, 64, 128)
    per_cell = 1
    limits: Limits

    def __init__(self, first_class: int = 0):
        self.first_class = first_class

    def levels(self, size: Size) -> List[int]:
        """Anchors of each map, for images of (height, width)."""
        return [self.per_cell * int(np.prod(map_size(size, stride))) for stride in self.strides]

    def anchors(self, size: Size) -> np.ndarray:
        """Boxes in pixels of images of (height, width), float32 (N, 4)."""
        raise NotImplementedError

    def boxes(self, raw: Tuple[Tensor, ...], anchors: Tensor) -> Tensor:
        """Raw outputs to boxes in pixels, (B, N, 4), not cut at the border."""
        raise NotImplementedError

    def scores(self, raw: Tuple[Tensor, ...]) -> Tensor:
        """Raw outputs to the classes' scores from 0 to 1, (B, N, classes)."""
        raise NotImplementedError


class SSDCoder(BoxCoder):
    """SSD's default boxes, codes with weights 10, 10, 5, 5, and a softmax with a background."""

    strides = (16, 32, 64, 128, 256, 512)
    per_cell = 6
    scales: Sequence[float] = (*np.linspace(0.2, 0.95, 6).tolist(), 1.0)
    weights = (10, 10, 5, 5)
    limits = Limits(0.001, 0.55, 300, 300, True)

    def __init__(self):
        super().__init__(1)

    def anchors(self, size: Size) -> np.ndarray:
        return default_boxes(size, self.strides, self.scales)

    def boxes(self, raw: Tuple[Tensor, ...], anchors: Tensor) -> Tensor:
        return box_functions.decode(raw[1], anchors, self.weights)

    def scores(self, raw: Tuple[Tensor, ...]) -> Tensor:
        return ops.softmax(raw[0], -1)[:, :, 1:]


class RetinaCoder(BoxCoder):
    """RetinaNet's nine anchors a cell, codes without weights, and a sigmoid of every class."""

    per_cell = 9
    ratios = (0.5, 1.0, 2.0)
    limits = Limits(0.05, 0.5, 300, 1000)

    def anchors(self, size: Size) -> np.ndarray:
        sizes = [[int(4 * stride * 2 ** (octave / 3)) for octave in range(3)] for stride in self.strides]
        return grid_anchors(size, self.strides, sizes, self.ratios)

    def boxes(self, raw: Tuple[Tensor, ...], anchors: Tensor) -> Tensor:
        return box_functions.decode(raw[1], anchors)

    def scores(self, raw: Tuple[Tensor, ...]) -> Tensor:
        return ops.sigmoid(raw[0] if self.first_class == 0 else raw[0][:, :, self.first_class:])


class FCOSCoder(BoxCoder):
    """FCOS: a square of the stride a cell, distances to its sides, and scores that the centreness weighs."""

    limits = Limits(0.2, 0.6, 100, 1000)

    def anchors(self, size: Size) -> np.ndarray:
        return grid_anchors(size, self.strides, [[stride] for stride in self.strides], (1.0,))

    def boxes(self, raw: Tuple[Tensor, ...], anchors: Tensor) -> Tensor:
        return box_functions.decode_distances(raw[1], anchors)

    def scores(self, raw: Tuple[Tensor, ...]) -> Tensor:
        logits = raw[0] if self.first_class == 0 else raw[0][:, :, self.first_class:]
        return ops.sqrt(ops.sigmoid(logits) * ops.sigmoid(raw[2]))


class Decoded(nn.Cell):
    """A detector whose raw outputs are decoded: images to boxes (B, N, 4) in pixels of the input, within it, and scores
    (B, N, classes). Nothing is left out; see `tasks.detection.postprocess.detections`.

    Args:
        net: the detector; shares its parameters.
        size: (height, width) of the images.
    """

    def __init__(self, net: nn.Cell, size: Size):
        super().__init__(auto_prefix=False)
        self.network, self.coder, self.size = net, net.coder, tuple(size)
        self.anchors = Tensor(net.coder.anchors(size))

    def construct(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        raw = self.network(x)
        return box_functions.clip(self.coder.boxes(raw, self.anchors), self.size), self.coder.scores(raw)
