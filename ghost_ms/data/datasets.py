"""The data sets: where the images come from and what their classes are called."""
import collections
import functools
import gzip
import io
import math
import os
import pathlib
import struct
import zlib
from typing import BinaryIO, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ghost_ms.config import DATASETS, DataConfig, one_of
from ghost_ms.config.data import REGISTERED
from ghost_ms.core.plain import read_text
from ghost_ms.core.text import printable
from ghost_ms.data import folders, label_files
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.decode import MAX_BYTES, read_image_file
from ghost_ms.data.splits import hold_out, train_share
from ghost_ms.models.classes import match

__all__ = ["SPLITS", "Dataset", "open_source", "read_idx"]

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
#: What a split can be called.
SPLITS = ("train", "val", "test")
#: Bytes of the largest file of names of classes.
MOST_NAMES_BYTES = 1 << 24
#: Bytes of the largest synthetic split, which lies in memory.
SYNTHETIC_BYTES = 4 * 10 ** 9


class _Parts(NamedTuple):
    """What a data set consists of.

    Args:
        readers: 'train', 'val' and 'test', as far as there are such -> what reads it.
        absent: such a name -> the error that says that it is not there.
        val: where the validation split comes from.
        notes: sentences about how they were found.
    """

    readers: Dict[str, Callable[[], Dataset]]
    absent: Callable[[str], Exception]
    val: str = ""
    notes: Sequence[str] = ()


def register(name: str) -> Callable[[Callable[[DataConfig, str], Dataset]], Callable[[DataConfig, str], Dataset]]:
    """Decorator of a function (section data, 'train' or 'val') -> `Dataset`: recipes then know it as `data.dataset`.

    Raises:
        ValueError: the name is taken.
    """
    def wrap(function: Callable[[DataConfig, str], Dataset]) -> Callable[[DataConfig, str], Dataset]:
        if name in DATASETS or name in REGISTERED:
            raise ValueError(f"data set '{name}' is registered twice; choose another name")
        REGISTERED[name] = function
        return function

    return wrap


def open_source(config: DataConfig, split: str, classes: Optional[Sequence[str]] = None) -> Dataset:
    """One split of the data set that a recipe names.

    'train' is what is trained on, of which `data.train_share` takes a part. 'val' is what a training evaluates on: the
    share that `data.val_share` holds out of the training images, the data set's own validation split, or where it has
    none its test split. 'test' is the data set's own test split.

    Args:
        classes: the order that the labels follow, such as a checkpoint's own: the data's classes are mapped to it as
            `classes.match` has it. By default that of `data.classes`, else the data set's own, for class folders the
            natural one (1, 2, 10).

    Raises:
        ValueError, FileNotFoundError: the folder is missing, holds no such data set or no such split, or has classes
            that are not among `classes`; the sentence says what it should hold.
    """
    one_of("the split", split, SPLITS)
    own = class_list(config)
    parts = _parts(config, own if classes is None else classes, own)
    if config.val_share and split != "test":
        source = _shared(parts, config.val_share)[split]
    else:
        name = "test" if split == "val" and "val" not in parts.readers else split
        if name not in parts.readers:
            raise parts.absent(split)
        source = parts.readers[name]()
    wanted = own if classes is None else classes
    if wanted is not None and source.classes != list(wanted):
        places, notes = match(source.classes, wanted)
        source = source.relabelled(places, wanted)
        source.notes = [*source.notes, *notes]
    source.notes = list(dict.fromkeys((*parts.notes, *source.notes)))
    return source if split != "train" or config.train_share == 1 else train_share(source, config.train_share)


def splits_of(config: DataConfig) -> List[str]:
    """The splits that a recipe's data set has, without one that would be another once more; errors as `open_source`."""
    own = class_list(config)
    readers = _parts(config, own, own).readers
    val = bool(config.val_share) or "val" in readers
    there = {"train": "train" in readers, "val": val or "test" in readers, "test": val and "test" in readers}
    return [split for split in SPLITS if there[split]]


def class_list(config: DataConfig) -> Optional[List[str]]:
    """The names of `data.classes`, of a list or of a file; None where a recipe gives none.

    Raises:
        OSError, ValueError: the file cannot be read, or names a class twice.
    """
    if config.classes is None or isinstance(config.classes, list):
        return config.classes
    path = os.path.join(os.path.expanduser(config.root or ""), os.path.expanduser(config.classes))
    names = [line.strip() for line in read_text(path, MOST_NAMES_BYTES).splitlines() if line.strip()]
    twice = next((name for name, count in collections.Counter(names).items() if count > 1), None)
    if twice is not None or not names:
        raise ValueError(f"data.classes '{printable(path)}' has one class name per line, "
                         + ("but is empty" if twice is None else f"but '{printable(twice)}' stands twice"))
    return names


