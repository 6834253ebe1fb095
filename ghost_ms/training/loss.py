"""Losses of logits (B, classes) against labels: int32 (B,), or float32 shares (B, classes) as mixup makes them.

Shares come with label smoothing in them, since mixing needs it there; only int labels are smoothed here.
"""
from typing import Optional

import mindspore as ms
from mindspore import Tensor, nn, ops

from ghost_ms.config import LossConfig


class CrossEntropy(nn.Cell):
    """Cross-entropy with the softmax of the logits, mean over the images."""

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__()
        self.of_labels = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.of_shares = nn.CrossEntropyLoss()

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.of_shares(logits, labels) if labels.ndim == 2 else self.of_labels(logits, labels)


class BinaryCrossEntropy(nn.Cell):
    """One yes-or-no question a class (arXiv 2110.00476, section 2; DeiT III, arXiv 2204.07118).

    Args:
        label_smoothing: share of an int label that is spread over all classes.
        threshold: where given, targets above it count as 1 and all others as 0.
        sum_classes: sum over the classes instead of their mean; over the images it is always the mean.
    """

    def __init__(self, label_smoothing: float = 0.0, threshold: Optional[float] = None, sum_classes: bool = False):
        super().__init__()
        self.smoothing, self.threshold, self.sum_classes = label_smoothing, threshold, sum_classes

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        classes = logits.shape[1]
        targets = shares(labels, classes)
        if labels.ndim == 1:
            targets = targets * (1.0 - self.smoothing) + self.smoothing / classes
        if self.threshold is not None:
            targets = (targets > self.threshold).astype(ms.float32)
        # log(1 + exp(-x)) for the right answer and log(1 + exp(x)) for the wrong one, without overflow.
        losses = ops.relu(logits) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))
        return losses.sum(1).mean() if self.sum_classes else losses.mean()


def shares(labels: Tensor, classes: int) -> Tensor:
    """Labels of either kind as shares (B, classes)."""
    if labels.ndim == 2:
        return labels
    return ops.one_hot(labels, classes, Tensor(1.0, ms.float32), Tensor(0.0, ms.float32))


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Number of images whose largest logit is the label, or the label's largest share."""
    wanted = labels.argmax(1).astype(ms.int32) if labels.ndim == 2 else labels
    return (logits.argmax(1).astype(ms.int32) == wanted).astype(ms.float32).sum()


def create_loss(config: LossConfig) -> nn.Cell:
    """The loss of a recipe."""
    if config.name == "binary_cross_entropy":
        return BinaryCrossEntropy(config.label_smoothing, config.threshold, config.sum_classes)
    return CrossEntropy(config.label_smoothing)
