"""What detectors of one stage learn by: the whole loss in one graph of fixed shapes."""
from typing import Callable, Sequence, Tuple

import numpy as np
from mindspore import Tensor, nn, ops

from ghost_ms.models import boxes as box_functions
from ghost_ms.models.coders import BoxCoder, SSDCoder
from ghost_ms.tasks.base import Criterion
from ghost_ms.tasks.detection.matching import BACKGROUND, IGNORED, match, match_centres, match_each, matched

Raw = Tuple[Tensor, ...]
Parts = Tuple[Tensor, ...]


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Of logits with targets from 0 to 1, element by element."""
    return ops.relu(logits) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))


def focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25) -> Tensor:
    """Focal loss with gamma 2 (arXiv 1708.02002, equation 5), element by element.

    Args:
        targets: 0 or 1.
        alpha: weight of a target of 1; that of 0 has the rest.
    """
    p = ops.sigmoid(logits)
    wrong = p + targets - 2 * p * targets
    weight = (1 - alpha) + (2 * alpha - 1) * targets
    return weight * wrong * wrong * binary_cross_entropy(logits, targets)


def smooth_l1(difference: Tensor) -> Tensor:
    """Smooth L1 loss with beta 1 (arXiv 1504.08083, equation 3), element by element."""
    size = ops.abs(difference)
    return ops.select(size < 1, 0.5 * size * size, size - 0.5)


def _at_least_one(count: Tensor) -> Tensor:
    return ops.maximum(count, ops.ones_like(count))


class DetectionCriterion(Criterion):
    """A detector's loss for boxes (B, K, 4) in pixels of the input and labels int32 (B, K), -1 for no box.

    Args:
        coder: of the detector's raw outputs.
        size: (height, width) of the images.
        box_weight: of all parts but the classes'.
    """

    sums = ("class_loss", "box_loss")

    def __init__(self, coder: BoxCoder, size: Tuple[int, int], box_weight: float = 1.0):
        super().__init__()
        self.coder, self.box_weight = coder, box_weight
        self.constant = coder.anchors(size)
        self.levels = coder.levels(size)
        self.anchors = Tensor(self.constant)
        self.in_graph = [type(coder).__name__, coder.first_class, list(size), box_weight]

    def parts(self, raw: Raw, boxes: Tensor, labels: Tensor) -> Parts:
        """The losses of the classes, the boxes, and what else there is; scalars."""
        raise NotImplementedError

    def construct(self, raw: Raw, boxes: Tensor, labels: Tensor) -> Tuple[Tensor, Tuple[Tensor, ...]]:
        parts = self.parts(raw, boxes, labels)
        rest = parts[1]
        for part in parts[2:]:
            rest = rest + part
        images = float(boxes.shape[0])
        return parts[0] + self.box_weight * rest, (images * ops.stop_gradient(parts[0]),
                                                   images * ops.stop_gradient(rest))

    def one_hot(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Labels (B, N) as rows of the logits' columns; of none, zeros."""
        columns = Tensor(np.arange(logits.shape[-1], dtype=np.int32))
        there = (labels >= 0).expand_dims(-1)
        return ((labels + self.coder.first_class).expand_dims(-1) == columns).logical_and(there).astype(logits.dtype)


class SizedCriterion(Criterion):
    """The loss of batches of several sizes; which one a batch has shows in the rows of its outputs.

    Args:
        make: the criterion for images of (height, width).
        sizes: of the batches.

    Raises:
        ValueError: two sizes give as many rows.
    """

    sums = DetectionCriterion.sums

    def __init__(self, make: Callable[[Tuple[int, int]], DetectionCriterion], sizes: Sequence[Tuple[int, int]]):
        super().__init__()
        own = [make(size) for size in dict.fromkeys(sizes)]
        rows = [sum(one.levels) for one in own]
        if len(set(rows)) < len(rows):
            raise ValueError("task.args.sizes holds two sizes whose maps have as many cells, such as one and its "
                             "transpose; leave one out")
        self.criteria, self.rows = nn.CellList(own), tuple(rows)
        self.in_graph = [list(one.in_graph) for one in own]

    def construct(self, raw: Raw, boxes: Tensor, labels: Tensor) -> Tuple[Tensor, Tuple[Tensor, ...]]:
        place = self.rows.index(raw[0].shape[1])
        return self.criteria[place](raw, boxes, labels)


