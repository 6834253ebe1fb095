"""The classes of ImageNet-1K, which most released networks tell."""
import functools
import pathlib
from typing import List, Tuple

from ghost_ms.models.registry import ModelCard


def imagenet_names() -> List[str]:
    """ImageNet-1K's classes in the order of the labels; two of them have the same name."""
    return list(_lines("imagenet_classes.txt"))


def imagenet_ids() -> List[str]:
    """The WordNet ids of ImageNet-1K's classes in the order of the labels, which is their sorted order."""
    return list(_lines("imagenet_ids.txt"))


@functools.lru_cache(maxsize=None)
def _lines(name: str) -> Tuple[str, ...]:
    return tuple((pathlib.Path(__file__).parent / name).read_text(encoding="utf-8").splitlines())


def class_names(card: ModelCard, num_classes: int) -> List[str]:
    """Names of ImageNet-1K's classes for a network that has those; 'class 0', 'class 1', ... for any other."""
    if num_classes == card.num_classes == 1000:
        return imagenet_names()
    return [f"class {index}" for index in range(num_classes)]
