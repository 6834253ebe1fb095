"""Images with boxes around objects, from folders: COCO's JSON, PASCAL VOC's XML, YOLO's text files, and the canvas."""
import dataclasses
import functools
import os
import pathlib
import re
import xml.etree.ElementTree as ElementTree
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ghost_ms.config import DataConfig
from ghost_ms.core.plain import read_text
from ghost_ms.core.text import natural, printable, some
from ghost_ms.data import canvas, coco, parts
from ghost_ms.data.boxes import Objects, Table
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.datasets import FASHION, SPLITS, class_list, data_root
from ghost_ms.data.decode import read_image_file
from ghost_ms.data.images import find_images, passed_over_line
from ghost_ms.data.label_maps import CANVAS, VOC_CLASSES, image_size, own_names, voc_base
from ghost_ms.data.splits import train_share
from ghost_ms.models.classes import match

#: Bytes of the largest text file of one image.
MOST_BYTES = 1 << 22


class Part(NamedTuple):
    """The files of a split.

    Args:
        images: paths.
        folder: that they lie in.
        table: their objects.
        partners: files that these come from.
        notes: sentences on what was passed over.
    """

    images: List[str]
    folder: str
    table: Table
    partners: List[str]
    notes: Sequence[str] = ()


class Layout(NamedTuple):
    """A data set on a disk: names of the classes, and split -> what reads it, for the splits that there are."""

    classes: List[str]
    parts: Dict[str, Callable[[], Part]]
    notes: Sequence[str] = ()


def open_objects(config: DataConfig, split: str, classes: Optional[Sequence[str]] = None) -> Dataset:
    """One split of a data set of images with boxes; its `target` gives the `Objects` of an image.

    Args:
        split: train; val, what a training evaluates on; or test.
        classes: the order that the labels follow, as in `datasets.open_source`.

    Raises:
        ValueError, FileNotFoundError: the folder is missing or holds no such data set or split, an annotation cannot
            be, or a class is not among `classes`.
    """
    source = _canvas(config, split) if config.dataset == CANVAS else _of_files(config, split)
    if classes is not None and list(classes) != source.classes:
        source = reordered(source, classes)
    return source if split != "train" or config.train_share == 1 else train_share(source, config.train_share)


def splits_of(config: DataConfig) -> List[str]:
    """The splits that a recipe's data set has, without one that would be another once more."""
    if config.dataset == CANVAS:
        return list(canvas.SIZES)
    return parts.splits_in(_layout(config).parts, config)


def reordered(source: Dataset, classes: Sequence[str]) -> Dataset:
    """The same images with labels that count in the order of `classes`, among which those of all objects have to be;
    ValueError as `models.classes.match`."""
    target = source.target
    used = np.unique(np.concatenate([np.zeros(0, np.int32), *(target(number).labels for number in range(source.size))]))
    names = [source.classes[place] for place in used.tolist()]
    places, notes = match(names, classes) if names else ([], [])
    table = np.zeros(len(source.classes), np.int32)
    table[used] = places

    def moved(sample: int) -> Objects:
        found = target(sample)
        return found._replace(labels=table[found.labels])

    return dataclasses.replace(source, classes=list(classes), notes=[*source.notes, *notes], target=moved)


def _canvas(config: DataConfig, split: str) -> Dataset:
    parts.refuse_share(config)
    part = "train" if split == "train" else "val"
    scene = functools.lru_cache(maxsize=64)(functools.partial(canvas.compose, part))

    def target(sample: int) -> Objects:
        found = scene(int(sample))
        boxes = np.array([canvas.box_of(mask) for mask in found.masks], np.float64).reshape(-1, 4)
        return Objects(boxes, found.kinds.astype(np.int32), np.zeros(len(boxes), bool),
                       found.masks.sum((1, 2)).astype(np.float64))

    return Dataset(list(FASHION), np.zeros(canvas.SIZES[part], np.int32), 3, False,
                   lambda sample: scene(int(sample)).image, target=target)


def _layout(config: DataConfig) -> Layout:
    return LAYOUTS[config.dataset](data_root(config), config)


