"""The data sets: where the images come from and what their classes are called.

A `Source` reads undecoded or raw images; order and augmentation are the loader's.
"""
import dataclasses
import gzip
import os
import pathlib
from typing import Callable, List, Sequence, Tuple, Union

import numpy as np

from ghost_ms.config import DataConfig
from ghost_ms.data.transforms import EXTENSIONS

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
    """

    classes: List[str]
    labels: np.ndarray
    channels: int
    encoded: bool
    read: Callable[[int], Union[bytes, np.ndarray]]
    paths: Sequence[str] = ()

    @property
    def size(self) -> int:
        return len(self.labels)

    def name(self, sample: int) -> str:
        """The file of a sample, or its number where the data lies in memory."""
        return self.paths[sample] if self.paths else f"image {sample}"


def open_source(config: DataConfig, split: str) -> Source:
    """The 'train' or 'test' split of the data set that a recipe names; of the former, the share that it asks for.

    Raises:
        ValueError, FileNotFoundError: the folder is missing, or holds no such data set; the sentence says what it
            should hold.
    """
    source = _whole(config, split)
    return source if split == "test" or config.train_share == 1 else _part(source, config.train_share)


def _part(source: Source, share: float) -> Source:
    """The same share of every class, at least one image; which ones does not depend on the seed of a run."""
    order = np.random.default_rng(0).permutation(source.size)
    groups = [order[source.labels[order] == label] for label in range(len(source.classes))]
    kept = np.sort(np.concatenate([group[:max(1, round(share * len(group)))] for group in groups]))
    return dataclasses.replace(source, labels=source.labels[kept], read=lambda sample: source.read(kept[sample]),
                               paths=[source.paths[sample] for sample in kept] if source.paths else ())


def _whole(config: DataConfig, split: str) -> Source:
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
        raise FileNotFoundError(f"there is no data folder '{root}'{where} (--data.root)")
    if config.dataset == "image_folder":
        return _image_folder(root, split)
    if config.dataset in ("cifar10", "cifar100"):
        return _cifar(root, split, config.dataset)
    names = FASHION if config.dataset == "fashion_mnist" else [str(digit) for digit in range(10)]
    prefix = "train" if split == "train" else "t10k"
    images = read_idx(root, f"{prefix}-images-idx3-ubyte")
    return _arrays(images[..., None], read_idx(root, f"{prefix}-labels-idx1-ubyte"), names)


def read_idx(root: pathlib.Path, name: str) -> np.ndarray:
    """An IDX file of MNIST's kind, plain or .gz, as a uint8 array."""
    path = next((p for p in (root / name, root / f"{name}.gz", root / "raw" / name) if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{root} holds neither {name} nor {name}.gz")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        rank = content[3]
        shape = tuple(np.frombuffer(content, ">u4", rank, 4).tolist())
        return np.frombuffer(content, np.uint8, int(np.prod(shape)), 4 + 4 * rank).reshape(shape)
    except (ValueError, IndexError, EOFError, OSError) as error:
        raise ValueError(f"{path} is not a whole IDX file: {error}") from None


def _arrays(images: np.ndarray, labels: np.ndarray, classes) -> Source:
    """Images (N, H, W, C) uint8 and labels (N,) that lie in memory."""
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


def _image_folder(root: pathlib.Path, split: str) -> Source:
    folder = next((root / name for name in SPLITS[split] if (root / name).is_dir()), None)
    if folder is None:
        near = next((place for place in (root.resolve().parent, *sorted(filter(pathlib.Path.is_dir, root.iterdir())))
                     if all(any((place / name).is_dir() for name in names) for names in SPLITS.values())), None)
        raise FileNotFoundError(f"{root} holds no folder {' or '.join(SPLITS[split])}; an image_folder data set has "
                                "train/CLASS/IMAGE and val/CLASS/IMAGE"
                                + (f"; did you mean --data.root {near}?" if near else ""))
    files = {entry.name: sorted(file.path for file in os.scandir(entry.path) if file.name.endswith(EXTENSIONS))
             for entry in os.scandir(folder) if entry.is_dir()}
    classes = sorted(files)
    if not classes:
        raise ValueError(f"{folder} has no class folders; an image_folder data set has {folder.name}/CLASS/IMAGE")
    empty = [name for name in classes if not files[name]]
    if empty:
        raise ValueError(f"class folder '{folder / empty[0]}' holds no image ({', '.join(EXTENSIONS)}); "
                         "fill it or remove it")
    if split == "test":
        _check_classes(root, folder, classes)
    paths = [path for name in classes for path in files[name]]
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), [len(files[name]) for name in classes])
    return Source(classes, labels, 3, True, lambda sample: pathlib.Path(paths[sample]).read_bytes(), paths)


def _check_classes(root: pathlib.Path, folder: pathlib.Path, classes: Sequence[str]) -> None:
    """Labels are places in the sorted list of classes, so a missing folder would shift all that follow."""
    train = next((root / name for name in SPLITS["train"] if (root / name).is_dir()), None)
    if train is None:
        return
    trained = {entry.name for entry in os.scandir(train) if entry.is_dir()}
    for name in sorted(trained.symmetric_difference(classes)):
        there, missing = (train, folder) if name in trained else (folder, train)
        raise ValueError(f"class '{name}' has a folder in {there} and none in {missing}; "
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
        raise FileNotFoundError(f"{root} holds no {files[0]}: {kind} is read in its binary version")
    images, labels = [], []
    for name in files:
        rows = np.fromfile(folder / name, np.uint8)
        if rows.size == 0 or rows.size % (label_bytes + 3072):
            raise ValueError(f"{folder / name} is truncated: its size is no multiple of {label_bytes + 3072} bytes")
        rows = rows.reshape(-1, label_bytes + 3072)
        labels.append(rows[:, label_bytes - 1])
        images.append(rows[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    names = CIFAR10 if kind == "cifar10" else _cifar100_names(folder)
    return _arrays(np.ascontiguousarray(np.concatenate(images)), np.concatenate(labels), names)


def _cifar100_names(folder: pathlib.Path) -> Tuple[str, ...]:
    path = folder / "fine_label_names.txt"
    names = tuple(path.read_text().split()) if path.is_file() else ()
    return names if len(names) == 100 else tuple(f"class {label}" for label in range(100))
