"""Boxes as (left, top, right, bottom) in pixels: overlap, codes relative to anchors, and back.

A box's width is right - left, as in torchvision and COCO, without the + 1 that MindSpore's own operators have. All
functions work on tensors (..., 4) of fixed shapes, in both modes and with gradients.
"""
import math
from typing import Sequence, Tuple

from mindspore import Tensor, ops

#: Largest logarithm of a ratio of extents that is decoded: codes beyond it would be boxes of absurd size.
LOG_CLIP = math.log(1000.0 / 16)


def extents(boxes: Tensor) -> Tensor:
    """(..., 4) to (width, height), (..., 2)."""
    return boxes[..., 2:] - boxes[..., :2]


def areas(boxes: Tensor) -> Tensor:
    """(..., 4) to (...)."""
    sizes = extents(boxes)
    return sizes[..., 0] * sizes[..., 1]


def _overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Areas that boxes (..., 4) share with boxes (..., 4), pair by pair after broadcasting."""
    low = ops.maximum(boxes[..., :2], others[..., :2])
    sizes = ops.relu(ops.minimum(boxes[..., 2:], others[..., 2:]) - low)
    return sizes[..., 0] * sizes[..., 1]


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of boxes (..., N, 4) with boxes (..., M, 4): (..., N, M); 0 where both are empty."""
    both = areas(boxes).expand_dims(-1) + areas(others).expand_dims(-2)
    # Side by side and brought to one shape before: on CPU a minimum that broadcasts takes eight times as long.
    one = [boxes[..., side].expand_dims(-1).broadcast_to(both.shape) for side in range(4)]
    other = [others[..., side].expand_dims(-2).broadcast_to(both.shape) for side in range(4)]
    width = ops.relu(ops.minimum(one[2], other[2]) - ops.maximum(one[0], other[0]))
    shared = width * ops.relu(ops.minimum(one[3], other[3]) - ops.maximum(one[1], other[1]))
    return shared / ops.maximum(both - shared, 1e-9)


def generalized_iou(boxes: Tensor, others: Tensor, epsilon: float = 1e-7) -> Tensor:
    """Generalized IoU (arXiv 1902.09630) of boxes (..., 4) with the boxes at the same places: (...)."""
    shared = _overlaps(boxes, others)
    union = areas(boxes) + areas(others) - shared
    low, high = ops.minimum(boxes[..., :2], others[..., :2]), ops.maximum(boxes[..., 2:], others[..., 2:])
    hull = areas(ops.concat((low, high), -1))
    return shared / (union + epsilon) - (hull - union) / (hull + epsilon)


def encode(boxes: Tensor, anchors: Tensor, weights: Sequence[float] = (1, 1, 1, 1)) -> Tensor:
    """Codes (..., 4) of boxes relative to the anchors at the same places (R-CNN, arXiv 1311.2524, appendix C).

    Offsets of the centres in extents of the anchor, and logarithms of the ratios of extents, each times its weight.
    Boxes and anchors have to have an area.
    """
    sizes, wanted = extents(anchors), extents(boxes)
    offsets = (boxes[..., :2] + 0.5 * wanted - anchors[..., :2] - 0.5 * sizes) / sizes
    return ops.concat((offsets * Tensor(list(weights[:2]), boxes.dtype),
                       ops.log(wanted / sizes) * Tensor(list(weights[2:]), boxes.dtype)), -1)


def decode(codes: Tensor, anchors: Tensor, weights: Sequence[float] = (1, 1, 1, 1)) -> Tensor:
    """The way back: codes (..., 4) and anchors, which broadcast, to boxes (..., 4)."""
    sizes = extents(anchors)
    centres = anchors[..., :2] + 0.5 * sizes + codes[..., :2] * (sizes / Tensor(list(weights[:2]), codes.dtype))
    logs = ops.minimum(codes[..., 2:] / Tensor(list(weights[2:]), codes.dtype), LOG_CLIP)
    half = 0.5 * sizes * ops.exp(logs)
    return ops.concat((centres - half, centres + half), -1)


def encode_distances(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Distances of the sides of boxes from the centres of the anchors, in extents of the anchor (FCOS, arXiv
    1904.01355): left, top, right, bottom, negative where the centre lies outside."""
    sizes = extents(anchors)
    centres = anchors[..., :2] + 0.5 * sizes
    return ops.concat(((centres - boxes[..., :2]) / sizes, (boxes[..., 2:] - centres) / sizes), -1)


def decode_distances(codes: Tensor, anchors: Tensor) -> Tensor:
    """The way back: distances (..., 4) and anchors, which broadcast, to boxes (..., 4)."""
    sizes = extents(anchors)
    centres = anchors[..., :2] + 0.5 * sizes
    return ops.concat((centres - codes[..., :2] * sizes, centres + codes[..., 2:] * sizes), -1)


def clip(boxes: Tensor, size: Tuple[int, int]) -> Tensor:
    """Boxes (..., 4) cut at the border of an image of (height, width)."""
    height, width = size
    return ops.minimum(ops.maximum(boxes, 0.0), Tensor([width, height, width, height], boxes.dtype))
