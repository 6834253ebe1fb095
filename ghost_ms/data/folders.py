"""Data sets of files: FOLDER/CLASS/IMAGE, and which folder is which split."""
import contextlib
import os
import pathlib
from typing import Dict, List, NamedTuple, Optional, Sequence, Union

import numpy as np

from ghost_ms.core.text import natural, printable, some
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.decode import read_image_file
from ghost_ms.data.images import Found, class_folders, find_images, passed_over_line
from ghost_ms.models import classes as naming

#: Names of the folders of a split, in lower case; the first that is there is taken.
FOLDERS = {"train": ("train", "training"), "val": ("val", "validation", "valid"), "test": ("test", "eval")}
#: What a sentence about an absent folder asks for.
LAYOUT = ("an image_folder data set has train/CLASS/IMAGE and val/CLASS/IMAGE, or train/CLASS/IMAGE alone, or "
          "CLASS/IMAGE alone, where data.val_share 0.2 says how much of it to evaluate on")


class Folders(NamedTuple):
    """The folders of the splits that are there, and sentences about those that were passed over."""

    paths: Dict[str, pathlib.Path]
    notes: List[str]


def split_folders(root: pathlib.Path) -> Folders:
    """Which folders of a data set hold which split; OSError where it cannot be read."""
    there: Dict[str, List[str]] = {}
    for name in sorted(class_folders(root)[0]):
        there.setdefault(name.lower(), []).append(name)
    paths, notes = {}, []
    for split, names in FOLDERS.items():
        found = [name for known in names for name in there.get(known, [])]
        if found:
            paths[split] = root / found[0]
        if len(found) > 1:
            notes.append(f"{_shown(root)} holds {some(found)}: for {split} '{printable(found[0])}' is taken")
    return Folders(paths, notes)


def data_folders(root: pathlib.Path, val_share: float) -> Folders:
    """`split_folders`; where there are none and a share is to be held out, the root's own folders are the classes.

    Raises:
        FileNotFoundError: the folder above or one below is meant.
    """
    found = split_folders(root)
    if not val_share or any(class_folders(path)[0] for path in found.paths.values()):
        return found
    others = set(map(str.lower, class_folders(root)[0])) - {path.name.lower() for path in found.paths.values()}
    if found.paths and not others:
        return found
    near = _near(root, ("train",))
    if near:
        raise _absent("train", root, near)
    # A class may be called 'train' too, with images in it and no folders.
    return Folders({"train": root}, [f"{_shown(root)} has no folder train with class folders in it: its own folders "
                                     "are taken for the classes"])


def absent(split: str, root: pathlib.Path) -> FileNotFoundError:
    """The error about a split that has no folder."""
    return _absent(split, root, _near(root, ("train", "val")) if split == "train" else None)


def _absent(split: str, root: pathlib.Path, near: Optional[pathlib.Path]) -> FileNotFoundError:
    if split == "test" and split_folders(root).paths:
        return FileNotFoundError(f"{_shown(root)} holds no folder {' or '.join(FOLDERS['test'])}, so it has no split "
                                 "test; val is the one that trainings evaluate on")
    names = FOLDERS["val"] + FOLDERS["test"] if split == "val" else FOLDERS[split]
    return FileNotFoundError(f"{_shown(root)} holds no folder {' or '.join(names)}; {LAYOUT}"
                             + (f"; did you mean --data.root {_shown(near)}?" if near else ""))


def _near(root: pathlib.Path, below: Sequence[str]) -> Optional[pathlib.Path]:
    """The folder above, or one in `root`, that is a data set.

    Args:
        below: splits that one in `root` has to have.
    """
    places = [(root.resolve().parent, ("train", "val")),
              *((place, below) for place in sorted(filter(pathlib.Path.is_dir, root.iterdir())))]
    for place, wanted in places:
        with contextlib.suppress(OSError):
            there = split_folders(place).paths
            if all(split in there or (split == "val" and "test" in there) for split in wanted):
                return place
    return None


def read_folder(folder: Union[str, os.PathLike], order: Optional[Sequence[str]] = None) -> Dataset:
    """The images FOLDER/CLASS/IMAGE, those in folders within a class included.

    Args:
        order: names of the classes in the order of the labels; the folders are found among them as `classes.match` has
            it. By default they are the classes, in natural order (1, 2, 10).

    Raises:
        ValueError: no class, one without images, or one that is not among `order`.
        OSError: a folder cannot be read.
    """
    folders, passed_over = class_folders(folder)
    if not folders:
        raise ValueError(f"{_shown(folder)} has no class folders; an image_folder data set has "
                         f"{printable(os.path.basename(os.fspath(folder)))}/CLASS/IMAGE")
    names = sorted(folders, key=natural)
    places, matched = naming.match(names, names if order is None else order, "folder")
    found = {name: find_images(folders[name]) for name in names}
    for name in names:
        passed_over.update(found[name].passed_over)
        if not found[name].paths:
            raise ValueError(_empty(folders[name], found[name]))
    # Images come class by class in the order of the labels: an epoch's order counts on it.
    by_label = [name for _, name in sorted(zip(places, names))]
    paths = [path for name in by_label for path in found[name].paths]
    labels = np.repeat(np.sort(np.asarray(places, np.int32)), [len(found[name].paths) for name in by_label])
    notes = [*([passed_over_line(passed_over, folder)] if passed_over else []), *matched]
    poor = [name for name in names if found[name].lost() >= len(found[name].paths)]
    if poor:
        notes.append(f"half of the files or more were passed over of {len(poor)} of {len(names)} classes: "
                     f"{some(poor, 5)}")
    return Dataset(names if order is None else list(order), labels, 3, True,
                  lambda sample: read_image_file(paths[sample]), paths, os.fspath(folder), notes)


def check_same_classes(train: Union[str, os.PathLike], folder: Union[str, os.PathLike]) -> None:
    """ValueError unless both hold the same class folders: labels are places in the list of classes, so a missing one
    would shift all that follow."""
    trained, there = (set(class_folders(path)[0]) for path in (train, folder))
    for name in sorted(trained ^ there):
        has, lacks = (train, folder) if name in trained else (folder, train)
        raise ValueError(f"class '{printable(name)}' has a folder in {_shown(has)} and none in {_shown(lacks)}; "
                         "both must hold the same classes")


def _shown(path: Union[str, os.PathLike]) -> str:
    return printable(os.fspath(path))


def _empty(folder: str, found: Found) -> str:
    line = passed_over_line(found.passed_over, folder)
    return (f"class folder '{_shown(folder)}' holds no image that can be decoded here{f' ({line})' if line else ''}; "
            "fill it or remove it")
