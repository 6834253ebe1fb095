"""Pipelines: order, shards, augmentation and batches of a `Dataset`.

What a training step sees is a function of (seed, epoch, place in the epoch's order) and of nothing else: not of the
number of workers or devices, nor of what came before. So an epoch can start at any step, and a resumed run sees what
the uninterrupted one saw. Workers are threads of `mindspore.dataset`: decoding, resizing and NumPy release Python's
lock, nothing has to pass through shared memory, and no worker process can die (with `python_multiprocessing`, MindSpore
ends the whole run when one does, and Python cannot say why).
"""
import dataclasses
import inspect
import os
import re
from typing import Any, Callable, Dict, Iterator, List, Optional, Protocol, Sequence, Tuple

import numpy as np

from ghost_ms.config import Config
from ghost_ms.core.text import printable
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.decode import decode, to_pillow
from ghost_ms.data.transforms import Preprocessing

#: Batches, and rows before them, that a pipeline works ahead; MindSpore's 16 batches of 1024 images were 10 GB.
PREFETCH = 4
#: Images, at most, of a row. With one image a row, passing it on through MindSpore cost a fifth of the rate.
ROW = 16
#: Unreadable images in a row after which no further one is tried.
MAX_BROKEN_RUN = 100
#: Purposes of the random numbers of one place in an epoch.
SAMPLE, ERASING, MIXING = range(3)


@dataclasses.dataclass(frozen=True)
class Shard:
    """The part of the images that one of several devices takes.

    Args:
        rank: number of the device, from 0.
        size: number of devices.
    """

    rank: int = 0
    size: int = 1

    def __post_init__(self):
        if not 0 <= self.rank < self.size:
            raise ValueError(f"rank {self.rank} is not among {self.size} devices, which are counted from 0")


def generator(seed: int, epoch: int, place: int, purpose: int) -> np.random.Generator:
    """Random numbers that belong to a place in an epoch's order, or to a step (Salmon et al., SC 2011).

    A counter-based generator: each (place, purpose) has 2**128 numbers of its own, at no cost of seeding.
    """
    key = np.array([seed % 2 ** 64, epoch], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, place, purpose], np.uint64)))


