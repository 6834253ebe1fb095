"""Cuts two aerial photographs of the package deepforest (MIT) into tiles with boxes around tree crowns.

The result is a small data set of real photographs in PASCAL VOC's layout.

Usage: python scripts/benchmarks/tree_crowns.py DEEPFOREST OUT

DEEPFOREST is the package's wheel, or the folder that it was installed into (pip install --no-deps deepforest==2.1.0).
Tiles of the larger photograph of Yellowstone are to train with, those of the smaller one to test on. Their names
tell where they are, in metres east and north (UTM): kilometres apart, which is checked. A tile shows 256x256 pixels,
and each overlaps its neighbours by half; an object of which less than a half is in a tile is not in its annotation.
"""
import argparse
import io
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from typing import Iterator, List, Tuple

from PIL import Image

#: Split -> the photograph; pixels of a tile's side, and between tiles; least share of a box that is in a tile.
PHOTOGRAPHS = {"train": "2019_YELL_2_528000_4978000_image_crop2", "val": "2019_YELL_2_541000_4977000_image_crop"}
SIDE, STEP, SHARE = 256, 128, 0.5
#: Metres of a side of the square that a photograph was cut from.
SQUARE = 1000
Box = Tuple[float, float, float, float]


def main() -> int:
    """Write the tiles; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("deepforest", type=pathlib.Path, help="wheel or installed folder of deepforest 2.1.0")
    parser.add_argument("out", type=pathlib.Path, help="folder to write, which must not be there yet")
    options = parser.parse_args()
    if options.out.exists():
        print(f"'{options.out}' is there already; name another folder", file=sys.stderr)
        return 1
    check_apart()
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (options.out / folder).mkdir(parents=True)
    for split, name in PHOTOGRAPHS.items():
        photograph = Image.open(io.BytesIO(read(options.deepforest, f"{name}.png"))).convert("RGB")
        boxes = boxes_of(read(options.deepforest, f"{name}.xml").decode())
        written = []
        for left, top in corners(photograph.size):
            tile, own = f"{split}_{left:04}_{top:04}", inside(boxes, left, top)
            photograph.crop((left, top, left + SIDE, top + SIDE)).save(options.out / "JPEGImages" / f"{tile}.png")
            (options.out / "Annotations" / f"{tile}.xml").write_text(annotation(own), encoding="utf-8")
            written.append(tile)
        (options.out / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{tile}\n" for tile in written))
        print(f"{split}: {len(written)} tiles of {photograph.width}x{photograph.height} pixels, {len(boxes)} crowns")
    (options.out / "classes.txt").write_text("Tree\n")
    return 0


def check_apart() -> None:
    """SystemExit where the squares that the photographs were cut from touch."""
    places = [tuple(map(int, re.findall(r"_(\d{6,7})(?=_)", name))) for name in PHOTOGRAPHS.values()]
    if all(abs(one - other) <= SQUARE for one, other in zip(*places)):
        raise SystemExit("the photographs overlap")


def read(package: pathlib.Path, name: str) -> bytes:
    """A file of the package's data."""
    if package.is_dir():
        return next(package.rglob(name)).read_bytes()
    with zipfile.ZipFile(package) as wheel:
        return wheel.read(f"deepforest/data/{name}")


def boxes_of(text: str) -> List[Box]:
    """Boxes of a VOC file, in pixels from 0."""
    return [tuple(float(one.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax"))
            for one in ElementTree.fromstring(text).findall("object")]


def corners(size: Tuple[int, int]) -> Iterator[Tuple[int, int]]:
    """(left, top) of the tiles that an image of (width, height) holds whole."""
    for top in range(0, size[1] - SIDE + 1, STEP):
        for left in range(0, size[0] - SIDE + 1, STEP):
            yield left, top


def inside(boxes: List[Box], left: int, top: int) -> List[Box]:
    """The boxes of which enough is in a tile, cut at its border, in its pixels."""
    found = []
    for box in boxes:
        moved = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
        cut = tuple(min(max(value, 0), SIDE) for value in moved)
        area, whole = ((one[2] - one[0]) * (one[3] - one[1]) for one in (cut, moved))
        if cut[2] > cut[0] and cut[3] > cut[1] and area >= SHARE * whole:
            found.append(cut)
    return found


def annotation(boxes: List[Box]) -> str:
    """A VOC file, which counts pixels from 1."""
    objects = "".join(f"<object><name>Tree</name><bndbox><xmin>{left + 1:g}</xmin><ymin>{top + 1:g}</ymin>"
                      f"<xmax>{right:g}</xmax><ymax>{bottom:g}</ymax></bndbox></object>\n"
                      for left, top, right, bottom in boxes)
    return (f"<annotation><size><width>{SIDE}</width><height>{SIDE}</height><depth>3</depth></size>\n{objects}"
            "</annotation>\n")


if __name__ == "__main__":
    sys.exit(main())
