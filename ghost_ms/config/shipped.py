"""The recipes that come with the package, found by name."""
import difflib
import functools
import os
import pathlib
from typing import Dict

from ghost_ms.core.text import printable


@functools.lru_cache(maxsize=None)
def folder() -> pathlib.Path:
    """Where they are: configs/ beside the sources, or in the installed package."""
    package = pathlib.Path(__file__).parents[1]
    beside = package.parent / "configs"
    return beside if (beside / "quickstart.yaml").is_file() else package / "configs"


@functools.lru_cache(maxsize=None)
def shipped() -> Dict[str, pathlib.Path]:
    """Name -> file, such as 'ghostnet_100_imagenet'; those that only other recipes begin with are left out."""
    return {path.stem: path for path in sorted(folder().rglob("*.yaml")) if not path.stem.startswith("_")}


def locate(recipe: str) -> str:
    """The path of a recipe that is named by a path or, where there is no such file, by the name of a shipped one.

    Raises:
        ValueError: it is neither; names the nearest.
    """
    if os.path.exists(recipe):
        return recipe
    # configs/ghostnet/ghostnet_100_imagenet.yaml is where a checkout has it, wherever the command is typed.
    stem = pathlib.PurePath(recipe).stem if recipe.endswith((".yaml", ".yml")) else recipe
    inside = folder().parent / recipe
    if stem == recipe and stem in shipped():
        return str(shipped()[stem])
    if not os.path.isabs(recipe) and recipe.startswith("configs/") and inside.is_file():
        return str(inside)
    where = "" if os.path.isabs(recipe) else f" in {os.getcwd()}"
    near = difflib.get_close_matches(stem, shipped(), 1)
    hint = f"did you mean {near[0]}, which comes with the package?" if near else \
        "those that come with the package are named like ghostnet_100_imagenet or quickstart"
    raise ValueError(f"there is no recipe '{printable(recipe)}'{where}; {hint}")
