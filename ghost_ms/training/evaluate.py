"""Accuracy of a network on the test split, each image counted once."""
from typing import Callable, Dict, Iterable, List, Optional, Tuple

import mindspore as ms
import numpy as np
from mindspore import nn


def evaluate(net: nn.Cell, batches: Iterable[Tuple[np.ndarray, np.ndarray]],
             advance: Optional[Callable[[int], None]] = None,
             total: Callable[[List[float]], List[float]] = list) -> Dict[str, float]:
    """Top-1 and top-5 accuracy in percent, and the mean cross-entropy.

    Args:
        net: images to logits; it is put into evaluation mode.
        batches: images (B, C, H, W) and the labels of the first b <= B of them.
        advance: called with the number of images done.
        total: adds up [images, top-1 hits, top-5 hits, loss] over the processes that share the split.
    """
    net.set_train(False)
    images = top1 = top5 = 0
    loss = 0.0
    for pixels, labels in batches:
        logits = net(ms.Tensor(pixels)).asnumpy()[:len(labels)].astype(np.float64)
        order = np.argsort(-logits, axis=1, kind="stable")[:, :5]
        hits = order == labels[:, None]
        shifted = logits - logits.max(1, keepdims=True)
        loss += float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]).sum())
        images, top1, top5 = images + len(labels), top1 + int(hits[:, 0].sum()), top5 + int(hits.any(1).sum())
        if advance is not None:
            advance(len(labels))
    images, top1, top5, loss = total([images, top1, top5, loss])
    return {"top1": 100 * top1 / images, "top5": 100 * top5 / images, "loss": loss / images, "images": int(images)}
