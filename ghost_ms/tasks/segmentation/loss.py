"""Cross-entropy of every pixel's logits with its label."""
from typing import Any, Optional, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ghost_ms.config import LossConfig
from ghost_ms.data.geometry import IGNORE
from ghost_ms.models.classes import match
from ghost_ms.tasks.base import Criterion


class PixelCrossEntropy(nn.Cell):
    """Mean cross-entropy over the pixels that count: logits (B, classes, H, W), labels int32 (B, H, W), 255 for what
    does not count, to a scalar. 0 where nothing counts.

    Args:
        weights: float32 (classes,): the mean is weighted by the weight of each pixel's class, as in PyTorch.
        label_smoothing: share of a label that is spread over all classes.
    """

    def __init__(self, weights: Optional[np.ndarray] = None, label_smoothing: float = 0.0):
        super().__init__()
        self.weights = None if weights is None else Tensor(weights, ms.float32)
        self.smoothing = label_smoothing

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        counts = (labels != IGNORE).astype(ms.float32)
        safe = ops.select(labels != IGNORE, labels, ops.zeros_like(labels))
        largest = ops.stop_gradient(ops.amax(logits, 1, True))
        normalizer = ops.log(ops.exp(logits - largest).sum(1)) + largest.squeeze(1)
        losses = normalizer - ops.gather_elements(logits, 1, safe.expand_dims(1)).squeeze(1)
        if self.smoothing > 0:
            losses = (1.0 - self.smoothing) * losses + self.smoothing * (normalizer - logits.mean(1))
        if self.weights is not None:
            counts = counts * ops.gather(self.weights, safe, 0)
        total = counts.sum()
        return (losses * counts).sum() / ops.select(total > 0, total, ops.ones_like(total))


class PixelCriterion(Criterion):
    """The loss of the main logits and, where the network gives them, of auxiliary ones; counts pixels beside it.

    Args:
        loss: (logits, labels) to a scalar.
        aux_weight: of the auxiliary loss.
    """

    sums = ("accuracy",)

    def __init__(self, loss: nn.Cell, aux_weight: float):
        super().__init__()
        self.loss, self.aux_weight = loss, aux_weight
        self.in_graph = [aux_weight, None if loss.weights is None else loss.weights.asnumpy().tolist()]

    def construct(self, raw: Any, labels: Tensor) -> Tuple[Tensor, Tuple[Tensor, ...]]:
        loss = self.loss(raw[0], labels)
        if len(raw) == 2:
            loss = loss + self.aux_weight * self.loss(raw[1], labels)
        counts = (labels != IGNORE).astype(ms.float32)
        right = (ops.stop_gradient(raw[0]).argmax(1).astype(ms.int32) == labels).astype(ms.float32)
        total = counts.sum()
        # The share of this batch, as many times as it has images.
        share = (right * counts).sum() / ops.select(total > 0, total, ops.ones_like(total))
        return loss, (share * labels.shape[0],)


def create_loss(config: LossConfig, classes: list) -> PixelCrossEntropy:
    """The loss of a recipe; ValueError where it has no meaning for pixels."""
    if config.name != "cross_entropy":
        raise ValueError(f"loss.name is {config.name}; segmentation learns by cross_entropy")
    return PixelCrossEntropy(_weights(config, classes), config.label_smoothing)


def _weights(config: LossConfig, classes: list) -> Optional[np.ndarray]:
    given = config.class_weights
    if given is None:
        return None
    if isinstance(given, str):
        raise ValueError(f"loss.class_weights is {given}, which counts images of each class; for segmentation give a "
                         "list of weights, or a mapping from names of classes")
    weights = np.ones(len(classes), np.float32)
    if isinstance(given, dict):
        try:
            weights[match(list(given), classes).places] = list(given.values())
        except ValueError as error:
            raise ValueError(f"loss.class_weights names classes of other data: {error}") from None
    elif len(given) != len(classes):
        raise ValueError(f"loss.class_weights has {len(given)} values, and the data {len(classes)} classes")
    else:
        weights[:] = given
    return weights
