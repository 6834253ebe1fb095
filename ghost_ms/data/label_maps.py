"""Images with maps of labels, from folders: a plain one, PASCAL VOC, ADE20K and Cityscapes.

A map is an image of the same size whose pixels are the numbers of classes: indexed (a palette) or grey with 8 bits. 255
marks pixels that no loss and no metric counts.
"""
import csv
import dataclasses
import io
import os
import pathlib
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ghost_ms.config import DataConfig
from ghost_ms.core.plain import read_text
from ghost_ms.core.text import printable, some
from ghost_ms.data import canvas, parts
from ghost_ms.data.check import open_header
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.datasets import MOST_NAMES_BYTES, SPLITS, class_list, data_root
from ghost_ms.data.decode import open_image, read_image_file, to_pillow
from ghost_ms.data.geometry import IGNORE
from ghost_ms.data.images import find_images, passed_over_line
from ghost_ms.data.splits import train_share
from ghost_ms.models.classes import match

#: PASCAL VOC 2012's classes, the background first.
VOC_CLASSES = ("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
               "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train",
               "tv monitor")
#: Cityscapes' classes that are trained on, and the number that its files have for each.
CITYSCAPES = {"road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
              "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26,
              "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33}
#: Classes of ADE20K's scene parsing benchmark.
ADE20K_CLASSES = 150
#: The data set that is made, not read.
CANVAS = "fashion_canvas"


class Pairs(NamedTuple):
    """The files of a split.

    Args:
        images, masks: paths, in the same order.
        folder: that they lie in.
        notes: sentences on what was passed over.
    """

    images: List[str]
    masks: List[str]
    folder: str
    notes: Sequence[str] = ()


class Layout(NamedTuple):
    """A data set on a disk.

    Args:
        classes: names, in the order of the labels.
        pairs: split -> what lists its files, for the splits that there are.
        table: uint8 (256,), from the number in a file to the label; None where they are the same.
        notes: sentences about it.
    """

    classes: List[str]
    pairs: Dict[str, Callable[[], Pairs]]
    table: Optional[np.ndarray] = None
    notes: Sequence[str] = ()


def open_label_maps(config: DataConfig, split: str, classes: Optional[Sequence[str]] = None) -> Dataset:
    """One split of a data set of images with maps of labels; its `target` reads a map, uint8 (H, W).

    Args:
        split: train; val, what a training evaluates on; or test.
        classes: the order that the labels follow, as in `datasets.open_source`.

    Raises:
        ValueError, FileNotFoundError: the folder is missing or holds no such data set or split, a file has no partner,
            or a class is not among `classes`.
    """
    source = _canvas(config, split) if config.dataset == CANVAS else _of_files(config, split)
    if classes is not None and list(classes) != source.classes:
        source = reordered(source, classes)
    return source if split != "train" or config.train_share == 1 else train_share(source, config.train_share)


def splits_of(config: DataConfig) -> List[str]:
    """The splits that a recipe's data set has, without one that would be another once more; errors as
    `open_label_maps`."""
    if config.dataset == CANVAS:
        return list(canvas.SIZES)
    return parts.splits_in(LAYOUTS[config.dataset](data_root(config), config).pairs, config)


def _canvas(config: DataConfig, split: str) -> Dataset:
    parts.refuse_share(config)
    return canvas.open_canvas(split)


def _of_files(config: DataConfig, split: str) -> Dataset:
    layout = LAYOUTS[config.dataset](data_root(config), config)
    return parts.of_split(layout.pairs, split, config, lambda found: _dataset(layout, found, config))


def reordered(source: Dataset, classes: Sequence[str]) -> Dataset:
    """The same images with labels that count in the order of `classes`; ValueError as `models.classes.match`."""
    places, notes = match(source.classes, classes)
    table = np.full(256, IGNORE, np.uint8)
    table[:len(places)] = places
    target = source.target
    return dataclasses.replace(source, classes=list(classes), notes=[*source.notes, *notes],
                               target=lambda sample: table[target(sample)])


def _dataset(layout: Layout, found: Pairs, config: DataConfig) -> Dataset:
    table, classes = layout.table, len(layout.classes)

    def target(sample: int) -> np.ndarray:
        labels = read_map(found.masks[sample], table)
        _check_values(labels, classes, found.masks[sample], layout.classes)
        return labels

    def fault(sample: int) -> Optional[str]:
        try:
            labels = target(sample)
            size = image_size(found.images[sample], config.orient is not False)
        except (ValueError, OSError) as error:
            return str(error)
        if labels.shape != size[::-1]:
            return (f"the map '{printable(found.masks[sample])}' is {labels.shape[1]}x{labels.shape[0]} pixels, and "
                    f"its image '{printable(found.images[sample])}' {size[0]}x{size[1]}: width and height have to "
                    "agree")
        return None

    return Dataset(list(layout.classes), np.zeros(len(found.images), np.int32), 3, True,
                   lambda sample: read_image_file(found.images[sample]), found.images, found.folder,
                   [*layout.notes, *found.notes], target, found.masks, fault)


def image_size(path: str, orient: bool) -> Tuple[int, int]:
    """(width, height) of an image file as it is used; ValueError names one that is no image."""
    try:
        image, orientation = open_header(path)
        if image.format == "JPEG" or not orient:
            return image.size[::-1] if orient and orientation >= 5 else image.size
        # Others may tell their orientation behind the pixels.
        return to_pillow(read_image_file(path), 3, orient).size
    except ValueError as error:
        raise ValueError(f"'{printable(path)}' cannot be read: {error}") from None


def read_map(path: str, table: Optional[np.ndarray] = None) -> np.ndarray:
    """A map of labels, uint8 (H, W).

    Args:
        table: uint8 (256,), from the number in the file to the label.

    Raises:
        ValueError: it is no image, or one of colours; names the file.
        OSError: it cannot be read.
    """
    try:
        image = open_image(read_image_file(path))
        if image.mode not in ("P", "L", "1"):
            raise ValueError(f"its pixels are colours or numbers of more than 8 bits ({image.mode}), not the numbers "
                             "of classes; write it as an indexed PNG (a palette) or as grey with 8 bits")
        labels = np.asarray(image).astype(np.uint8)
    except ValueError as error:
        raise ValueError(f"the map '{printable(path)}' cannot be used: {error}") from None
    except (SyntaxError, EOFError, MemoryError, OSError) as error:
        if getattr(error, "filename", None) is not None:
            raise
        raise ValueError(f"the map '{printable(path)}' cannot be read: {error}") from None
    return labels if table is None else table[labels]


def _check_values(labels: np.ndarray, classes: int, path: str, names: Sequence[str]) -> None:
    counts = np.bincount(labels.ravel(), minlength=256)
    wrong = [value for value in np.flatnonzero(counts).tolist() if classes <= value < IGNORE]
    if wrong:
        raise ValueError(f"the map '{printable(path)}' holds the value {some(list(map(str, wrong)), 3)}, but there are "
                         f"{classes} classes, 0 ({printable(names[0])}) to {classes - 1}, and 255 for what does not "
                         "count")


# --- layouts ---


def _image_masks(root: pathlib.Path, config: DataConfig) -> Layout:
    """SPLIT/images and SPLIT/masks, images/SPLIT and masks/SPLIT, or images and masks alone."""
    names = class_list(config)
    if names is None:
        raise ValueError("data.classes is not set: a list of the classes in the order of the numbers in the maps, or a "
                         "file with one name per line, such as [background, cat]")
    pairs = {split: lambda folders=folders: by_stem(*folders)
             for split, folders in parts.paired_folders(root, "images", "masks").items()}
    if not pairs:
        raise FileNotFoundError(f"{printable(root)} holds no train/images and train/masks; an image_masks data set has "
                                "train/images, train/masks, val/images and val/masks, or images and masks with "
                                "data.val_share")
    return Layout(names, pairs)


def by_stem(images: pathlib.Path, masks: pathlib.Path) -> Pairs:
    """Images and the maps of the same name, but for the ending, in two folders.

    Raises:
        FileNotFoundError: there is no folder of maps.
        ValueError: an image has no map, a map no image, or two files one name.
    """
    if not masks.is_dir():
        raise FileNotFoundError(f"there is no folder '{printable(masks)}' with the maps of '{printable(images)}'")
    sides: List[Dict[str, str]] = []
    notes: List[str] = []
    for folder in (images, masks):
        found = find_images(folder)
        stems: Dict[str, str] = {}
        for path in found.paths:
            stem = os.path.splitext(os.path.relpath(path, folder))[0]
            if stem in stems:
                raise ValueError(f"'{printable(path)}' and '{printable(stems[stem])}' have one name but for the "
                                 "ending; keep one of them")
            stems[stem] = path
        line = passed_over_line(found.passed_over, folder)
        notes += [line] if line else []
        sides.append(stems)
    return _partnered(sides[0], sides[1], str(images), str(masks), notes)


def _partnered(images: Dict[str, str], masks: Dict[str, str], there: str, maps: str, notes: Sequence[str]) -> Pairs:
    """The pairs of two tables of files by stem."""
    for mine, theirs, what, folder in ((images, masks, "map", maps), (masks, images, "image", there)):
        alone = sorted(set(mine) - set(theirs))
        if alone:
            raise ValueError(f"'{printable(mine[alone[0]])}' has no {what} of the same name in '{printable(folder)}'"
                             + (f"; nor have {len(alone) - 1} others" if len(alone) > 1 else ""))
    if not images:
        raise ValueError(f"'{printable(there)}' holds no image that can be decoded here")
    stems = sorted(images)
    return Pairs([images[stem] for stem in stems], [masks[stem] for stem in stems], there, list(notes))


def _voc(root: pathlib.Path, config: DataConfig) -> Layout:
    """JPEGImages, SegmentationClass and ImageSets/Segmentation of PASCAL VOC."""
    base = voc_base(root, "Segmentation")
    if base is None:
        raise FileNotFoundError(f"{printable(root)} holds no ImageSets/Segmentation; VOC has JPEGImages, "
                                "SegmentationClass and ImageSets/Segmentation/train.txt")
    lists = {split: base / "ImageSets" / "Segmentation" / f"{split}.txt" for split in SPLITS}
    notes = [] if base == root else [f"taking {printable(base)}"]
    pairs = {split: lambda path=path: _listed(base, path) for split, path in lists.items() if path.is_file()}
    return Layout(class_list(config) or own_names(base) or list(VOC_CLASSES), pairs, notes=notes)


def voc_base(root: pathlib.Path, kind: str) -> Optional[pathlib.Path]:
    """The folder that holds ImageSets/KIND: a data set in VOC's layout itself, or inside VOCdevkit; None for none."""
    return next((folder for folder in (root, *sorted(root.glob("VOC2*")), *sorted(root.glob("VOCdevkit/VOC2*")))
                 if (folder / "ImageSets" / kind).is_dir()), None)


def own_names(base: pathlib.Path) -> Optional[List[str]]:
    """The classes of a data set in VOC's layout that names its own, in classes.txt; None for VOC's."""
    path = base / "classes.txt"
    if not path.is_file():
        return None
    names = [line.strip() for line in read_text(str(path), MOST_NAMES_BYTES).splitlines() if line.strip()]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"'{printable(path)}' names the classes, one per line and each once, and does not")
    return names


