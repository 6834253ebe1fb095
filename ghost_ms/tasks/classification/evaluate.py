"""Accuracy of a network on the test split, each image counted once."""
from typing import Callable, Dict, Iterable, List, Optional, Tuple

import mindspore as ms
import numpy as np
from mindspore import nn

from ghost_ms.core.text import printable
from ghost_ms.tasks.classification import multilabel

#: Images that a sentence names.
NAMED = 5


class NotFinite(ValueError):
    """A network gave outputs that are no numbers."""


def evaluate(net: nn.Cell, batches: Iterable[Tuple[np.ndarray, np.ndarray]],
             advance: Optional[Callable[[int], None]] = None,
             total: Callable[[List[float]], List[float]] = list,
             name: Callable[[int], str] = "image {}".format) -> Dict[str, float]:
    """Top-1 and top-5 accuracy in percent, and the mean cross-entropy.

    Args:
        net: images to logits; it is put into evaluation mode.
        batches: images (B, C, H, W) and the labels of the first b <= B of them.
        advance: called with the number of images done.
        total: adds up [images, top-1 hits, top-5 hits, loss, images without an answer] over the processes that share
            the split.
        name: what the image is called that comes as the n-th of these batches, counted from 0.

    Raises:
        NotFinite: an output is NaN or infinite; names the images. In every process that shares the split.
    """
    net.set_train(False)
    images = top1 = top5 = 0
    loss, bad = 0.0, []
    for pixels, labels in batches:
        logits = net(ms.Tensor(pixels)).asnumpy()[:len(labels)].astype(np.float64)
        finite = np.isfinite(logits).all(1)
        bad += (images + np.flatnonzero(~finite)).tolist()
        logits[~finite] = 0
        order = np.argsort(-logits, axis=1, kind="stable")[:, :5]
        hits = order == labels[:, None]
        shifted = logits - logits.max(1, keepdims=True)
        loss += float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]).sum())
        images, top1, top5 = images + len(labels), top1 + int(hits[:, 0].sum()), top5 + int(hits.any(1).sum())
        if advance is not None:
            advance(len(labels))
    images, top1, top5, loss, wrong = total([images, top1, top5, loss, len(bad)])
    if wrong:
        raise NotFinite(_sentence([name(index) for index in bad[:NAMED]], int(wrong), int(images)))
    return {"top1": 100 * top1 / images, "top5": 100 * top5 / images, "loss": loss / images, "images": int(images)}


def evaluate_sets(net: nn.Cell, batches: Iterable[Tuple[np.ndarray, np.ndarray]],
                  advance: Optional[Callable[[int], None]] = None,
                  name: Callable[[int], str] = "image {}".format) -> Tuple[Dict[str, float], List[float]]:
    """({map, f1 (percent), loss, images}, thresholds) of a network that gives an image several labels.

    `map` is the mean average precision over the classes, `f1` their mean F1 at the thresholds, which are those that
    suit these images best; the loss is the mean binary cross-entropy. Not all of them can be added up over processes,
    so each has to see all images.

    Args:
        batches: images (B, C, H, W) and the labels (b, classes), 0 or 1, of the first b <= B of them.

    Raises:
        NotFinite: as `evaluate`.
    """
    net.set_train(False)
    rows: List[Tuple[np.ndarray, np.ndarray]] = []
    for pixels, labels in batches:
        rows.append((net(ms.Tensor(pixels)).asnumpy()[:len(labels), :labels.shape[1]].astype(np.float64), labels))
        if advance is not None:
            advance(len(labels))
    logits, labels = (np.concatenate(column) for column in zip(*rows))
    bad = np.flatnonzero(~np.isfinite(logits).all(1)).tolist()
    if bad:
        raise NotFinite(_sentence([name(index) for index in bad[:NAMED]], len(bad), len(labels)))
    found = multilabel.score(labels, logits)
    return {**found.as_percent(), "loss": multilabel.binary_cross_entropy(labels, logits),
            "images": len(labels)}, found.threshold.tolist()


def _sentence(names: List[str], wrong: int, images: int) -> str:
    """What to say; another process than this one may know the names."""
    more = f" and {wrong - len(names)} more" if names and wrong > len(names) else ""
    named = f" ({', '.join(map(printable, names))}{more})" if names else ""
    return (f"the network's outputs for {wrong} of {images} test images are not finite{named}: its weights or "
            "BatchNorm statistics have diverged, or mixed precision overflows")
