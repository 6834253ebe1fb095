"""Parts of a data set that are the same in every run: a share to evaluate on, a share to train with.

Which image falls into which part depends on the data alone, never on `run.seed`.
"""
import hashlib
from typing import List, Tuple

import numpy as np

from ghost_ms.core.text import natural, some
from ghost_ms.data.dataset import Dataset


def train_share(source: Dataset, share: float) -> Dataset:
    """The same share of every class, at least one image of each."""
    groups = _groups(_strata(source), np.random.default_rng(0).permutation(source.size))
    return source.subset(np.sort(np.concatenate([group[:max(1, round(share * len(group)))] for group in groups])))


def hold_out(source: Dataset, share: float) -> Tuple[Dataset, Dataset]:
    """(the rest, the images held out) of a data set of which no part is set aside to evaluate on.

    Of each class its share is held out: of two images or more at least one, and never all. The images' names decide
    which, so that most stay on their side when others come or go, and whatever order classes and files have. Of images
    with several labels the rarest class of each counts.

    Raises:
        ValueError: no class has two images.
    """
    names = map(source.key, range(source.size))
    digests = np.array([hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest() for name in names])
    groups = _groups(_strata(source), np.argsort(digests, kind="stable"))
    held = np.sort(np.concatenate([group[:_held(share, len(group))] for group in groups]))
    if not len(held):
        raise ValueError("data.val_share is set, but no class has two images, one to train with and one to evaluate on")
    rest = np.setdiff1d(np.arange(source.size), held)
    training, evaluation = source.subset(rest), source.subset(held)
    counts, kept = source.counts(), training.counts()
    without = sorted((source.classes[place] for place in np.flatnonzero((counts > 0) & (counts == kept))), key=natural)
    evaluation.notes = [*source.notes, f"data.val_share {share:g}: {len(held)} of {source.size} images are held out to "
                        f"evaluate on{', a share of every class' if source.target is None else ''}, the same ones in "
                        "every run"
                        + (f"; none of {some(without)}" if without else "")]
    return training, evaluation


def _held(share: float, count: int) -> int:
    """How many of so many images of a class are held out."""
    return min(max(int(share * count + 0.5), 1), count - 1)


def _strata(source: Dataset) -> np.ndarray:
    """The class that decides an image's place, int (images,): of several the rarest, -1 for an image without any."""
    if not source.multi_label:
        return source.labels
    counts = source.counts()
    order: List[int] = sorted(range(len(counts)), key=lambda place: (counts[place], source.classes[place]))
    ordered = source.labels[:, order]
    return np.where(ordered.any(1), np.asarray(order)[ordered.argmax(1)], -1)


def _groups(strata: np.ndarray, order: np.ndarray) -> List[np.ndarray]:
    """The samples of each stratum, in the order given."""
    samples = order[np.argsort(strata[order], kind="stable")]
    return np.split(samples, np.flatnonzero(np.diff(strata[samples])) + 1)