def _shared(parts: _Parts, share: float) -> Dict[str, Dataset]:
    """The training split without the share that is held out, and that share."""
    if "val" in parts.readers:
        raise ValueError(f"data.val_share is {share:g}, but the data set has images to evaluate on of its own "
                         f"({parts.val}); leave out one of both")
    if "train" not in parts.readers:
        raise parts.absent("train")
    whole = parts.readers["train"]()
    training, evaluation = hold_out(whole, share)
    return {"train": training, "val": evaluation}


def _parts(config: DataConfig, order: Optional[Sequence[str]], own: Optional[Sequence[str]]) -> _Parts:
    """The parts of a recipe's data set; `order` as `open_source` takes it, `own` as `data.classes` has it."""
    if config.dataset in REGISTERED:
        return _Parts({name: functools.partial(REGISTERED[config.dataset], config, name) for name in SPLITS[:2]},
                      lambda split: ValueError(f"{config.dataset} has no {split} split"), "its own 'val'")
    if config.dataset == "embedded":
        return _two(embedded)
    if config.dataset == "synthetic":
        return _two(functools.partial(_synthetic, config))
    root = data_root(config)
    if config.dataset == "image_folder":
        return _folder_parts(root, config, order)
    if config.dataset == "label_file":
        return _label_file_parts(root, config, own)
    if config.dataset in ("cifar10", "cifar100"):
        return _two(functools.partial(_cifar, root, config.dataset))
    return _two(functools.partial(_mnist, root, config.dataset))


def _two(read: Callable[[str], Dataset]) -> _Parts:
    """A data set that comes with images to train with and to test with, and always has both."""
    return _Parts({split: functools.partial(read, split) for split in ("train", "test")}, ValueError)


def data_root(config: DataConfig) -> pathlib.Path:
    """The folder of a recipe's data set; ValueError where the recipe names none, FileNotFoundError where it is none."""
    if config.root is None:
        raise ValueError(f"data.root is not set: give the folder of the {config.dataset} data set (--data.root DIR); "
                         "--config configs/quickstart.yaml needs none")
    root = pathlib.Path(config.root).expanduser()
    if not root.is_dir():
        where = "" if root.is_absolute() else f" in {os.getcwd()}"
        raise FileNotFoundError(f"there is no data folder '{printable(root)}'{where} (--data.root)")
    return root


def _folder_parts(root: pathlib.Path, config: DataConfig, order: Optional[Sequence[str]]) -> _Parts:
    paths, notes = folders.data_folders(root, config.val_share)

    def read(split: str) -> Dataset:
        if split != "train" and "train" in paths and order is None:
            folders.check_same_classes(paths["train"], paths[split])
        return folders.read_folder(paths[split], order)

    return _Parts({split: functools.partial(read, split) for split in paths},
                  lambda split: folders.absent(split, root), printable(paths.get("val")), notes)


def _label_file_parts(root: pathlib.Path, config: DataConfig, own: Optional[Sequence[str]]) -> _Parts:
    files = label_files.given(config)

    def absent(split: str) -> Exception:
        return ValueError(f"data.{split}_labels is not set: name the label file of the split, such as {split}.csv"
                          + (", or set data.val_share 0.2 to evaluate on a part of the training images"
                             if split == "val" else ""))

    return _Parts({split: functools.partial(label_files.read_split, root, files, split, own, config)
                   for split in files}, absent, "data.val_labels")