def epoch_order(size: int, seed: int, epoch: int, repeated: int = 1) -> np.ndarray:
    """Samples in the order of an epoch. With repeated augmentation (arXiv 1902.05509) each is there so many times in
    a row, for as long as the epoch was without."""
    order = np.random.default_rng([seed % 2 ** 64, epoch]).permutation(size)
    return np.repeat(order[:-(-size // repeated)], repeated)[:size]


def balanced_order(labels: np.ndarray, seed: int, epoch: int, repeated: int = 1) -> np.ndarray:
    """Samples in the order of an epoch of the same length in which each class is drawn as often as every other one,
    give or take one draw. Of a class that is drawn more often than it has images, all come before one comes again.

    Args:
        labels: int (images,); classes without images are left out.
        repeated: see `epoch_order`; it is the draws that are repeated.
    """
    rng = np.random.default_rng([seed % 2 ** 64, epoch, 1])
    draws = -(-len(labels) // repeated)
    samples = np.argsort(labels, kind="stable")
    groups = np.split(samples, np.flatnonzero(np.diff(labels[samples])) + 1)
    # Which classes get the draws that are left over is another matter in every epoch.
    more = rng.permutation(len(groups)) < draws % len(groups)
    drawn = []
    for group, one_more in zip(groups, more):
        count = draws // len(groups) + one_more
        rounds = [rng.permutation(group) for _ in range(-(-count // len(group)))]
        drawn.append(np.concatenate([*rounds, group[:0]])[:count])
    order = rng.permutation(np.concatenate(drawn))
    return np.repeat(order, repeated)[:len(labels)]


def _order(source: Dataset, config: Config, epoch: int) -> np.ndarray:
    """The order of an epoch that the recipe asks for."""
    seed, repeated = config.run.seed, config.augment.repeated
    if config.data.sampler != "balanced":
        return epoch_order(source.size, seed, epoch, repeated)
    if source.multi_label or source.target is not None:
        raise ValueError("data.sampler balanced draws class by class, and an image of this data may have several; "
                         "leave it out, and weigh the classes with loss.class_weights")
    return balanced_order(source.labels, seed, epoch, repeated)


def steps_per_epoch(source: Dataset, config: Config, shard: Shard = Shard()) -> int:
    """Full global batches of an epoch.

    Raises:
        ValueError: there are fewer images than one batch takes.
    """
    batch = config.data.batch_size * shard.size
    if batch > source.size:
        devices = f" on each of {shard.size} devices" if shard.size > 1 else ""
        raise ValueError(f"data.batch_size is {config.data.batch_size}{devices}, but there are only {source.size} "
                         "images")
    return source.size // batch


class Draws:
    """The random numbers of a batch: a generator for each image, and those of the batch as a whole.

    Args:
        places: of the images in the epoch's order, (B,).
        place: that stands for the batch.
    """

    def __init__(self, seed: int, epoch: int, places: np.ndarray, place: int):
        self.seed, self.epoch, self.places, self.place = seed, epoch, places, place

    def image(self, index: int, purpose: int) -> np.random.Generator:
        """The generator of the n-th image of the batch."""
        return generator(self.seed, self.epoch, int(self.places[index]), purpose)

    def batch(self, purpose: int) -> np.random.Generator:
        return generator(self.seed, self.epoch, self.place, purpose)


class Transforms(Protocol):
    """What a task makes of samples and of batches of them.

    Attributes:
        preprocessing: channels and orientation that images are decoded with.
        targets: names of the arrays that go with an image.
    """

    preprocessing: Preprocessing
    targets: Tuple[str, ...]

    def sample(self, picture: Any, sample: int, rng: Optional[np.random.Generator]) -> Tuple[np.ndarray, ...]:
        """The image, uint8 (H, W, C), and its targets, all of fixed shapes.

        Args:
            picture: uint8 (H, W, C) or a Pillow image.
            sample: its number in the data set.
            rng: of this sample; None in evaluation.
        """

    def collate(self, pixels: np.ndarray, targets: Tuple[np.ndarray, ...],
                draws: Optional[Draws]) -> Tuple[np.ndarray, Tuple[np.ndarray, ...]]:
        """A batch as the step or the network takes it.

        Args:
            pixels: uint8 (B, H, W, C).
            targets: of each name, (B, ...).
            draws: random numbers; None in evaluation.
        """


class TrainingBatches:
    """Iterator over the batches of an epoch: the images, then their targets, all tensors, as the task's transforms make
    them.

    Step s takes the places from s * B * shard.size on of the epoch's order, every `shard.size`-th of them, so that the
    devices together see what one device with as large a batch would. An image that cannot be read is replaced by the
    next good one in that order.

    Args:
        skip: steps to leave out at the beginning, at no cost.

    Attributes:
        steps: of the whole epoch.
        step: that comes next.

    Raises:
        ValueError: more than `data.max_corrupt_share` of the images cannot be read, or reading fails altogether.
    """

    def __init__(self, source: Dataset, config: Config, transforms: Transforms, epoch: int, shard: Shard = Shard(),
                 skip: int = 0):
        self.source, self.batch, self.shard = source, config.data.batch_size, shard
        self.seed, self.epoch, self.share = config.run.seed, epoch, config.data.max_corrupt_share
        self.transforms, self.spec = transforms, transforms.preprocessing
        self.order = _order(source, config, epoch)
        self.steps = steps_per_epoch(source, config, shard)
        self.step = self._first = skip
        self._broken: Dict[int, None] = {}
        places = [self.places(step) for step in range(skip, self.steps)]
        self._rows = _rows(np.concatenate(places), self._sample, self._collate, self.batch, config.data.workers,
                           transforms.targets) if places else iter(())

    def places(self, step: int) -> np.ndarray:
        """Places in the epoch's order that a step takes, (B,)."""
        start = step * self.batch * self.shard.size + self.shard.rank
        return start + self.shard.size * np.arange(self.batch)

    def files(self, step: int) -> List[str]:
        """Names of the images of a step, counted from the epoch's beginning, unreadable ones included."""
        return [self.source.name(sample) for sample in self.order[self.places(step)]]

    @property
    def broken(self) -> List[str]:
        """Files that were replaced so far, each once, in the order in which they were met."""
        return [self.source.name(sample) for sample in self._broken]

    def broken_line(self, shown: int = 5) -> str:
        """A sentence on them, with the reasons of the first ones; empty where there are none."""
        if not self._broken:
            return ""
        named = "; ".join(_reason(self.source, sample) for sample in list(self._broken)[:shown])
        more = f"; and {len(self._broken) - shown} more" if len(self._broken) > shown else ""
        return (f"{len(self._broken)} of the epoch's {self.steps * self.batch} training images could not be read and "
                f"were replaced by others: {named}{more}")

    def __iter__(self) -> "TrainingBatches":
        return self

    def __next__(self) -> Tuple:
        *batch, used = next(self._rows)
        self._count_broken(used.asnumpy())
        self.step += 1
        return tuple(batch)

    def _sample(self, place: np.ndarray) -> Tuple[np.ndarray, ...]:
        """(image, *targets, place whose image it is) of a place."""
        place = int(place)
        for used in range(place, place + MAX_BROKEN_RUN):
            sample = int(self.order[used % len(self.order)])
            try:
                picture = self.source.read(sample)
                if self.source.encoded:
                    picture = decode(picture, self.spec.channels, self.spec.orient)
            except (ValueError, OSError):
                continue
            rng = generator(self.seed, self.epoch, place, SAMPLE)
            return (*self.transforms.sample(picture, sample, rng), np.int64(used))
        raise ValueError(f"{MAX_BROKEN_RUN} training images in a row cannot be read, the first is "
                         f"{_reason(self.source, int(self.order[place]))}; check the folder, its rights and the disk")

    def _collate(self, images: Sequence, *columns: Any) -> Tuple:
        *targets, used, info = columns
        step = self._first + info.get_batch_num()
        draws = Draws(self.seed, self.epoch, self.places(step), step * self.shard.size + self.shard.rank)
        pixels, arrays = self.transforms.collate(np.concatenate(images), tuple(map(np.concatenate, targets)), draws)
        return (pixels, *arrays, np.concatenate(used))

    def _count_broken(self, used: np.ndarray) -> None:
        for place, good in zip(self.places(self.step).tolist(), used.tolist()):
            self._broken.update(dict.fromkeys(self.order[other % len(self.order)] for other in range(place, good)))
        total = self.steps * self.batch
        if len(self._broken) > self.share * total:
            first = _reason(self.source, next(iter(self._broken)))
            raise ValueError(f"{len(self._broken)} of the epoch's {total} training images cannot be read, more than "
                             f"data.max_corrupt_share ({self.share}) allows; the first is {first}; remove or replace "
                             "it, or raise the share")


def evaluation_batches(source: Dataset, config: Config, transforms: Transforms,
                       shard: Shard = Shard()) -> Iterator[Tuple[np.ndarray, ...]]:
    """(images float32 (B, C, H, W), then the targets of the first b of them) in order, each image once over all shards.

    Every batch of images has the same shape, so that one compiled graph serves all: the last one is filled up by
    repeating its last image, and its targets tell by their number how many count. Shards may have different numbers of
    batches.

    Raises:
        ValueError: an image cannot be read; the sentence names the file.
    """
    spec = transforms.preprocessing

    def sample(place: np.ndarray) -> Tuple[np.ndarray, ...]:
        place = int(place)
        try:
            picture = to_pillow(source.read(place), spec.channels, spec.orient)
        except (ValueError, OSError):
            raise ValueError(f"{_reason(source, place)}; remove or replace it") from None
        return (*transforms.sample(picture, place, None), np.int64(place))

    def collate(images, *columns):
        *targets, places, _ = columns
        pixels, arrays = transforms.collate(np.concatenate(images), tuple(map(np.concatenate, targets)), None)
        return (pixels, *arrays, np.concatenate(places))

    batch = min(config.data.eval_batch_size, -(-source.size // shard.size))
    places = np.arange(shard.rank, source.size, shard.size)
    if not len(places):
        return
    for columns in _rows(places, sample, collate, batch, config.data.workers, transforms.targets):
        pixels, *targets = (column.asnumpy() for column in columns[:-1])
        missing = batch - len(pixels)
        if missing:
            pixels = np.concatenate([pixels, np.repeat(pixels[-1:], missing, axis=0)])
        yield (pixels, *targets)


def _reason(source: Dataset, sample: int) -> str:
    """What is wrong with an unreadable image."""
    try:
        to_pillow(source.read(sample), source.channels)
    except (ValueError, OSError) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else error
        return f"{source.name(sample)} ({printable(reason)})"
    return source.name(sample)


def _rows(places: np.ndarray, sample: Callable, collate: Callable, batch: int, workers: int,
          targets: Sequence[str]) -> Iterator[Tuple]:
    """Batches of tensors: `sample` runs in the workers for every place, `collate` in one more thread for every batch,
    on a list per column of arrays that hold up to `ROW` samples each.

    An error of either is raised here as a sentence; without, MindSpore wraps it in a page of advice.
    """
    import mindspore.dataset as ds

    errors: List[BaseException] = []

    def kept(function: Callable, arguments: Sequence[str]) -> Callable:
        def call(*args):
            try:
                return function(*args)
            except BaseException as error:
                errors.append(error)
                raise

        # MindSpore wants as many parameters as there are columns.
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter(name, kind) for name in arguments]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return call

    row = max(size for size in range(1, ROW + 1) if batch % size == 0)

    def samples(start: np.ndarray) -> Tuple[np.ndarray, ...]:
        return tuple(np.stack(column) for column in zip(*map(sample, places[start:start + row])))

    columns = ["image", *targets, "place"]
    ds.config.set_prefetch_size(PREFETCH)
    rows = ds.NumpySlicesDataset(np.arange(0, len(places), row), ["start"], shuffle=False)
    # MindSpore refuses more workers than cores.
    threads = max(1, min(workers, os.cpu_count() or 1))
    rows = rows.map(kept(samples, ["start"]), "start", columns, num_parallel_workers=threads)
    rows = rows.batch(batch // row, per_batch_map=kept(collate, [*columns, "info"]), input_columns=columns,
                      num_parallel_workers=1)
    try:
        yield from rows.create_tuple_iterator(num_epochs=1)
    except (RuntimeError, MemoryError) as error:
        raise _sentence(errors[0] if errors else error) from None


def _sentence(error: BaseException) -> Exception:
    """An error of the pipeline as one sentence with a remedy."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or re.search("bad_alloc|[Oo]ut of memory|[Cc]annot allocate memory", text):
        return OSError("out of memory while reading the data; lower data.workers or data.batch_size")
    if re.search("shared memory|/dev/shm|No space left", text):
        return OSError(f"out of shared memory or disk space while reading the data ({text[:200]}); "
                       "enlarge /dev/shm, or lower data.workers or data.batch_size")
    if isinstance(error, (ValueError, OSError)):
        return error
    return ValueError(f"a data worker failed: {type(error).__name__}: {text[:300]}")