def _of_files(config: DataConfig, split: str) -> Dataset:
    layout = _layout(config)
    return parts.of_split(layout.parts, split, config, lambda part: _dataset(layout, part, config))


def _dataset(layout: Layout, part: Part, config: DataConfig) -> Dataset:
    if not part.images:
        raise ValueError(f"'{printable(part.folder)}' holds no image that can be decoded here")

    def fault(sample: int) -> Optional[str]:
        path, wanted = part.images[sample], part.table.size_of(sample)
        if not os.path.isfile(path):
            return f"there is no file '{printable(path)}', which the annotations name"
        try:
            size = image_size(path, config.orient is not False)
        except (ValueError, OSError) as error:
            return str(error)
        if wanted is not None and size != wanted:
            turned = "; it is turned by its EXIF orientation, which data.orient false leaves out" \
                if size == wanted[::-1] else ""
            return (f"'{printable(path)}' has {size[0]}x{size[1]} pixels, and its annotations are of an image of "
                    f"{wanted[0]}x{wanted[1]}{turned}")
        return None

    return Dataset(list(layout.classes), np.zeros(len(part.images), np.int32), 3, True,
                   lambda sample: read_image_file(part.images[sample]), part.images, part.folder,
                   [*layout.notes, *part.notes, *part.table.notes()], part.table.of, part.partners, fault)


# --- layouts ---


def _coco(root: pathlib.Path, config: DataConfig) -> Layout:
    """annotations/instances_SPLIT*.json with the images in SPLIT*/, images/SPLIT*/, images/ or the folder itself; or
    the files that data.train_labels, data.val_labels and data.test_labels name."""
    files = coco.find(root, {"train": config.train_labels, "val": config.val_labels, "test": config.test_labels})
    wanted = class_list(config)
    indices: Dict[str, coco.Index] = {}

    def read(split: str) -> coco.Index:
        if split not in indices:
            indices[split] = coco.read(files[split])
        return indices[split]

    first = read(next(iter(files)))
    classes = list(wanted or first.classes)

    def part(split: str) -> Part:
        index = read(split)
        table = index.table
        if index.classes != classes:
            places = {name: place for place, name in enumerate(classes)}
            unknown = next((name for place, name in enumerate(index.classes)
                            if name not in places and (table.labels == place).any()), None)
            if unknown is not None:
                raise ValueError(f"'{printable(files[split])}' has boxes of the category '{printable(unknown)}', which "
                                 f"is not among the classes ({some(classes)})")
            order = np.array([places.get(name, -1) for name in index.classes], np.int32)
            table = table._replace(labels=order[table.labels])
        folder = coco.image_folder(root, files[split], index.files)
        return Part([os.path.join(folder, name) for name in index.files], folder, table, [files[split]])

    return Layout(classes, {split: functools.partial(part, split) for split in files})


def _voc(root: pathlib.Path, config: DataConfig) -> Layout:
    """Annotations/*.xml and JPEGImages of PASCAL VOC, with ImageSets/Main/SPLIT.txt; without these lists all images are
    there to train with."""
    base = voc_base(root, "Main") or (root if (root / "Annotations").is_dir() else None)
    if base is None:
        raise FileNotFoundError(f"{printable(root)} holds no Annotations; VOC has JPEGImages, Annotations and "
                                "ImageSets/Main/train.txt")
    lists = {split: base / "ImageSets" / "Main" / f"{split}.txt" for split in SPLITS}
    names = {split: parts.listed_names(path) for split, path in lists.items() if path.is_file()}
    if not names:
        names = {"train": sorted((path.stem for path in (base / "Annotations").glob("*.xml")), key=natural)}
    parsed = {split: [_voc_objects(base / "Annotations" / f"{name}.xml") for name in own]
              for split, own in names.items()}
    classes, note = _voc_classes(base, class_list(config), parsed)

    def part(split: str) -> Part:
        images = [_voc_image(base, name) for name in names[split]]
        partners = [os.fspath(base / "Annotations" / f"{name}.xml") for name in names[split]]
        rows = [_numbered(one, classes, partner) for one, partner in zip(parsed[split], partners)]
        return Part(images, os.fspath(base / "JPEGImages"), Table.of_rows(rows, [one.size for one in parsed[split]]),
                    partners)

    notes = [note] if note else []
    return Layout(classes, {split: functools.partial(part, split) for split in names},
                  notes + ([] if base == root else [f"taking {printable(base)}"]))


