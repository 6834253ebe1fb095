"""fashion_canvas: garments of the embedded images on made canvases, with exact masks and boxes.

The images are made by rule, not photographed. Each is a canvas of 96x96 pixels with a smooth random background and
noise; one in twelve is empty, the others hold one to five garments of 16 to 44 pixels that overlap little. A garment's
mask is where its own pixel is brighter than 24 of 255. The images to train and to evaluate with are made of the
garments that Fashion-MNIST trains and tests with, so that no garment is in both. An image is a function of its split
and its number.
"""
import contextlib
import functools
import json
import os
import pathlib
import tempfile
from typing import Dict, Iterator, List, NamedTuple, Tuple

import numpy as np
from PIL import Image

from ghost_ms.core.files import write_text
from ghost_ms.core.text import printable
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.datasets import FASHION, embedded
from ghost_ms.data.geometry import IGNORE

#: Pixels of a side; images of each split; most garments of an image; every so many images one is empty.
SIDE, SIZES, MOST, EMPTY = 96, {"train": 2000, "val": 400}, 5, 12
#: Smallest and largest side of a garment; from which brightness on a pixel belongs to it; largest overlap (IoU).
SMALLEST, LARGEST, VISIBLE, OVERLAP = 16, 44, 24, 0.3
#: Places that are tried for a garment.
TRIES = 20
#: Names of the labels of a map.
CLASSES = ("background", *FASHION)


class Scene(NamedTuple):
    """A composed image.

    Args:
        image: uint8 (96, 96, 3), grey.
        labels: uint8 (96, 96): 0 for the background, 1 to 10 for garments, 255 for the pixel around one.
        masks: bool (objects, 96, 96), what is visible of each.
        kinds: int (objects,), places in `datasets.FASHION`.
    """

    image: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    kinds: np.ndarray


def compose(split: str, number: int) -> Scene:
    """The n-th image of 'train' or 'val'."""
    rng = np.random.Generator(np.random.Philox(key=list(SIZES).index(split), counter=[0, 0, number, 0]))
    garments, kinds = _garments(split)
    image = _background(rng)
    labels = np.zeros((SIDE, SIDE), np.uint8)
    placed: List[Tuple[np.ndarray, int]] = []
    boxes: List[Tuple[int, int, int, int]] = []
    for _ in range(0 if number % EMPTY == EMPTY - 1 else int(rng.integers(1, MOST + 1))):
        chosen, side = int(rng.integers(len(garments))), int(rng.integers(SMALLEST, LARGEST + 1))
        garment = np.asarray(Image.fromarray(garments[chosen]).resize((side, side), Image.Resampling.BILINEAR))
        for _ in range(TRIES):
            left, top = rng.integers(0, SIDE - side + 1, 2).tolist()
            box = (left, top, left + side, top + side)
            if all(_overlap(box, other) < OVERLAP for other in boxes):
                break
        else:
            continue
        mask = np.zeros((SIDE, SIDE), bool)
        mask[top:top + side, left:left + side] = garment > VISIBLE
        image[mask] = garment[garment > VISIBLE]
        labels[_around(mask)] = IGNORE
        labels[mask] = 1 + kinds[chosen]
        placed = [(other & ~mask, kind) for other, kind in placed] + [(mask, int(kinds[chosen]))]
        boxes.append(box)
    seen = [(mask, kind) for mask, kind in placed if mask.any()]
    return Scene(np.repeat(image[..., None], 3, 2), labels,
                 np.array([mask for mask, _ in seen], bool).reshape(-1, SIDE, SIDE),
                 np.array([kind for _, kind in seen], np.int64))


@functools.lru_cache(maxsize=None)
def _garments(split: str) -> Tuple[np.ndarray, np.ndarray]:
    """Images (N, 28, 28) and kinds (N,) that a split is made of."""
    source = embedded("train" if split == "train" else "test")
    return np.stack([np.asarray(source.read(sample))[..., 0] for sample in range(source.size)]), source.labels


def _background(rng: np.random.Generator) -> np.ndarray:
    coarse = Image.fromarray(rng.integers(20, 200, (6, 6)).astype(np.uint8))
    smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(np.int64)
    return np.clip(smooth + rng.integers(-16, 17, (SIDE, SIDE)), 0, 255).astype(np.uint8)


