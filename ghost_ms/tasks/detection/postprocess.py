"""From decoded boxes and scores to detections: thresholds, non-maximum suppression, the best of them. NumPy alone."""
from typing import NamedTuple, Optional, Sequence, Union

import numpy as np

from ghost_ms.models.coders import Limits

#: Candidates that are compared with each other at first; more where these are not enough.
CHUNK = 512


class Detections(NamedTuple):
    """Of an image, by falling score.

    Args:
        boxes: float32 (n, 4), left, top, right, bottom in pixels.
        scores: float32 (n,), from 0 to 1.
        labels: int32 (n,), numbers of the classes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


def detections(boxes: np.ndarray, scores: np.ndarray, limits: Limits, levels: Sequence[int] = (),
               thresholds: Optional[Union[float, Sequence[float]]] = None) -> Detections:
    """The detections of an image, of what a decoded detector (`models.coders.Decoded`, or an exported file) gives.

    Candidates are the scores above the threshold, and of these the best `limits.candidates` of every class or of every
    level. From the best on, each drops those of its class that overlap it by more than `limits.iou`.

    Args:
        boxes: (N, 4) in pixels.
        scores: (N, classes).
        levels: rows of each map; all are one where it is empty.
        thresholds: instead of `limits.score`, one for all classes or one for each.

    Raises:
        ValueError: arrays of other shapes.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.ndim != 2 or len(boxes) != len(scores) or \
            levels and sum(levels) != len(boxes):
        raise ValueError(f"boxes of the shape {boxes.shape} and scores of {scores.shape} are no (N, 4) and "
                         f"(N, classes){f' with N {sum(levels)}' if levels else ''}")
    classes = scores.shape[1]
    least = np.broadcast_to(np.asarray(limits.score if thresholds is None else thresholds, scores.dtype), classes)
    places = np.flatnonzero((scores > least).ravel())
    places = _best_of_groups(places, scores.ravel(), classes, limits, levels)
    found = scores.ravel()[places]
    # Of equal scores the earlier row comes first.
    order = np.lexsort((places, -found))
    places, found = places[order], found[order]
    rows, labels = places // classes, (places % classes).astype(np.int32)
    kept = suppress(boxes[rows], labels, limits.iou, limits.detections)
    return Detections(boxes[rows[kept]].astype(np.float32), found[kept].astype(np.float32), labels[kept])


def _best_of_groups(places: np.ndarray, scores: np.ndarray, classes: int, limits: Limits,
                    levels: Sequence[int]) -> np.ndarray:
    """Places of the best candidates of every class or level, in any order."""
    if limits.by_class:
        groups, count = places % classes, classes
    else:
        ends = np.cumsum(levels) if levels else np.array([len(scores) // classes])
        groups, count = np.searchsorted(ends, places // classes, "right"), len(ends)
    if len(places) <= limits.candidates:
        return places
    kept = []
    for group in range(count):
        own = places[groups == group]
        if len(own) > limits.candidates:
            own = own[np.argsort(-scores[own], kind="stable")[:limits.candidates]]
        kept.append(own)
    return np.concatenate(kept)


def suppress(boxes: np.ndarray, labels: np.ndarray, iou: float, most: int) -> np.ndarray:
    """Non-maximum suppression within each class, int (n,): numbers of the boxes that stay, at most `most`.

    A box stays where none before it that stays overlaps it by more than `iou`; two empty boxes do not overlap.

    Args:
        boxes: (N, 4), the best first.
        labels: (N,).
    """
    kept = np.zeros(0, np.int64)
    for start in range(0, len(boxes), CHUNK):
        rest = np.arange(start, min(start + CHUNK, len(boxes)))
        alive = ~_covers(boxes, labels, kept, rest, iou).any(0) if len(kept) else np.ones(len(rest), bool)
        covers = _covers(boxes, labels, rest, rest, iou)
        for place in range(len(rest)):
            if alive[place]:
                alive[place + 1:] &= ~covers[place, place + 1:]
        kept = np.concatenate([kept, rest[alive]])
        if len(kept) >= most:
            break
    return kept[:most]


def _covers(boxes: np.ndarray, labels: np.ndarray, first: np.ndarray, second: np.ndarray, iou: float) -> np.ndarray:
    """Whether the boxes numbered `first` overlap those numbered `second` and have their class, bool (F, S)."""
    one, other = boxes[first].astype(np.float64)[:, None], boxes[second].astype(np.float64)[None]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    shared = np.prod(np.maximum(sides, 0), -1)
    area, area_other = (np.prod(each[..., 2:] - each[..., :2], -1) for each in (one, other))
    return (shared > iou * (area + area_other - shared)) & (labels[first][:, None] == labels[second][None])