class _Named(NamedTuple):
    """Objects of a VOC file: class names, boxes, whether they are difficult, and (width, height) of the image."""

    names: List[str]
    boxes: List[Tuple[float, float, float, float]]
    difficult: List[bool]
    size: Optional[Tuple[int, int]]


def _voc_image(base: pathlib.Path, name: str) -> str:
    folder = base / "JPEGImages"
    found = next((path for ending in (".jpg", ".jpeg", ".png") for path in (folder / f"{name}{ending}",)
                  if path.is_file()), folder / f"{name}.jpg")
    return os.fspath(found)


def _voc_objects(path: pathlib.Path) -> _Named:
    """What a VOC file says; ValueError names the file and the entry."""
    where = f"'{printable(path)}'"
    if not path.is_file():
        raise ValueError(f"there is no file {where}, which a list of images names")
    text = read_text(str(path), MOST_BYTES)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError(f"{where} declares entities, which no annotation needs")
    try:
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except (ElementTree.ParseError, RecursionError, ValueError) as error:
        raise ValueError(f"{where} is no XML: {printable(error)}") from None
    size = [_number(root.find(f"size/{key}"), f"{where}, size, {key}") for key in ("width", "height")] \
        if root.find("size") is not None else None
    found = _Named([], [], [], (int(size[0]), int(size[1])) if size and all(size) else None)
    for number, one in enumerate(root.findall("object")):
        entry = f"{where}, object {number + 1}"
        name = (one.findtext("name") or "").strip()
        if not name:
            raise ValueError(f"{entry} has no name of a class")
        left, top, right, bottom = (_number(one.find(f"bndbox/{key}"), f"{entry}, bndbox, {key}")
                                    for key in ("xmin", "ymin", "xmax", "ymax"))
        if right < left or bottom < top:
            raise ValueError(f"{entry} has a box of negative extent: xmin {left:g}, ymin {top:g}, xmax {right:g}, ymax "
                             f"{bottom:g}")
        found.names.append(name)
        # VOC counts pixels from 1, and a box holds its last ones.
        found.boxes.append((left - 1, top - 1, right, bottom))
        found.difficult.append((one.findtext("difficult") or "0").strip() == "1")
    return found


def _number(element: Optional[ElementTree.Element], what: str) -> float:
    try:
        value = float(element.text)  # type: ignore[union-attr, arg-type]
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"{what}, is no number") from None
    if not abs(value) < 1e6:
        raise ValueError(f"{what}, is {value:g}, which cannot be")
    return value


def _voc_classes(base: pathlib.Path, given: Optional[List[str]],
                 parsed: Dict[str, List[_Named]]) -> Tuple[List[str], str]:
    """The classes, and a sentence where they were found in the files."""
    usual = own_names(base) or list(VOC_CLASSES)
    names = given or [name for name in usual if name != "background"]
    found = {name for split in parsed.values() for one in split for name in one.names}
    if given or own_names(base) or found <= set(names):
        return names, ""
    found_names = sorted(found, key=natural)
    return found_names, f"the classes are those of the annotations: {some(found_names)}"


def _numbered(one: _Named, classes: Sequence[str], path: str) -> Objects:
    places = {name: place for place, name in enumerate(classes)}
    unknown = next((name for name in one.names if name not in places), None)
    if unknown is not None:
        raise ValueError(f"'{printable(path)}' has a box of the class '{printable(unknown)}', which is not among the "
                         f"classes ({some(list(classes))})")
    boxes = np.array(one.boxes, np.float64).reshape(-1, 4)
    return Objects(boxes, np.array([places[name] for name in one.names], np.int32), np.array(one.difficult, bool),
                   np.prod(boxes[:, 2:] - boxes[:, :2], 1))


