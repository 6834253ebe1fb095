"""The data sets: where the images come from and what their classes are called.

A `Source` reads undecoded or raw images; order and augmentation are the loader's.
"""
import dataclasses
import gzip
import io
import math
import os
import pathlib
import struct
import zlib
from typing import BinaryIO, Callable, List, Optional, Sequence, Tuple, Union

import numpy as np

from ghost_ms.config import DataConfig
from ghost_ms.core.text import printable
from ghost_ms.data.decode import MAX_BYTES, read_image_file
from ghost_ms.data.images import Found, class_folders, find_images, natural, passed_over_line, some

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPLITS = {"train": ("train", "training"), "test": ("val", "validation", "test", "eval")}


@dataclasses.dataclass
class Source:
    """One split of a data set.

    Args:
        classes: name of each label, in the order of the labels.
        labels: int32 (images,).
        channels: 3 or 1.
        encoded: whether an image is a file's bytes rather than uint8 (H, W, C).
        read: number of a sample -> its image, in that form; OSError for a file that cannot be read.
        paths: the files, in the order of the samples; empty for data that lies in memory.
        notes: sentences to be said once at the start, such as on files that were passed over.
    """

    classes: List[str]
    labels: np.ndarray
    channels: int
    encoded: bool
    read: Callable[[int], Union[bytes, np.ndarray]]
    paths: Sequence[str] = ()
    notes: List[str] = dataclasses.field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.labels)

    def name(self, sample: int) -> str:
        """The file of a sample, safe to print, or its number where the data lies in memory."""
        return printable(self.paths[sample]) if self.paths else f"image {sample}"


def open_source(config: DataConfig, split: str, classes: Optional[Sequence[str]] = None) -> Source:
    """The 'train' or 'test' split of the data set that a recipe names; of the former, the share that it asks for.

    Args:
        classes: the order that the labels follow, such as a checkpoint's own: the data's classes are mapped to it by
            name. By default the data set's own order, for class folders the natural one (1, 2, 10).

    Raises:
        ValueError, FileNotFoundError: the folder is missing, holds no such data set, or has other classes than
            `classes`; the sentence says what it should hold.
    """
    source = _whole(config, split, classes)
    if classes is not None and source.classes != list(classes):
        source = _follow(source, classes)
    return source if split == "test" or config.train_share == 1 else _part(source, config.train_share)


def _part(source: Source, share: float) -> Source:
    """The same share of every class, at least one image; which ones does not depend on the seed of a run."""
    order = np.random.default_rng(0).permutation(source.size)
    groups = [order[source.labels[order] == label] for label in range(len(source.classes))]
    kept = np.sort(np.concatenate([group[:max(1, round(share * len(group)))] for group in groups]))
    return dataclasses.replace(source, labels=source.labels[kept], read=lambda sample: source.read(kept[sample]),
                               paths=[source.paths[sample] for sample in kept] if source.paths else ())


def _follow(source: Source, classes: Sequence[str]) -> Source:
    """The same images with labels that count in the order of `classes`."""
    _check_names(source.classes, classes, "class")
    places = {name: place for place, name in enumerate(classes)}
    labels = np.array([places[name] for name in source.classes], np.int32)[source.labels]
    return dataclasses.replace(source, classes=list(classes), labels=labels)


def _check_names(there: Sequence[str], classes: Sequence[str], kind: str) -> None:
    """ValueError unless the names of the data are `classes` in some order, each once."""
    unknown = sorted(set(there) - set(classes), key=natural)
    missing = sorted(set(classes) - set(there), key=natural)
    if unknown or missing or len(set(classes)) != len(classes):
        faults = [f"the data has {some(unknown)}, which the network does not know"] if unknown else []
        faults += [f"the data has no {kind} {some(missing)}"] if missing else []
        faults = faults or ["two of the network's have the same name"]
        raise ValueError(f"the data does not have the {len(classes)} classes of the network: {'; '.join(faults)}; "
                         "rename the classes of the data, or take a network that was trained on them")


