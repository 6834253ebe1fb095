"""The released weight files, from manifest.yaml."""
import dataclasses
import functools
import pathlib
from typing import Dict, List, Optional, Tuple, Union

import yaml

PATH = pathlib.Path(__file__).with_name("manifest.yaml")


@dataclasses.dataclass(frozen=True)
class Release:
    """One released file; the head of manifest.yaml explains the fields."""

    model: str
    file: str
    urls: Tuple[str, ...] = ()
    baidu: Optional[str] = None
    package: Optional[str] = None
    member: Optional[str] = None
    entry: Optional[str] = None
    ema: Optional[bool] = None
    top1: Optional[float] = None
    top5: Optional[float] = None
    source: Optional[str] = None
    timm: Optional[str] = None
    licence: Optional[str] = None
    sha256: Optional[str] = None
    sha256_starts: Optional[str] = None
    notes: Optional[str] = None


@functools.lru_cache(maxsize=None)
def manifest() -> Dict[str, Union[str, Tuple[Release, ...]]]:
    """Releases by model, or the reason why there are none."""
    entries = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    result = {}
    for model, entry in entries.items():
        if isinstance(entry, dict):
            result[model] = entry["none"]
        else:
            result[model] = tuple(Release(model, **{**fields, "urls": tuple(fields.get("urls", ()))})
                                  for fields in entry)
    return result


def releases(model: str) -> List[Release]:
    """The released files of a model, the one that `pretrained=True` takes first.

    Raises:
        ValueError: none were released (with the reason), or the manifest does not know the model.
    """
    entry = manifest().get(model)
    if entry is None:
        raise ValueError(f"the manifest of released weights has no entry for '{model}'")
    if isinstance(entry, str):
        raise ValueError(f"no weights are released for '{model}': {entry}; train it, or name a file of your own")
    return list(entry)
