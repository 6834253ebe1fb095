"""Pipelines: order, augmentation and batches of a `Source`."""
import os
import re
from typing import Iterator, Tuple

import numpy as np

from ghost_ms.config import Config
from ghost_ms.data.datasets import Source
from ghost_ms.data.transforms import Preprocessing, training_operations


def _workers(wanted: int) -> int:
    """MindSpore refuses more workers than cores."""
    return max(1, min(wanted, os.cpu_count() or 1))


def _order(size: int, seed: int, epoch: int):
    """Sampler of one epoch's random order, a function of (seed, epoch) alone."""
    import mindspore.dataset as ds

    class Order(ds.Sampler):
        def __iter__(self):
            return iter(np.random.default_rng([seed, epoch]).permutation(size).tolist())

    return Order()


def training_batches(source: Source, config: Config, spec: Preprocessing, epoch: int):
    """The shuffled, augmented, full batches of one epoch: a `mindspore.dataset` of float32 (B, C, H, W), int32 (B,).

    The pipeline is rebuilt for every epoch, so that order and augmentation depend on (seed, epoch) alone.
    """
    import mindspore as ms
    import mindspore.dataset as ds
    from mindspore.dataset import transforms

    ds.config.set_seed((config.run.seed * 100_003 + epoch) % 2 ** 32)
    workers = _workers(config.data.workers)
    images = source.open(_order(source.size, config.run.seed, epoch))
    images = images.map(training_operations(spec, config.augment, source.encoded), "image",
                        num_parallel_workers=workers)
    images = images.map(transforms.TypeCast(ms.int32), "label")
    return images.batch(config.data.batch_size, drop_remainder=True)


def evaluation_batches(source: Source, config: Config, spec: Preprocessing) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """(images float32 (B, C, H, W), labels int32 (b,)) in order, each image once.

    Every batch of images has the same shape, so that one compiled graph serves all: the last one is filled up by
    repeating its last image, and its labels tell by their number how many count.
    """
    import mindspore as ms
    import mindspore.dataset as ds
    from mindspore.dataset import transforms

    batch = min(config.data.eval_batch_size, source.size)
    images = source.open(ds.SequentialSampler())
    images = images.map(spec, "image", num_parallel_workers=_workers(config.data.workers))
    images = images.map(transforms.TypeCast(ms.int32), "label").batch(batch)
    for pixels, labels in images.create_tuple_iterator(num_epochs=1, output_numpy=True):
        missing = batch - len(pixels)
        if missing:
            pixels = np.concatenate([pixels, np.repeat(pixels[-1:], missing, axis=0)])
        yield pixels, labels


def pipeline_error(error: RuntimeError) -> str:
    """One sentence of a failure inside the pipeline, with the file that caused it where the pipeline knows it."""
    text = str(error)
    file = re.search(r"data file:?\s*(?:path:?)?\s*'?([^\s',]+\.\w+)", text) or re.search(
        r"(?:path|file)[^/\n]{0,40}?(/[^\s',]+\.\w+)", text)
    reason = re.search(r"(not a readable image \([^\n]*\))|(?:Exception|Error): *([^\n]+)", text)
    cause = next((group for group in reason.groups() if group), None) if reason else None
    if file:
        return f"{file.group(1)} is truncated or not an image ({cause or 'it cannot be decoded'}); remove or replace it"
    return f"the data pipeline failed: {cause or text.strip().splitlines()[0]}"
