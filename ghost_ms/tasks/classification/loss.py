"""Losses of logits (B, classes) against labels: int32 (B,), or float32 soft labels (B, classes) as mixup makes them.

Soft labels come with label smoothing in them, since mixing needs it there; only int labels are smoothed here.
"""
from typing import Any, Optional, Sequence, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ghost_ms.config import LossConfig
from ghost_ms.tasks.base import Criterion


class CrossEntropy(nn.Cell):
    """Cross-entropy with the softmax of the logits, mean over the images."""

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__()
        self.of_labels = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.of_soft_labels = nn.CrossEntropyLoss()

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.of_soft_labels(logits, labels) if labels.ndim == 2 else self.of_labels(logits, labels)


class WeightedCrossEntropy(nn.Cell):
    """Cross-entropy in which an image counts as much as its class: the weighted mean, sum(w l) / sum(w), as in PyTorch.

    Label smoothing of int labels is PyTorch's too: each class's part of it is weighted by that class, the whole divided
    by the weights of the labels. Soft labels (B, classes) are weighted class by class, and divided by the sum of what
    they are weighted to: a share of 1 gives what the label gives. (PyTorch divides them by the number of images.) On
    several devices each divides by the weights of its own images.

    Args:
        weights: float32 (classes,), above 0.
        label_smoothing: share of an int label that is spread over all classes.
    """

    def __init__(self, weights: np.ndarray, label_smoothing: float = 0.0):
        super().__init__()
        self.weights, self.smoothing = Tensor(weights, ms.float32), label_smoothing

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        classes = logits.shape[1]
        weighted = soft_labels(labels, classes) * self.weights
        losses = -ops.log_softmax(logits, 1)
        loss = (weighted * losses).sum()
        if labels.ndim == 1 and self.smoothing > 0:
            loss = (1.0 - self.smoothing) * loss + self.smoothing / classes * (losses * self.weights).sum()
        return loss / weighted.sum()


class BinaryCrossEntropy(nn.Cell):
    """One yes-or-no question per class (arXiv 2110.00476, section 2; DeiT III, arXiv 2204.07118).

    Args:
        label_smoothing: share of an int label that is spread over all classes.
        threshold: where given, targets above it count as 1 and all others as 0.
        sum_classes: sum over the classes instead of their mean; over the images it is always the mean.
        weights: float32 (classes,): of each class the loss of a yes is multiplied by it (PyTorch's `pos_weight`).
    """

    def __init__(self, label_smoothing: float = 0.0, threshold: Optional[float] = None, sum_classes: bool = False,
                 weights: Optional[np.ndarray] = None):
        super().__init__()
        self.weights = None if weights is None else Tensor(weights, ms.float32)
        self.smoothing, self.threshold, self.sum_classes = label_smoothing, threshold, sum_classes

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        classes = logits.shape[1]
        targets = soft_labels(labels, classes)
        if labels.ndim == 1:
            targets = targets * (1.0 - self.smoothing) + self.smoothing / classes
        if self.threshold is not None:
            targets = (targets > self.threshold).astype(ms.float32)
        # log(1 + exp(-x)) for the right answer and log(1 + exp(x)) for the wrong one, without overflow.
        if self.weights is None:
            losses = ops.relu(logits) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))
        else:
            yes = ops.log1p(ops.exp(-ops.abs(logits))) + ops.relu(-logits)
            losses = (1.0 - targets) * logits + (1.0 + (self.weights - 1.0) * targets) * yes
        return losses.sum(1).mean() if self.sum_classes else losses.mean()


def soft_labels(labels: Tensor, classes: int) -> Tensor:
    """Labels of either kind as soft labels (B, classes)."""
    if labels.ndim == 2:
        return labels
    return ops.one_hot(labels, classes, Tensor(1.0, ms.float32), Tensor(0.0, ms.float32))


class LabelCriterion(Criterion):
    """A loss of logits and labels, which counts the images predicted right beside it.

    Args:
        loss: (logits, labels) to a scalar; labels are int32 (B,) or float32 soft labels (B, classes). Of a network in
            training that gives the logits of two heads, the mean of both losses is taken.
        in_graph: see `Criterion`.
    """

    sums = ("correct",)

    def __init__(self, loss: nn.Cell, in_graph: Sequence[Any] = ()):
        super().__init__()
        self.loss, self.in_graph = loss, in_graph

    def construct(self, logits: Any, labels: Tensor) -> Tuple[Tensor, Tuple[Tensor, ...]]:
        if isinstance(logits, tuple):
            # A network with two heads (DeiT, arXiv 2012.12877): each learns the labels, and their mean decides.
            first, second = logits
            loss = 0.5 * (self.loss(first, labels) + self.loss(second, labels))
            return loss, (num_correct(ops.stop_gradient(0.5 * (first + second)), labels),)
        return self.loss(logits, labels), (num_correct(ops.stop_gradient(logits), labels),)


def num_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Number of images whose largest logit is the label, or the largest soft label."""
    wanted = labels.argmax(1).astype(ms.int32) if labels.ndim == 2 else labels
    return (logits.argmax(1).astype(ms.int32) == wanted).astype(ms.float32).sum()


def create_loss(config: LossConfig, weights: Optional[np.ndarray] = None) -> nn.Cell:
    """The loss of a recipe.

    Args:
        weights: of the classes, as `class_weights.class_weights` has them.
    """
    if config.name == "binary_cross_entropy":
        return BinaryCrossEntropy(config.label_smoothing, config.threshold, config.sum_classes, weights)
    if weights is not None:
        return WeightedCrossEntropy(weights, config.label_smoothing)
    return CrossEntropy(config.label_smoothing)