def _whole(config: DataConfig, split: str, classes: Optional[Sequence[str]]) -> Source:
    if config.dataset == "embedded":
        return _embedded(split)
    if config.dataset == "synthetic":
        return _synthetic(config, split)
    if config.root is None:
        raise ValueError(f"data.root is not set: give the folder of the {config.dataset} data set (--data.root DIR); "
                         "--config configs/quickstart.yaml needs none")
    root = pathlib.Path(config.root).expanduser()
    if not root.is_dir():
        where = "" if root.is_absolute() else f" in {os.getcwd()}"
        raise FileNotFoundError(f"there is no data folder '{_shown(root)}'{where} (--data.root)")
    if config.dataset == "image_folder":
        return _image_folder(root, split, classes)
    if config.dataset in ("cifar10", "cifar100"):
        return _cifar(root, split, config.dataset)
    names = FASHION if config.dataset == "fashion_mnist" else [str(digit) for digit in range(10)]
    prefix = "train" if split == "train" else "t10k"
    images = read_idx(root, f"{prefix}-images-idx3-ubyte", 3)
    return _arrays(images[..., None], read_idx(root, f"{prefix}-labels-idx1-ubyte", 1), names)


def read_idx(root: pathlib.Path, name: str, rank: int) -> np.ndarray:
    """An IDX file of MNIST's kind, plain or .gz, as a uint8 array of so many dimensions."""
    path = next((p for p in (root / name, root / f"{name}.gz", root / "raw" / name) if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{_shown(root)} holds neither {name} nor {name}.gz")
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
        raise ValueError(f"{_shown(path)} is not a whole IDX file: {error}") from None


def _opened(path: pathlib.Path) -> BinaryIO:
    content = io.BytesIO(read_image_file(path))
    return gzip.GzipFile(fileobj=content) if path.suffix == ".gz" else content


def _arrays(images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Source:
    """Images (N, H, W, C) uint8 and labels (N,) that lie in memory; ValueError where they do not belong together."""
    if len(images) != len(labels):
        raise ValueError(f"the data set has {len(images)} images and {len(labels)} labels")
    if len(labels) and int(labels.max()) >= len(classes):
        raise ValueError(f"the data set has the label {int(labels.max())}, but its {len(classes)} classes are counted "
                         "from 0")
    return Source(list(classes), labels.astype(np.int32), images.shape[-1], False, images.__getitem__)


def _embedded(split: str) -> Source:
    """8,000 images of Fashion-MNIST that come with the package: 700 a class to train, 100 a class to test."""
    with np.load(pathlib.Path(__file__).parent / "embedded" / "fashion_mnist_8k.npz") as arrays:
        return _arrays(arrays[f"{split}_images"][..., None], arrays[f"{split}_labels"], FASHION)


def _synthetic(config: DataConfig, split: str) -> Source:
    """Noise around one random coarse picture a class: learnable, and of any size."""
    height, width = config.input_size or (224, 224)
    classes, size = config.synthetic_classes, config.synthetic_size
    coarse = np.random.default_rng(0).integers(0, 256, (classes, 4, 4, 3))
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    draw = np.random.default_rng(1 if split == "train" else 2)
    labels = np.arange(size) % classes
    images = np.empty((size, height, width, 3), np.uint8)
    for index, label in enumerate(labels):
        noise = draw.integers(-40, 41, (height, width, 3))
        images[index] = np.clip(coarse[label][rows][:, columns] + noise, 0, 255)
    return _arrays(images, labels, [f"class {label}" for label in range(classes)])


def _image_folder(root: pathlib.Path, split: str, order: Optional[Sequence[str]]) -> Source:
    folder = next((root / name for name in SPLITS[split] if (root / name).is_dir()), None)
    if folder is None:
        near = next((place for place in (root.resolve().parent, *sorted(filter(pathlib.Path.is_dir, root.iterdir())))
                     if all(any((place / name).is_dir() for name in names) for names in SPLITS.values())), None)
        raise FileNotFoundError(f"{_shown(root)} holds no folder {' or '.join(SPLITS[split])}; an image_folder data "
                                "set has train/CLASS/IMAGE and val/CLASS/IMAGE"
                                + (f"; did you mean --data.root {_shown(near)}?" if near else ""))
    folders, passed_over = class_folders(folder)
    if not folders:
        raise ValueError(f"{_shown(folder)} has no class folders; an image_folder data set has "
                         f"{folder.name}/CLASS/IMAGE")
    if order is None:
        classes = sorted(folders, key=natural)
        if split == "test":
            _check_classes(root, folder, classes)
    else:
        _check_names(list(folders), order, "folder")
        classes = list(order)
    found = {name: find_images(folders[name]) for name in classes}
    for name in classes:
        passed_over.update(found[name].passed_over)
        if not found[name].paths:
            raise ValueError(_empty(folders[name], found[name]))
    paths = [path for name in classes for path in found[name].paths]
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), [len(found[name].paths) for name in classes])
    poor = [name for name in classes if found[name].lost() >= len(found[name].paths)]
    notes = [passed_over_line(passed_over, folder)] if passed_over else []
    if poor:
        notes.append(f"half of the files or more were passed over of {len(poor)} of {len(classes)} classes: "
                     f"{some(poor, 5)}")
    return Source(classes, labels, 3, True, lambda sample: read_image_file(paths[sample]), paths, notes)


def _shown(path: Union[str, os.PathLike]) -> str:
    return printable(os.fspath(path))


def _empty(folder: str, found: Found) -> str:
    line = passed_over_line(found.passed_over, folder)
    return (f"class folder '{_shown(folder)}' holds no image that can be decoded here{f' ({line})' if line else ''}; "
            "fill it or remove it")


def _check_classes(root: pathlib.Path, folder: pathlib.Path, classes: Sequence[str]) -> None:
    """Labels are places in the list of classes, so a missing folder would shift all that follow."""
    train = next((root / name for name in SPLITS["train"] if (root / name).is_dir()), None)
    if train is None:
        return
    trained = class_folders(train)[0]
    for name in sorted(set(trained).symmetric_difference(classes)):
        there, missing = (train, folder) if name in trained else (folder, train)
        raise ValueError(f"class '{printable(name)}' has a folder in {_shown(there)} and none in {_shown(missing)}; "
                         "both must hold the same classes")


def _cifar(root: pathlib.Path, split: str, kind: str) -> Source:
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
        raise FileNotFoundError(f"{_shown(root)} holds no {files[0]}: {kind} is read in its binary version")
    images, labels = [], []
    for name in files:
        rows = np.frombuffer(_content(folder / name), np.uint8)
        if rows.size == 0 or rows.size % (label_bytes + 3072):
            raise ValueError(f"{_shown(folder / name)} is truncated: its size is no multiple of {label_bytes + 3072} "
                             "bytes")
        rows = rows.reshape(-1, label_bytes + 3072)
        labels.append(rows[:, label_bytes - 1])
        images.append(rows[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    names = CIFAR10 if kind == "cifar10" else _cifar100_names(folder)
    return _arrays(np.ascontiguousarray(np.concatenate(images)), np.concatenate(labels), names)


def _content(path: pathlib.Path) -> bytes:
    try:
        return read_image_file(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file '{_shown(path)}', which belongs to the data set") from None
    except ValueError as error:
        raise ValueError(f"'{_shown(path)}' cannot be read: {error}") from None


def _cifar100_names(folder: pathlib.Path) -> Tuple[str, ...]:
    path = folder / "fine_label_names.txt"
    names = tuple(path.read_text().split()) if path.is_file() else ()
    return names if len(names) == 100 else tuple(f"class {label}" for label in range(100))
