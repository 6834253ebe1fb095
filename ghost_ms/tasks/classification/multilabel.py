"""How good a network is whose images have several labels: mean average precision, thresholds, F1. NumPy alone.

Labels are 0 or 1 (images, classes).
"""
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ghost_ms.config import Config

#: Threshold of a class of which there is no image to choose one by.
DEFAULT_THRESHOLD = 0.5


def probabilities(logits: np.ndarray) -> np.ndarray:
    """The logistic function, float64, without overflow."""
    logits = np.asarray(logits, np.float64)
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, small) / (1 + small)


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Sum over the thresholds of (recall - the recall before) * precision, as scikit-learn's `average_precision_score`:
    images of one score are taken together, and nothing is interpolated. NaN where no image has the label.

    Args:
        labels, scores: of one class, (images,).
    """
    hits, taken = _curve(labels, scores)
    if not len(hits) or not hits[-1]:
        return float("nan")
    steps = np.diff(hits, prepend=0)
    return float((steps * hits / taken).sum() / hits[-1])


def _curve(labels: np.ndarray, scores: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """(images with the label, images) among those with at least the n-th highest of the different scores."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)
    return np.cumsum(labels[order], dtype=np.int64)[ends], ends + 1


def best_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The probability from which on to say yes so that F1 is largest on these images; half way to the next lower one,
    so that rounding elsewhere changes nothing. Of equals the highest; `DEFAULT_THRESHOLD` where no image has the label.

    Args:
        labels, scores: of one class, (images,); the scores are probabilities.
    """
    hits, taken = _curve(labels, scores)
    if not len(hits) or not hits[-1]:
        return DEFAULT_THRESHOLD
    best = int(np.argmax(2 * hits / (taken + hits[-1])))
    levels = np.append(np.unique(scores)[::-1], 0.0)
    return float((levels[best] + levels[best + 1]) / 2)


def check_sets(config: Config) -> None:
    """ValueError for a recipe that takes an image to have one label, and so cannot learn several."""
    if config.loss.name != "binary_cross_entropy":
        raise ValueError("an image of this data may have several labels or none, and loss.name cross_entropy wants one "
                         "each; set loss.name binary_cross_entropy")
    if config.distill.teacher is not None and config.distill.method != "features":
        raise ValueError(f"distill.method {config.distill.method} takes an image to have one label, and in this data "
                         "it may have several or none; take features")


class Scores(NamedTuple):
    """Measures of one evaluation; shares of 1.

    Args:
        average_precision: of each class, NaN where it has no image.
        threshold: of each class, a probability.
        precision, recall, f1: of each class at its threshold; 0 where nothing was said, or nothing was there.
        images: with each label.
    """

    average_precision: np.ndarray
    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    images: np.ndarray

    @property
    def mean_average_precision(self) -> float:
        """Mean average precision over the classes that have images."""
        return _mean(self.average_precision)

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that have images."""
        return _mean(np.where(self.images > 0, self.f1, np.nan))

    def as_percent(self) -> Dict[str, float]:
        """Both means in percent."""
        return {"map": 100 * self.mean_average_precision, "f1": 100 * self.macro_f1}


def score(labels: np.ndarray, logits: np.ndarray, thresholds: Optional[Sequence[float]] = None) -> Scores:
    """Judge logits (images, outputs); outputs beyond the labels' classes are passed over.

    Args:
        thresholds: of each class; by default those that suit these images best.

    Raises:
        ValueError: an output is no number.
    """
    wrong = int((~np.isfinite(logits)).any(1).sum())
    if wrong:
        raise ValueError(f"the network's outputs for {wrong} of {len(logits)} images are not finite: its weights have "
                         "diverged")
    columns = range(labels.shape[1])
    shares = probabilities(logits[:, :labels.shape[1]])
    # By the logits, of which fewer are equal.
    precisions = np.array([average_precision(labels[:, column], logits[:, column]) for column in columns])
    if thresholds is None:
        thresholds = np.array([best_threshold(labels[:, column], shares[:, column]) for column in columns])
    thresholds = np.asarray(thresholds, np.float64)[:labels.shape[1]]
    said, there = shares >= thresholds, labels.astype(bool)
    hits, claimed, images = (said & there).sum(0), said.sum(0), there.sum(0)
    return Scores(precisions, thresholds, hits / np.maximum(claimed, 1),
                  hits / np.maximum(images, 1), 2 * hits / np.maximum(claimed + images, 1), images)


def labels_of(shares: np.ndarray, classes: Sequence[str], thresholds: Sequence[float]) -> List[Dict[str, Any]]:
    """The labels of one image: the classes that reach their thresholds, the most probable first, as {class, index,
    probability}.

    Args:
        shares: probabilities, (outputs,); those beyond the classes are passed over.
    """
    shares = shares[:len(classes)]
    said = np.flatnonzero(shares >= np.asarray(thresholds))
    return [{"class": classes[place], "index": int(place), "probability": float(shares[place])}
            for place in said[np.argsort(-shares[said], kind="stable")]]


def binary_cross_entropy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean over images and classes."""
    logits = np.asarray(logits, np.float64)
    return float((np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))).mean())


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
