"""COCO's annotation files: read whole, checked entry by entry, and kept as an index of arrays."""
import hashlib
import json
import math
import os
import pathlib
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from ghost_ms.core.files import home, whole_file
from ghost_ms.core.text import printable, some
from ghost_ms.data.boxes import Table

#: Bytes of the largest file that is read: COCO's own of 118,000 images has 470 million.
MOST_BYTES = 4 << 30
#: From which size on, in bytes, what was read is kept as arrays, which are there in a moment.
KEPT_FROM = 8 << 20
#: What was written by another version of `_index` is read anew.
VERSION = 1
#: Largest number of an id, and most pixels of a side.
LARGEST, LONGEST = 1 << 53, 1 << 20


class Index(NamedTuple):
    """An annotation file.

    Args:
        classes: names of the categories, by rising id.
        files: names of the images' files, relative to their folder.
        table: their objects; labels are places in `classes`.
    """

    classes: List[str]
    files: List[str]
    table: Table


def find(root: pathlib.Path, given: Mapping[str, Optional[str]]) -> Dict[str, str]:
    """Split -> annotation file: those that a recipe names, else annotations/instances_SPLIT*.json.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are two for one split.
    """
    found = {split: os.path.join(root, os.path.expanduser(path)) for split, path in given.items() if path}
    for split, path in found.items():
        if not os.path.isfile(path):
            raise FileNotFoundError(f"there is no file '{printable(path)}' (data.{split}_labels)")
    if found:
        return found
    for split in given:
        files = sorted(path for folder in (root / "annotations", root)
                       for path in folder.glob("*.json") if re.match(rf"(instances[_-]?)?{split}\d*$", path.stem))
        if len(files) > 1:
            raise ValueError(f"{printable(root)} holds two annotation files of the split {split}, "
                             f"'{printable(files[0])}' and '{printable(files[1])}'; name one with data.{split}_labels")
        if files:
            found[split] = os.fspath(files[0])
    if not found:
        raise FileNotFoundError(f"{printable(root)} holds no annotations/instances_train*.json; name the files with "
                                "data.train_labels and data.val_labels")
    return found


