"""The images that a quantised network is calibrated and judged with."""
import os
import sys
from typing import List, Optional, Sequence

import numpy as np

from ghost_ms import config as recipes
from ghost_ms.checkpoints.reconcile import Wish, settle
from ghost_ms.config import Config
from ghost_ms.core.text import printable
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.decode import read_image_file
from ghost_ms.data.images import find_images, passed_over_line
from ghost_ms.runtime.files import read_images
from ghost_ms.runtime.sidecar import Sidecar
from ghost_ms.tasks.registry import create_task

RECIPES = (".yaml", ".yml")


def open_images(where: str, split: str = "train", root: Optional[str] = None,
                classes: Optional[Sequence[str]] = None) -> Dataset:
    """The images of a folder, those in folders below it included, or a split of a recipe's data set; what is passed
    over there is said on stderr.

    Args:
        where: folder, or recipe (.yaml).
        split: of the recipe's data set, 'train', 'val' or 'test'.
        root: folder of the recipe's data set, where the recipe does not name it.
        classes: the order that the labels of a recipe's data set follow; see `open_source`.

    Raises:
        FileNotFoundError, ValueError: there is no such folder or recipe, or no image in it.
    """
    if where.endswith(RECIPES):
        recipe = recipe_of(where, root)
        source = create_task(recipe.task.name, recipe.task.args).open(recipe.data, split, classes)
    else:
        source = _folder(where, root)
    for note in source.notes:
        print(note, file=sys.stderr)
    return source


def recipe_of(where: str, root: Optional[str] = None) -> Config:
    """The recipe in a file; `root` is the folder of its data set, where it does not name it."""
    return recipes.load(where, ["--data.root", root] if root else [])


def differences(where: str, sidecar: Sidecar, path: str) -> List[str]:
    """A sentence for every key in which a recipe (.yaml) would bring images to a network otherwise than an exported
    file's sidecar does, which holds; none for a folder."""
    if not where.endswith(RECIPES):
        return []
    return settle(sidecar.preprocessing, f"'{printable(path)}'", Wish(recipes.load(where), file=where))[1]


def _folder(where: str, root: Optional[str]) -> Dataset:
    if root:
        raise ValueError(f"--root belongs to a recipe (.yaml), and --calibrate is '{where}'; leave it out")
    if not os.path.isdir(where):
        raise FileNotFoundError(f"there is no folder of images '{printable(where)}' (--calibrate takes a folder or a "
                                "recipe)")
    found = find_images(where)
    line = passed_over_line(found.passed_over, where)
    if not found.paths:
        raise ValueError(f"folder '{printable(where)}' holds no image that can be decoded here"
                         + (line and f" ({line})"))
    paths = found.paths
    return Dataset([], np.zeros(len(paths), np.int32), 3, True, lambda sample: read_image_file(paths[sample]), paths,
                  where, [line] if line else [])


def draw(source: Dataset, samples: int, sidecar: Sidecar) -> np.ndarray:
    """The given number of images (all where there are fewer), evenly spaced, so that sorted classes all appear; as the
    exported file takes them, (N, C, H, W) or (N, H, W, C)."""
    places = np.unique(np.linspace(0, source.size - 1, min(samples, source.size)).round().astype(int))
    return read_images(source, places, sidecar)