class SSDCriterion(DetectionCriterion):
    """SSD's loss (arXiv 1512.02325, equations 1 to 3): cross-entropy with three of the hardest backgrounds for each
    matched anchor of an image, and smooth L1 of the codes, both over the matched anchors of the batch."""

    NEGATIVES = 3

    def parts(self, raw: Raw, boxes: Tensor, labels: Tensor) -> Parts:
        logits, codes = raw
        wanted, classes = matched(match_each(boxes, labels, self.anchors, 0.5), boxes, labels, self.anchors)
        return self.of_matches(logits, codes, wanted, classes)

    def of_matches(self, logits: Tensor, codes: Tensor, wanted: Tensor, classes: Tensor) -> Parts:
        """The two losses, given what every anchor is to say (see `matching.matched`)."""
        there = (classes >= 0).astype(logits.dtype)
        count = _at_least_one(there.sum())
        difference = codes - box_functions.encode(wanted, self.anchors, SSDCoder.weights)
        box_loss = (smooth_l1(difference).sum(-1) * there).sum() / count
        # Column 0 is the background, where -1 leads to.
        losses = -ops.gather_elements(ops.log_softmax(logits, -1), 2, (classes + 1).expand_dims(-1)).squeeze(-1)
        hardness = ops.select(classes >= 0, ops.full_like(losses, -np.inf), ops.stop_gradient(losses))
        order = hardness.argsort(-1, True)
        rank = order.argsort(-1).astype("float32")
        chosen = (rank < self.NEGATIVES * there.sum(1, keepdims=True)).astype(logits.dtype) * (1 - there)
        return (losses * (there + chosen)).sum() / count, box_loss


class RetinaCriterion(DetectionCriterion):
    """RetinaNet's loss (arXiv 1708.02002, section 4.1): focal loss of every class, and L1 loss of the codes or, with
    `giou`, 1 - GIoU of the boxes; of an image over its matched anchors, then the mean of the images."""

    def __init__(self, coder: BoxCoder, size: Tuple[int, int], box_weight: float = 1.0, giou: bool = False):
        super().__init__(coder, size, box_weight)
        self.giou = giou
        self.in_graph = [*self.in_graph, giou]

    def parts(self, raw: Raw, boxes: Tensor, labels: Tensor) -> Parts:
        logits, codes = raw
        matches = match(boxes, labels, self.anchors, 0.5, 0.4)
        wanted, classes = matched(matches, boxes, labels, self.anchors)
        there, counted = (matches >= 0).astype(logits.dtype), (matches != IGNORED).astype(logits.dtype)
        count = _at_least_one(there.sum(1))
        focal = (focal_loss(logits, self.one_hot(classes, logits)).sum(-1) * counted).sum(1) / count
        if self.giou:
            losses = 1 - box_functions.generalized_iou(box_functions.decode(codes, self.anchors), wanted)
        else:
            losses = ops.abs(codes - box_functions.encode(wanted, self.anchors)).sum(-1)
        return focal.mean(), ((losses * there).sum(1) / count).mean()


class FCOSCriterion(DetectionCriterion):
    """FCOS's loss (arXiv 1904.01355, equations 2 and 3): focal loss of every class, 1 - GIoU of the boxes, and binary
    cross-entropy of the centreness, all over the matched anchors of the batch."""

    def parts(self, raw: Raw, boxes: Tensor, labels: Tensor) -> Parts:
        logits, codes, centreness = raw
        matches = match_centres(boxes, labels, self.constant, self.levels)
        wanted, classes = matched(matches, boxes, labels, self.anchors)
        there = (matches > BACKGROUND).astype(logits.dtype)
        count = _at_least_one(there.sum())
        focal = focal_loss(logits, self.one_hot(classes, logits)).sum() / count
        found = box_functions.decode_distances(codes, self.anchors)
        overlap = ((1 - box_functions.generalized_iou(found, wanted)) * there).sum() / count
        sides = box_functions.encode_distances(wanted, self.anchors)
        near, far = ops.minimum(sides[..., :2], sides[..., 2:]), ops.maximum(sides[..., :2], sides[..., 2:])
        shares = near / far
        central = ops.sqrt(ops.relu(shares[..., 0] * shares[..., 1]))
        losses = binary_cross_entropy(centreness.squeeze(-1), central)
        return focal, overlap, (losses * there).sum() / count
