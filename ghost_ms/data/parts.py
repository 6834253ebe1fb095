"""What data sets on a disk share, whatever goes with their images: splits, folders in pairs, lists of names."""
import os
import pathlib
from typing import Any, Callable, Collection, Dict, List, Tuple

from ghost_ms.config import DataConfig
from ghost_ms.core.plain import read_text
from ghost_ms.core.text import printable
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.datasets import MOST_NAMES_BYTES, SPLITS
from ghost_ms.data.splits import hold_out

OWN_IMAGES = ("data.val_share is {:g}, but the data set has images to evaluate on of its own; leave out one of both")
#: Names of folders, the first being the one that is told.
FOLDERS = {"train": ("train", "training"), "val": ("val", "validation", "valid"), "test": ("test",)}


def refuse_share(config: DataConfig) -> None:
    """ValueError where a share is to be held out of a data set that has images to evaluate on."""
    if config.val_share:
        raise ValueError(OWN_IMAGES.format(config.val_share))


def of_split(parts: Dict[str, Callable[[], Any]], split: str, config: DataConfig,
             make: Callable[[Any], Dataset]) -> Dataset:
    """One split of a data set: train; val, what a training evaluates on; or test.

    Args:
        parts: split -> what reads its files, for the splits that there are.
        make: what was read to the data set.

    Raises:
        FileNotFoundError: there is no such split; the sentence lists those that there are.
        ValueError: a share is to be held out, and there are images to evaluate on.
    """
    def opened(name: str) -> Dataset:
        if name not in parts:
            there = ", ".join(parts) or "none"
            hint = "; data.val_share 0.2 holds a part of the training images out to evaluate on"
            raise FileNotFoundError(f"{printable(config.root)} has no split {name} of {config.dataset}, only {there}"
                                    f"{hint if name == 'val' else ''}")
        return make(parts[name]())

    if config.val_share and split != "test":
        if "val" in parts:
            refuse_share(config)
        return dict(zip(SPLITS, hold_out(opened("train"), config.val_share)))[split]
    own_test = split == "val" and "val" not in parts and "test" in parts
    return opened("test" if own_test else split)


def splits_in(parts: Collection[str], config: DataConfig) -> List[str]:
    """The splits that there are, without one that would be another once more."""
    there = {*parts, *(["val"] if config.val_share else [])}
    return [split for split in SPLITS if split in there]


def paired_folders(root: pathlib.Path, first: str, second: str) -> Dict[str, Tuple[pathlib.Path, pathlib.Path]]:
    """Split -> two folders: SPLIT/FIRST and SPLIT/SECOND, or FIRST/SPLIT and SECOND/SPLIT; FIRST and SECOND alone are
    to train with. Empty where there is no folder FIRST."""
    found: Dict[str, Tuple[pathlib.Path, pathlib.Path]] = {}
    for split, folders in FOLDERS.items():
        for folder in folders:
            for pair in ((root / folder / first, root / folder / second),
                         (root / first / folder, root / second / folder)):
                if pair[0].is_dir() and split not in found:
                    found[split] = pair
    if not found and (root / first).is_dir():
        found["train"] = root / first, root / second
    return found


def listed_names(path: pathlib.Path) -> List[str]:
    """The names of images in one of VOC's lists; ValueError where it is empty or holds something else."""
    names = [line.split()[0] for line in read_text(str(path), MOST_NAMES_BYTES).splitlines() if line.strip()]
    outside = next((name for name in names if name != os.path.basename(name) or name.startswith(".")), None)
    if outside is not None or not names:
        raise ValueError(f"'{printable(path)}' lists names of images, one per line"
                         + ("; it is empty" if outside is None else f", and '{printable(outside)}' is none"))
    return names