def _listed(base: pathlib.Path, path: pathlib.Path) -> Pairs:
    names = parts.listed_names(path)
    images, masks = ([os.fspath(base / folder / f"{name}{ending}") for name in names]
                     for folder, ending in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")))
    for file in (*images, *masks):
        if not os.path.isfile(file):
            raise ValueError(f"'{printable(path)}' lists '{printable(os.path.splitext(os.path.basename(file))[0])}', "
                             f"but there is no file '{printable(file)}'")
    return Pairs(images, masks, os.fspath(base / "JPEGImages"))


def _ade20k(root: pathlib.Path, config: DataConfig) -> Layout:
    """images/training, annotations/training and the same of validation; 0 in a file is no class."""
    base = next((folder for folder in (root, root / "ADEChallengeData2016") if (folder / "annotations").is_dir()), None)
    if base is None:
        raise FileNotFoundError(f"{printable(root)} holds no annotations; ADE20K has images/training, "
                                "annotations/training, images/validation and annotations/validation")
    names, notes = _ade20k_names(base)
    table = np.full(256, IGNORE, np.uint8)
    table[1:ADE20K_CLASSES + 1] = np.arange(ADE20K_CLASSES)
    # What no class has stays outside of the classes, and is refused.
    table[ADE20K_CLASSES + 1:IGNORE] = ADE20K_CLASSES
    pairs = {split: lambda folder=folder: by_stem(base / "images" / folder, base / "annotations" / folder)
             for split, folder in (("train", "training"), ("val", "validation")) if (base / "images" / folder).is_dir()}
    return Layout(names, pairs, table, notes)


def _ade20k_names(base: pathlib.Path) -> Tuple[List[str], List[str]]:
    """The names in the data set's own objectInfo150.txt, and what is to be said of them."""
    path = base / "objectInfo150.txt"
    if path.is_file():
        rows = list(csv.reader(io.StringIO(read_text(str(path), MOST_NAMES_BYTES)), delimiter="\t"))
        names = [row[-1].split(",")[0].strip() for row in rows if row and row[0].strip().isdigit()]
        twice = {name for name in names if names.count(name) > 1}
        names = [f"{name} {place + 1}" if name in twice else name for place, name in enumerate(names)]
        if len(names) == ADE20K_CLASSES and all(names):
            return names, []
    return ([f"class {label}" for label in range(ADE20K_CLASSES)],
            [f"{printable(path)} does not name {ADE20K_CLASSES} classes: they are called by their numbers"])


def _cityscapes(root: pathlib.Path, config: DataConfig) -> Layout:
    """leftImg8bit/SPLIT/CITY and gtFine/SPLIT/CITY; the numbers in the files become the 19 that are trained on."""
    images, maps = root / "leftImg8bit", root / "gtFine"
    if not images.is_dir() or not maps.is_dir():
        raise FileNotFoundError(f"{printable(root)} holds no leftImg8bit and gtFine, which Cityscapes consists of")
    table = np.full(256, IGNORE, np.uint8)
    table[list(CITYSCAPES.values())] = np.arange(len(CITYSCAPES))

    def stems(folder: pathlib.Path, ending: str) -> Dict[str, str]:
        return {os.path.relpath(path, folder)[:-len(ending)]: path for path in find_images(folder).paths
                if path.endswith(ending)}

    def pairs(split: str) -> Pairs:
        return _partnered(stems(images / split, "_leftImg8bit.png"), stems(maps / split, "_gtFine_labelIds.png"),
                          str(images / split), str(maps / split), [])

    # The maps of its test split are not published.
    return Layout(list(CITYSCAPES), {split: lambda split=split: pairs(split) for split in ("train", "val")
                                     if (images / split).is_dir() and (maps / split).is_dir()}, table)


LAYOUTS: Dict[str, Callable[[pathlib.Path, DataConfig], Layout]] = {
    "image_masks": _image_masks, "voc": _voc, "ade20k": _ade20k, "cityscapes": _cityscapes}
