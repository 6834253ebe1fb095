"""Pipelines: order, augmentation and batches of a `Source`."""
import os
from typing import Iterator, Sequence, Tuple

import numpy as np

from ghost_ms.config import Config
from ghost_ms.data.datasets import Source
from ghost_ms.data.transforms import Preprocessing, training_operations
from ghost_ms.device import World


def _workers(wanted: int) -> int:
    """MindSpore refuses more workers than cores."""
    return max(1, min(wanted, os.cpu_count() or 1))


def _sampler(order: Sequence[int]):
    import mindspore.dataset as ds

    class Order(ds.Sampler):
        def __iter__(self):
            return iter(order)

    return Order()


def training_batches(source: Source, config: Config, spec: Preprocessing, epoch: int,
                     world: World = World()) -> Iterator:
    """The shuffled, augmented, full batches of one epoch: tensors, float32 (B, C, H, W) and int32 (B,).

    The pipeline is rebuilt for every epoch, so that order and augmentation depend on (seed, epoch) alone. Each rank takes its own
    part of the order, all of them the same number of batches, and augments with a seed of its own.

    Raises:
        ValueError: an image cannot be read; the sentence names the file.
    """
    import mindspore as ms
    import mindspore.dataset as ds
    from mindspore.dataset import transforms

    ds.config.set_seed((config.run.seed * 100_003 + epoch + world.rank * 1_000_003) % 2 ** 32)
    workers = _workers(config.data.workers)
    order = np.random.default_rng([config.run.seed, epoch]).permutation(source.size).tolist()
    order = order[:len(order) // world.size * world.size][world.rank::world.size]
    images = source.open(_sampler(order))
    images = images.map(training_operations(spec, config.augment, source.encoded, source.channels), "image",
                        num_parallel_workers=workers)
    images = images.map(transforms.TypeCast(ms.int32), "label")
    images = images.batch(config.data.batch_size, drop_remainder=True)
    return _guarded(images.create_tuple_iterator(num_epochs=1), source, order)


def evaluation_batches(source: Source, config: Config, spec: Preprocessing) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """(images float32 (B, C, H, W), labels int32 (b,)) in order, each image once.

    Every batch of images has the same shape, so that one compiled graph serves all: the last one is filled up by
    repeating its last image, and its labels tell by their number how many count.
    """
    import mindspore as ms
    from mindspore.dataset import transforms

    batch = min(config.data.eval_batch_size, source.size)
    order = list(range(source.size))
    images = source.open(_sampler(order))
    images = images.map(spec, "image", num_parallel_workers=_workers(config.data.workers))
    images = images.map(transforms.TypeCast(ms.int32), "label").batch(batch)
    for pixels, labels in _guarded(images.create_tuple_iterator(num_epochs=1, output_numpy=True), source,
                                   order):
        missing = batch - len(pixels)
        if missing:
            pixels = np.concatenate([pixels, np.repeat(pixels[-1:], missing, axis=0)])
        yield pixels, labels


def _guarded(batches: Iterator, source: Source, order: Sequence[int]) -> Iterator:
    """The batches; a failure of the pipeline becomes one sentence that names the file."""
    done = 0
    try:
        for images, labels in batches:
            yield images, labels
            done += len(labels)
    except RuntimeError as error:
        # The pipeline works ahead, so the file may lie some batches on; earlier ones were read.
        file = source.find_broken(order[done:])
        if file:
            raise ValueError(f"{file} is truncated or no image; remove or replace it") from None
        raise ValueError(f"reading the data failed: {str(error).strip().splitlines()[0]}") from None
