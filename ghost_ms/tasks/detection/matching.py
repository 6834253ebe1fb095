"""Which anchors learn which boxes, in fixed shapes: images have rows for K boxes, of which some stand for none."""
from typing import Sequence, Tuple

import numpy as np
from mindspore import Tensor, ops

from ghost_ms.models import boxes as box_functions

#: Label of a row that is no box.
NONE = -1
#: What a match is besides the number of a box.
BACKGROUND, IGNORED = -1, -2


def _overlaps(boxes: Tensor, labels: Tensor, anchors: Tensor) -> Tensor:
    """IoU (B, K, N), -1 in the rows of no box."""
    found = box_functions.iou(boxes, anchors)
    return ops.select((labels != NONE).expand_dims(-1).broadcast_to(found.shape), found, -ops.ones_like(found))


def _best(overlaps: Tensor) -> Tuple[Tensor, Tensor]:
    """The box of the largest overlap with each anchor, and the overlap: int32 (B, N), float32 (B, N)."""
    return overlaps.argmax(1).astype("int32"), ops.amax(overlaps, 1)


def match(boxes: Tensor, labels: Tensor, anchors: Tensor, high: float, low: float) -> Tensor:
    """Each anchor's box by overlap, int32 (B, N): its number, `BACKGROUND` below `low`, `IGNORED` between (Faster
    R-CNN, arXiv 1506.01497, section 3.1.2).

    The anchors that overlap a box most have a match in any case: with the box that they overlap
    most themselves, as in torchvision.

    Args:
        boxes: (B, K, 4).
        labels: int32 (B, K), `NONE` for no box.
        anchors: (N, 4).
        high: overlap from which on an anchor is matched.
    """
    overlaps = _overlaps(boxes, labels, anchors)
    places, best = _best(overlaps)
    found = ops.select(best >= high, places, ops.full_like(places, IGNORED))
    found = ops.select(best < low, ops.full_like(places, BACKGROUND), found)
    largest = ops.amax(overlaps, 2, True)
    needed = ((overlaps == largest) & (largest >= 0)).astype("float32").sum(1) > 0
    return ops.select(needed, places, found)


def match_each(boxes: Tensor, labels: Tensor, anchors: Tensor, least: float) -> Tensor:
    """SSD's rule (arXiv 1512.02325, section 2.2), int32 (B, N): every box has its best anchor, and every other anchor
    the box that it overlaps most, from `least` on; `BACKGROUND` else. Arguments as those of `match`."""
    overlaps = _overlaps(boxes, labels, anchors)
    places, best = _best(overlaps)
    found = ops.select(best >= least, places, ops.full_like(places, BACKGROUND))
    count, anchors_there = overlaps.shape[1:]
    # A box that is symmetric about cells overlaps several anchors alike, but for rounding: the first is the best.
    alike = (overlaps >= ops.amax(overlaps, 2, True) - 1e-6).astype("float32")
    places_there = Tensor(np.arange(anchors_there, dtype=np.float32))
    first = ops.amin(places_there + (1 - alike) * float(anchors_there), 2, True)
    own = (places_there == first) & (labels != NONE).expand_dims(-1)
    numbers = Tensor(np.arange(count, dtype=np.int32).reshape(1, -1, 1)).broadcast_to(own.shape)
    # Of two boxes with the same best anchor the later one has it, as in torchvision.
    forced = ops.amax(ops.select(own, numbers, ops.full_like(numbers, BACKGROUND)).astype("float32"), 1).astype("int32")
    return ops.select(forced >= 0, forced, found)


def match_centres(boxes: Tensor, labels: Tensor, anchors: np.ndarray, levels: Sequence[int],
                  radius: float = 1.5) -> Tensor:
    """FCOS's rule (arXiv 1904.01355, section 3.2; with centre sampling), int32 (B, N): the smallest box whose middle
    lies within `radius` anchors of an anchor's centre, which lies inside the box, and whose farthest side is 4 to 8
    anchors away, on the first level up to 8, on the last from 4 on.

    Args:
        anchors: squares, float32 (N, 4).
        levels: anchors of each map.
    """
    centres, sizes = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2] - anchors[:, 0]
    lower, upper = 4 * sizes, 8 * sizes
    lower[:levels[0]], upper[-levels[-1]:] = 0, np.inf
    middles = ((boxes[:, :, :2] + boxes[:, :, 2:]) / 2).expand_dims(2)
    points = Tensor(centres.astype(np.float32))
    away = ops.amax((points - middles).abs(), 3)
    sides = ops.concat((points - boxes[:, :, :2].expand_dims(2), boxes[:, :, 2:].expand_dims(2) - points), 3)
    nearest, farthest = ops.amin(sides, 3), ops.amax(sides, 3)
    wanted = (away < Tensor((radius * sizes).astype(np.float32))) & (nearest > 0) \
        & (farthest > Tensor(lower.astype(np.float32))) & (farthest < Tensor(upper.astype(np.float32))) \
        & (labels != NONE).expand_dims(-1)
    small = 1e8 - box_functions.areas(boxes).expand_dims(-1)
    rank = wanted.astype("float32") * small
    return ops.select(ops.amax(rank, 1) >= 1e-5, rank.argmax(1).astype("int32"),
                      ops.full_like(rank[:, 0].astype("int32"), BACKGROUND))


def matched(matches: Tensor, boxes: Tensor, labels: Tensor, anchors: Tensor) -> Tuple[Tensor, Tensor]:
    """What the anchors are to say: boxes (B, N, 4), the anchor itself where it has none; labels int32 (B, N), `NONE`
    where it has none."""
    there = matches >= 0
    places = ops.select(there, matches, ops.zeros_like(matches))
    wanted = ops.gather(boxes, places, 1, 1)
    wanted = ops.select(there.expand_dims(-1).broadcast_to(wanted.shape), wanted, anchors.broadcast_to(wanted.shape))
    return wanted, ops.select(there, ops.gather(labels, places, 1, 1), ops.full_like(matches, NONE))