def _overlap(one: Tuple[int, int, int, int], other: Tuple[int, int, int, int]) -> float:
    """Intersection over union of two squares."""
    width, height = (max(0, min(one[axis + 2], other[axis + 2]) - max(one[axis], other[axis])) for axis in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def _around(mask: np.ndarray) -> np.ndarray:
    """The pixels that touch a mask, corners included."""
    padded = np.pad(mask, 1)
    near = np.zeros_like(mask)
    for row in range(3):
        for column in range(3):
            near |= padded[row:row + SIDE, column:column + SIDE]
    return near & ~mask


def open_canvas(split: str) -> Dataset:
    """The data set with maps of labels; 'test' is its 'val'."""
    part = "train" if split == "train" else "val"
    scene = functools.lru_cache(maxsize=64)(functools.partial(compose, part))
    return Dataset(list(CLASSES), np.zeros(SIZES[part], np.int32), 3, False, lambda sample: scene(int(sample)).image,
                   target=lambda sample: scene(int(sample)).labels)


# --- as files ---


def write_voc(folder: str) -> int:
    """Write the set as PASCAL VOC: JPEGImages, SegmentationClass, ImageSets/Segmentation, Annotations (boxes), and
    classes.txt with the names of the labels; the number of images.

    Raises:
        FileExistsError: the folder holds something already.
        OSError: it cannot be written.
    """
    with _whole_folder(folder) as base:
        return _write_voc(base)


def _write_voc(base: pathlib.Path) -> int:
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "ImageSets/Main", "Annotations"):
        (base / name).mkdir(parents=True)
    write_text(str(base / "classes.txt"), "".join(f"{name}\n" for name in CLASSES))
    for split, size in SIZES.items():
        names = [f"{split}_{number:04}" for number in range(size)]
        for number, name in enumerate(names):
            scene = compose(split, number)
            Image.fromarray(scene.image).save(base / "JPEGImages" / f"{name}.jpg", quality=95, subsampling=0)
            indexed(scene.labels).save(base / "SegmentationClass" / f"{name}.png")
            write_text(str(base / "Annotations" / f"{name}.xml"), _annotation(name, scene))
        for kind in ("Segmentation", "Main"):
            write_text(str(base / "ImageSets" / kind / f"{split}.txt"), "".join(f"{name}\n" for name in names))
    return sum(SIZES.values())


def write_coco(folder: str) -> int:
    """Write the set as COCO: train2017, val2017 and annotations/instances_*.json with boxes and uncompressed run
    lengths of the masks; the number of images. Errors as `write_voc`."""
    with _whole_folder(folder) as base:
        return _write_coco(base)


def _write_coco(base: pathlib.Path) -> int:
    (base / "annotations").mkdir(parents=True)
    for split, size in SIZES.items():
        (base / f"{split}2017").mkdir()
        content: Dict[str, list] = {"images": [], "annotations": [], "categories": [
            {"id": place + 1, "name": name, "supercategory": "garment"} for place, name in enumerate(FASHION)]}
        for number in range(size):
            scene, name = compose(split, number), f"{split}_{number:04}.png"
            Image.fromarray(scene.image).save(base / f"{split}2017" / name)
            content["images"].append({"id": number + 1, "file_name": name, "width": SIDE, "height": SIDE})
            for mask, kind in zip(scene.masks, scene.kinds):
                left, top, right, bottom = box_of(mask)
                content["annotations"].append({
                    "id": len(content["annotations"]) + 1, "image_id": number + 1, "category_id": int(kind) + 1,
                    "bbox": [left, top, right - left, bottom - top], "area": int(mask.sum()), "iscrowd": 0,
                    "segmentation": {"size": [SIDE, SIDE], "counts": run_lengths(mask)}})
        write_text(str(base / "annotations" / f"instances_{split}2017.json"), json.dumps(content))
    return sum(SIZES.values())


LAYOUTS = {"voc": write_voc, "coco": write_coco}


@contextlib.contextmanager
def _whole_folder(folder: str) -> Iterator[pathlib.Path]:
    """Yields a folder beside the one that is wanted, which takes its place when all is written; else it is removed."""
    target = os.path.abspath(folder)
    if os.path.lexists(target) and (not os.path.isdir(target) or os.listdir(target)):
        raise FileExistsError(f"'{printable(folder)}' is there already and is no empty folder; name another one")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(target), prefix=".canvas-") as temporary:
        base = pathlib.Path(temporary) / "whole"
        base.mkdir()
        yield base
        os.replace(base, target)


def box_of(mask: np.ndarray) -> Tuple[int, int, int, int]:
    """(left, top, right, bottom) of a mask, the last two beyond it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def run_lengths(mask: np.ndarray) -> List[int]:
    """COCO's uncompressed run lengths: of zeros, ones, zeros and so on, column by column."""
    flat = np.concatenate([[False], mask.ravel("F"), [False]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    ends = np.concatenate([[0], changes, [mask.size]])
    lengths = np.diff(ends).tolist()
    return lengths if lengths[-1] else lengths[:-1]


def palette() -> List[int]:
    """VOC's colours of 256 labels: the bits of a label, three at a time from the lowest, are the colours' from the
    highest."""
    colours = []
    for label in range(256):
        for channel in range(3):
            colours.append(sum((label >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)))
    return colours


def indexed(labels: np.ndarray) -> Image.Image:
    """A map of labels, uint8 (H, W), as a picture with VOC's palette."""
    picture = Image.fromarray(labels)
    picture.putpalette(palette())
    return picture


def _annotation(name: str, scene: Scene) -> str:
    objects = "".join(
        f"<object><name>{FASHION[kind]}</name><difficult>0</difficult><bndbox><xmin>{left + 1}</xmin>"
        f"<ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>\n"
        for kind, (left, top, right, bottom) in zip(scene.kinds, map(box_of, scene.masks)))
    return (f"<annotation><filename>{name}.jpg</filename><size><width>{SIDE}</width><height>{SIDE}</height>"
            f"<depth>3</depth></size><segmented>1</segmented>\n{objects}</annotation>\n")