def image_folder(root: pathlib.Path, path: str, files: Sequence[str]) -> str:
    """The folder of an annotation file's images: the first of those in use that holds the first image."""
    split = re.sub(r"^instances[_-]?", "", pathlib.Path(path).stem)
    folders = [root / split, root / "images" / split, root / re.sub(r"\d+$", "", split),
               root / "images" / re.sub(r"\d+$", "", split), root / "images", root, pathlib.Path(path).parent]
    if not files:
        return os.fspath(root)
    found = next((folder for folder in folders if (folder / files[0]).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"'{printable(path)}' names the image '{printable(files[0])}', which is in none of "
                                f"{', '.join(printable(folder) for folder in folders[:6])}")
    return os.fspath(found)


def read(path: str) -> Index:
    """The index of an annotation file, from the cache where it was read before and has not changed.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no such file; names the entry.
    """
    status = os.stat(path)
    kept = None
    if status.st_size >= KEPT_FROM:
        stamp = (VERSION, os.path.abspath(path), status.st_size, status.st_mtime_ns)
        digest = hashlib.sha256(repr(stamp).encode("utf-8", "backslashreplace")).hexdigest()[:40]
        kept = os.path.join(home(), "annotations", f"{digest}.npz")
        index = _load(kept)
        if index is not None:
            return index
    index = _index(_parse(path), f"'{printable(path)}'")
    if kept is not None:
        _keep(kept, index)
    return index


def _parse(path: str) -> Any:
    if os.path.getsize(path) > MOST_BYTES:
        raise ValueError(f"'{printable(path)}' has more than {MOST_BYTES:,} bytes, which no annotation file needs")
    try:
        with open(path, encoding="utf-8-sig") as file:
            return json.load(file, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{printable(path)}' is no JSON: {printable(error) or 'nested too deeply'}") from None


def _no_number(name: str) -> float:
    raise ValueError(f"it holds {name} in place of a number")


def _index(content: Any, where: str) -> Index:
    """Check everything that is used; ValueError names the entry."""
    if not isinstance(content, dict):
        raise ValueError(f"{where} is no annotation file of COCO: it holds no mapping")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list) or not all(isinstance(one, dict) for one in content[key]):
            raise ValueError(f"{where} is no annotation file of COCO: it has no list of {key}")
    if not content["images"]:
        raise ValueError(f"{where} names no image")
    categories = sorted(((_whole(one.get("id"), f"{where}, category {place + 1}, id"), one.get("name"))
                         for place, one in enumerate(content["categories"])), key=lambda pair: pair[0])
    names = [name for _, name in categories]
    if not names or not all(isinstance(name, str) and 0 < len(name) < 1000 for name in names) or \
            len(set(names)) < len(names) or len({number for number, _ in categories}) < len(names):
        raise ValueError(f"{where} has no categories with an id and a name each, all different")
    files, sizes, numbers = _images(content["images"], where)
    label_of = {number: place for place, (number, _) in enumerate(categories)}
    return Index(names, files, _table(content["annotations"], numbers, sizes, label_of, where))


def _whole(value: Any, what: str) -> int:
    if type(value) is not int or not -LARGEST < value < LARGEST:
        raise ValueError(f"{what}, is {printable(value)[:60]}, and has to be a whole number")
    return value


def _images(entries: List[Dict[str, Any]], where: str) -> tuple:
    files: List[str] = []
    sizes = np.zeros((len(entries), 2), np.int32)
    numbers: Dict[int, int] = {}
    for place, one in enumerate(entries):
        name = one.get("file_name")
        entry = f"{where}, image {printable(name if isinstance(name, str) else place + 1)[:100]},"
        if not isinstance(name, str) or not 0 < len(name) < 4096 or "\0" in name or os.path.isabs(name) or \
                ".." in pathlib.PurePosixPath(name).parts:
            raise ValueError(f"{entry} has no file_name below the folder of the images")
        number = _whole(one.get("id"), f"{entry} id")
        if number in numbers:
            raise ValueError(f"{entry} has the id {number}, which another image has")
        numbers[number] = place
        for axis, key in enumerate(("width", "height")):
            value = one.get(key)
            if value is not None and not 0 < _whole(value, f"{entry} {key}") < LONGEST:
                raise ValueError(f"{entry} has the {key} {value}")
            sizes[place, axis] = value or 0
        files.append(name)
    return files, sizes, numbers


def _table(entries: List[Dict[str, Any]], images: Mapping[int, int], sizes: np.ndarray, label_of: Mapping[int, int],
           where: str) -> Table:
    count = len(entries)
    owners, labels, crowd = np.zeros(count, np.int64), np.zeros(count, np.int32), np.zeros(count, bool)
    boxes, areas = np.zeros((count, 4)), np.zeros(count)
    for place, one in enumerate(entries):
        image, category, box = one.get("image_id"), one.get("category_id"), one.get("bbox")
        if image not in images if type(image) is int else True:
            raise ValueError(_fault(one, place, where, f"is of the image_id {printable(image)[:60]}, which no image "
                                                       "has"))
        if category not in label_of if type(category) is int else True:
            raise ValueError(_fault(one, place, where, f"has the category_id {printable(category)[:60]}, which no "
                                                       f"category has ({some(list(map(str, label_of)))})"))
        if not isinstance(box, list) or len(box) != 4 or not all(
                type(value) in (int, float) and math.isfinite(value) and abs(value) < LONGEST for value in box):
            raise ValueError(_fault(one, place, where, "has no bbox of four numbers (left, top, width, height)"))
        if box[2] < 0 or box[3] < 0:
            raise ValueError(_fault(one, place, where, f"has a box of negative extent: width {box[2]:g}, height "
                                                       f"{box[3]:g}"))
        owners[place], labels[place], boxes[place] = images[image], label_of[category], box
        crowd[place] = one.get("iscrowd") == 1
        area = one.get("area")
        areas[place] = area if type(area) in (int, float) and 0 <= area < float(LONGEST) ** 2 else box[2] * box[3]
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], np.arange(len(sizes) + 1))
    return Table(starts.astype(np.int64), boxes[order], labels[order], crowd[order],
                 areas[order], sizes)


def _fault(entry: Mapping[str, Any], place: int, where: str, what: str) -> str:
    number = entry.get("id")
    return f"{where}, annotation {number if type(number) is int else f'at place {place + 1}'}, {what}"


# --- the cache ---


def _keep(path: str, index: Index) -> None:
    """Write the arrays; where that is not possible, the file is read anew next time."""
    texts = {key: np.frombuffer("\0".join(values).encode(), np.uint8)
             for key, values in (("classes", index.classes), ("files", index.files))}
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **texts, **index.table._asdict())
    except OSError:
        return


def _load(path: str) -> Optional[Index]:
    """What `_keep` wrote; None where there is nothing of the kind."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            texts = [arrays[key].tobytes().decode().split("\0") for key in ("classes", "files")]
            table = Table(*(arrays[key] for key in Table._fields))
    except (OSError, ValueError, KeyError, EOFError):
        return None
    sound = len(table.starts) == len(texts[1]) + 1 == len(table.sizes) + 1 and \
        len(table.boxes) == len(table.labels) == len(table.crowd) == len(table.areas) == table.starts[-1]
    return Index(texts[0], texts[1], table) if sound else None