def read_idx(root: pathlib.Path, name: str, rank: int) -> np.ndarray:
    """An IDX file of MNIST's kind, plain or .gz, as a uint8 array of so many dimensions."""
    path = next((p for p in (root / name, root / f"{name}.gz", root / "raw" / name) if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{printable(root)} holds neither {name} nor {name}.gz")
    try:
        with _opened(path) as file:
            if file.read(4) != bytes((0, 0, 8, rank)):
                raise ValueError(f"it does not hold bytes of {rank} dimension{'s' * (rank > 1)}")
            shape = struct.unpack(f">{rank}I", file.read(4 * rank))
            size = math.prod(shape)
            # The sizes are the file's own words, and a small .gz can hold any amount.
            if size > MAX_BYTES:
                raise ValueError(f"it has {size} bytes, and {MAX_BYTES} are the limit")
            content = file.read(size)
            file.read(1)  # at its end, a .gz compares its checksum
            return np.frombuffer(content, np.uint8).reshape(shape)
    except (ValueError, EOFError, OSError, zlib.error, struct.error) as error:
        raise ValueError(f"{printable(path)} is not a whole IDX file: {error}") from None


def _mnist(root: pathlib.Path, kind: str, split: str) -> Dataset:
    names = FASHION if kind == "fashion_mnist" else [str(digit) for digit in range(10)]
    prefix = "train" if split == "train" else "t10k"
    images = read_idx(root, f"{prefix}-images-idx3-ubyte", 3)
    return _arrays(images[..., None], read_idx(root, f"{prefix}-labels-idx1-ubyte", 1), names)


def _opened(path: pathlib.Path) -> BinaryIO:
    content = io.BytesIO(read_image_file(path))
    return gzip.GzipFile(fileobj=content) if path.suffix == ".gz" else content


def _arrays(images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Dataset:
    """Images (N, H, W, C) uint8 and labels (N,) that lie in memory; ValueError where they do not belong together."""
    if len(images) != len(labels):
        raise ValueError(f"the data set has {len(images)} images and {len(labels)} labels")
    if len(labels) and int(labels.max()) >= len(classes):
        raise ValueError(f"the data set has the label {int(labels.max())}, but its {len(classes)} classes are counted "
                         "from 0")
    return Dataset(list(classes), labels.astype(np.int32), images.shape[-1], False, images.__getitem__)


def embedded(split: str) -> Dataset:
    """8,000 images of Fashion-MNIST that come with the package: 700 per class to train, 100 per class to test."""
    with np.load(pathlib.Path(__file__).parent / "embedded" / "fashion_mnist_8k.npz") as arrays:
        return _arrays(arrays[f"{split}_images"][..., None], arrays[f"{split}_labels"], FASHION)


def _synthetic(config: DataConfig, split: str) -> Dataset:
    """Noise around one random coarse picture per class: learnable, and of any size."""
    height, width = config.input_size or (224, 224)
    classes, size = config.synthetic_classes, config.synthetic_size
    needed = size * height * width * 3
    if needed > SYNTHETIC_BYTES:
        raise ValueError(f"data.synthetic_size: {size} images of {height}x{width} would take {needed / 1e9:.1f} GB of "
                         f"memory, and {SYNTHETIC_BYTES / 1e9:.0f} GB is the most; take fewer")
    coarse = np.random.default_rng(0).integers(0, 256, (classes, 4, 4, 3))
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    draw = np.random.default_rng(1 if split == "train" else 2)
    labels = np.arange(size) % classes
    images = np.empty((size, height, width, 3), np.uint8)
    for index, label in enumerate(labels):
        noise = draw.integers(-40, 41, (height, width, 3))
        images[index] = np.clip(coarse[label][rows][:, columns] + noise, 0, 255)
    return _arrays(images, labels, [f"class {label}" for label in range(classes)])


def _cifar(root: pathlib.Path, kind: str, split: str) -> Dataset:
    """The binary version of CIFAR, as its authors distribute it."""
    files, label_bytes = {
        ("cifar10", "train"): ([f"data_batch_{i}.bin" for i in range(1, 6)], 1),
        ("cifar10", "test"): (["test_batch.bin"], 1),
        ("cifar100", "train"): (["train.bin"], 2),
        ("cifar100", "test"): (["test.bin"], 2),
    }[kind, split]
    folder = next((f for f in (root, root / f"{kind[:5]}-{kind[5:]}-batches-bin", root / "cifar-100-binary")
                   if (f / files[0]).is_file()), None)
    if folder is None:
        raise FileNotFoundError(f"{printable(root)} holds no {files[0]}: {kind} is read in its binary version")
    images, labels = [], []
    for name in files:
        rows = np.frombuffer(_content(folder / name), np.uint8)
        if rows.size == 0 or rows.size % (label_bytes + 3072):
            raise ValueError(f"{printable(folder / name)} is truncated: its size is no multiple of "
                             f"{label_bytes + 3072} bytes")
        rows = rows.reshape(-1, label_bytes + 3072)
        labels.append(rows[:, label_bytes - 1])
        images.append(rows[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    names = CIFAR10 if kind == "cifar10" else _cifar100_names(folder)
    return _arrays(np.ascontiguousarray(np.concatenate(images)), np.concatenate(labels), names)


def _content(path: pathlib.Path) -> bytes:
    try:
        return read_image_file(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file '{printable(path)}', which belongs to the data set") from None
    except ValueError as error:
        raise ValueError(f"'{printable(path)}' cannot be read: {error}") from None


def _cifar100_names(folder: pathlib.Path) -> Tuple[str, ...]:
    path = folder / "fine_label_names.txt"
    names = tuple(path.read_text().split()) if path.is_file() else ()
    return names if len(names) == 100 else tuple(f"class {label}" for label in range(100))
