"""Accuracy of a network after an epoch, each image counted once."""
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from ghost_ms.core.text import printable
from ghost_ms.tasks.base import NotFinite, Outputs
from ghost_ms.tasks.classification import multilabel

#: Images that a sentence names.
NAMED = 5


class TopEvaluator:
    """Top-1 and top-5 accuracy in percent, and the mean cross-entropy, of logits (B, classes) and labels (b,).

    Args:
        name: what the image is called that comes as the n-th, counted from 0.
    """

    shared = True

    def __init__(self, name: Callable[[int], str] = "image {}".format):
        self.name = name
        self.images = self.top1 = self.top5 = 0
        self.loss = 0.0
        self.bad: List[int] = []

    def update(self, outputs: Outputs, targets: Outputs) -> None:
        labels, = targets
        logits = outputs[0][:len(labels)].astype(np.float64)
        finite = np.isfinite(logits).all(1)
        self.bad += (self.images + np.flatnonzero(~finite)).tolist()
        logits[~finite] = 0
        order = np.argsort(-logits, axis=1, kind="stable")[:, :5]
        right = order == labels[:, None]
        shifted = logits - logits.max(1, keepdims=True)
        self.loss += float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]).sum())
        self.images += len(labels)
        self.top1 += int(right[:, 0].sum())
        self.top5 += int(right.any(1).sum())

    def compute(self, total: Callable[[List[float]], List[float]] = list) -> Dict[str, float]:
        images, top1, top5, loss, wrong = total([self.images, self.top1, self.top5, self.loss, len(self.bad)])
        if wrong:
            raise NotFinite(_sentence([self.name(index) for index in self.bad[:NAMED]], int(wrong), int(images)))
        return {"top1": 100 * top1 / images, "top5": 100 * top5 / images, "loss": loss / images, "images": int(images)}

    def learned(self) -> Dict[str, Any]:
        return {}


class SetEvaluator:
    """Mean average precision and F1 in percent, and the mean binary cross-entropy, of a network that gives an image
    several labels: logits (B, outputs) and labels (b, classes), 0 or 1.

    `map` is the mean average precision over the classes, `f1` their mean F1 at the thresholds, which are those that
    suit these images best; they are what is learned. Not all of them can be added up over processes, so each has to
    see all images.

    Args:
        name: as `TopEvaluator`.
    """

    shared = False

    def __init__(self, name: Callable[[int], str] = "image {}".format):
        self.name = name
        self.rows: List[Tuple[np.ndarray, np.ndarray]] = []
        self.thresholds: List[float] = []

    def update(self, outputs: Outputs, targets: Outputs) -> None:
        labels, = targets
        self.rows.append((outputs[0][:len(labels), :labels.shape[1]].astype(np.float64), labels))

    def compute(self, total: Callable[[List[float]], List[float]] = list) -> Dict[str, float]:
        logits, labels = (np.concatenate(column) for column in zip(*self.rows))
        bad = np.flatnonzero(~np.isfinite(logits).all(1)).tolist()
        if bad:
            raise NotFinite(_sentence([self.name(index) for index in bad[:NAMED]], len(bad), len(labels)))
        found = multilabel.score(labels, logits)
        self.thresholds = found.threshold.tolist()
        return {**found.as_percent(), "loss": multilabel.binary_cross_entropy(labels, logits), "images": len(labels)}

    def learned(self) -> Dict[str, Any]:
        return {"thresholds": self.thresholds}


def _sentence(names: List[str], wrong: int, images: int) -> str:
    """What to say; another process than this one may know the names."""
    more = f" and {wrong - len(names)} more" if names and wrong > len(names) else ""
    named = f" ({', '.join(map(printable, names))}{more})" if names else ""
    return (f"the network's outputs for {wrong} of {images} test images are not finite{named}: its weights or "
            "BatchNorm statistics have diverged, or mixed precision overflows")