def _yolo(root: pathlib.Path, config: DataConfig) -> Layout:
    """SPLIT/images and SPLIT/labels, images/SPLIT and labels/SPLIT, or images and labels alone: of each image a text
    file with a line 'class centre-x centre-y width height' for each object, in parts of the image."""
    classes = class_list(config)
    if classes is None:
        raise ValueError("data.classes is not set: a list of the classes in the order of the numbers in the text "
                         "files, or a file with one name per line")
    places = parts.paired_folders(root, "images", "labels")
    if not places:
        raise FileNotFoundError(f"{printable(root)} holds no images/train; a YOLO data set has images/train, "
                                "labels/train, images/val and labels/val")
    return Layout(classes, {split: functools.partial(_yolo_part, *own, classes) for split, own in places.items()})


def _yolo_part(images: pathlib.Path, labels: pathlib.Path, classes: Sequence[str]) -> Part:
    if not labels.is_dir():
        raise FileNotFoundError(f"there is no folder '{printable(labels)}' with the boxes of '{printable(images)}'")
    found = find_images(images)
    texts = {os.path.splitext(os.path.relpath(path, labels))[0]: os.fspath(path)
             for path in sorted(labels.rglob("*.txt")) if path.name != "classes.txt"}
    stems = [os.path.splitext(os.path.relpath(path, images))[0] for path in found.paths]
    alone = sorted(set(texts) - set(stems))
    if alone:
        raise ValueError(f"'{printable(texts[alone[0]])}' has no image of the same name in '{printable(images)}'"
                         + (f"; nor have {len(alone) - 1} others" if len(alone) > 1 else ""))
    without = sum(stem not in texts for stem in stems)
    rows = [_yolo_objects(texts[stem], path, classes) if stem in texts else Objects.none()
            for stem, path in zip(stems, found.paths)]
    line = passed_over_line(found.passed_over, images)
    notes = [*([line] if line else []), *([f"{without} of {len(stems)} images in '{printable(images)}' have no text "
                                           "file: they are without objects"] if without else [])]
    return Part(list(found.paths), os.fspath(images), Table.of_rows(rows, [None] * len(rows)),
                [texts[stem] for stem in stems if stem in texts], notes)


def _yolo_objects(path: str, image: str, classes: Sequence[str]) -> Objects:
    boxes, labels = [], []
    lines = [line.split() for line in read_text(path, MOST_BYTES).splitlines()]
    width, height = image_size(image, True) if any(lines) else (1, 1)
    for number, values in enumerate(lines):
        if not values:
            continue
        where = f"'{printable(path)}', line {number + 1},"
        try:
            label, *numbers = int(values[0]), *map(float, values[1:])
        except ValueError:
            raise ValueError(f"{where} is no class and numbers: {printable(' '.join(values))[:80]}") from None
        if not 0 <= label < len(classes):
            raise ValueError(f"{where} has the class {label}, and there are {len(classes)}, 0 to {len(classes) - 1}")
        if not all(abs(value) < 100 for value in numbers):
            raise ValueError(f"{where} has numbers that are no parts of an image, 0 to 1")
        if len(numbers) == 4:
            x, y, w, h = numbers
            if w < 0 or h < 0:
                raise ValueError(f"{where} has a box of negative extent: width {w:g}, height {h:g}")
            box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        elif len(numbers) >= 6 and len(numbers) % 2 == 0:
            # A polygon, of which the extent counts.
            box = [min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])]
        else:
            raise ValueError(f"{where} has {len(numbers)} numbers behind the class; a box has 4, a polygon 6 or more")
        boxes.append(box)
        labels.append(label)
    array = np.array(boxes, np.float64).reshape(-1, 4) * np.array([width, height] * 2, np.float64)
    areas = np.prod(array[:, 2:] - array[:, :2], 1)
    return Objects(array, np.array(labels, np.int32), np.zeros(len(array), bool), areas)


LAYOUTS: Dict[str, Callable[[pathlib.Path, DataConfig], Layout]] = {"coco": _coco, "voc": _voc, "yolo": _yolo}
