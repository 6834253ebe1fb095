"""Recipe files: their keys, those of their `base` included, before any type is looked at."""
import dataclasses
import os
import sys
from typing import Any, Dict, List

from ghost_ms.config.checks import nearest
from ghost_ms.config.recipe import Config
from ghost_ms.config.shipped import locate, shipped
from ghost_ms.core.plain import read_yaml, require_plain
from ghost_ms.core.text import printable

#: Recipes that may stand upon each other.
LONGEST_CHAIN = 20
#: Keys that are gone, and what to do instead. A recipe that holds one switched off loads as ever.
REMOVED = {"run.summary": "MindInsight, for which it wrote, is discontinued; run.tensorboard: true writes for "
                          "TensorBoard"}
#: Keys that stand elsewhere now: where, and their old default, which says nothing.
MOVED = {"train.activation_epochs": ("model.training.activation_epochs", 0.0),
         "train.activation_schedule": ("model.training.activation_schedule", "linear"),
         "loss.balance_weight": ("model.training.balance_weight", 0.0)}


def moved_note(key: str) -> str:
    """What to say of a key that stands elsewhere now."""
    return f"note: {key} is {MOVED[key][0]} now, and is taken for it"


def moved(flat: Dict[str, Any]) -> Dict[str, Any]:
    """The keys of an earlier version's recipe, 'section.key' -> value, under their names of today."""
    result = dict(flat)
    for old, (new, default) in MOVED.items():
        if result.pop(old, default) not in (default, None):
            owner, _, name = new.rpartition(".")
            result[owner] = {**result.get(owner, {}), name: flat[old]}
    return result


def read_recipe(path: str) -> Dict[str, Any]:
    """The keys that a recipe sets, those of its `base` included: plain data alone. It is named by a path, or by the
    name of one that comes with the package.

    `base: FILE` (relative to the file that says it) or `base: NAME` (of one that comes with the package) begins with
    another recipe's keys; own keys override, and mappings such as model.args are merged key by key. A recipe that sets
    `optimizer.lr` and not `optimizer.base_batch` means its rate as it stands: the batch that its base states belongs to
    the rate that its base states.

    Raises:
        OSError, ValueError: no such file, no YAML, an unknown key, or files that are each other's base.
    """
    path = locate(path)
    chain: List[str] = []
    merged: Dict[str, Any] = {}
    while path is not None:
        if os.path.abspath(path) in chain:
            raise ValueError(f"{printable(path)} is its own base")
        chain.append(os.path.abspath(path))
        if len(chain) > LONGEST_CHAIN:
            raise ValueError(f"{printable(path)}: more than {LONGEST_CHAIN} recipes stand upon each other (base)")
        recipe = _check_file(path)
        base = recipe.pop("base", None)
        if base is not None and not isinstance(base, str):
            raise ValueError(f"{printable(path)}: base must be the path of a recipe")
        merged = merge(recipe, merged)
        path = None if base is None else _base(os.path.dirname(path), base)
    return merged


def _base(folder: str, base: str) -> str:
    """A recipe's base: a file, its path relative to the recipe's folder; else the shipped recipe of that name."""
    beside = os.path.join(folder, base)
    return str(shipped()[base]) if base in shipped() and not os.path.exists(beside) else beside


def merge(low: Dict[str, Any], high: Dict[str, Any]) -> Dict[str, Any]:
    """A recipe's keys over those of another; see `read_recipe` on the learning rate."""
    optimizer = high.get("optimizer", {})
    if "lr" in optimizer and "base_batch" not in optimizer and "base_batch" in low.get("optimizer", {}):
        high = {**high, "optimizer": {**optimizer, "base_batch": None}}
    return _merge(low, high)


def _merge(low: Any, high: Any) -> Any:
    """`high` over `low`; mappings key by key."""
    if not (isinstance(low, dict) and isinstance(high, dict)):
        return high
    return {**low, **{key: _merge(low[key], value) if key in low else value for key, value in high.items()}}


def _check_file(path: str) -> Dict[str, Any]:
    """The content of one recipe file, whose keys are known; no type has been looked at yet."""
    if not os.path.exists(path):
        raise ValueError(f"there is no recipe '{printable(path)}'")
    recipe, shown = read_yaml(path), printable(path)
    if not isinstance(recipe, dict):
        raise ValueError(f"{shown} is no recipe: it must hold sections such as 'model:' and 'data:'")
    sections = {section.name: section.default_factory for section in dataclasses.fields(Config)}
    elsewhere: Dict[str, Any] = {}
    for name, keys in recipe.items():
        if name == "base":
            continue
        if name not in sections:
            raise ValueError(f"{shown}: unknown section '{printable(name)}'{nearest(name, sections)}")
        if not isinstance(keys, dict):
            raise ValueError(f"{shown}: the section '{name}' must hold keys, as in {name}: {{key: value}}, not "
                             f"{printable(keys)[:100]}")
        known = [field.name for field in dataclasses.fields(sections[name])]
        _drop_removed(path, name, keys)
        _drop_moved(name, keys, elsewhere)
        for key in keys:
            if key not in known:
                raise ValueError(f"{shown}: unknown key '{name}.{printable(key)}'"
                                 f"{nearest(key, known, prefix=name + '.')}")
    recipe = _merge(elsewhere, recipe)
    try:
        return require_plain(recipe, "it")
    except ValueError as error:
        raise ValueError(f"{shown}: {str(error).replace('it.', '', 1)}") from None


def _drop_moved(section: str, keys: Dict[str, Any], elsewhere: Dict[str, Any]) -> None:
    """Take the keys out that stand elsewhere now, and put them there."""
    for old in [f"{section}.{key}" for key in keys if f"{section}.{key}" in MOVED]:
        new, default = MOVED[old]
        value = keys.pop(old.rpartition(".")[2])
        if value not in (default, None):
            print(moved_note(old), file=sys.stderr)
            first, second, name = new.split(".")
            elsewhere.setdefault(first, {}).setdefault(second, {})[name] = value


def _drop_removed(path: str, section: str, keys: Dict[str, Any]) -> None:
    """Take out the keys that are gone; ValueError where one of them is switched on."""
    for key in [key for key in keys if f"{section}.{key}" in REMOVED]:
        if keys.pop(key):
            raise ValueError(f"{printable(path)}: the key '{section}.{key}' is gone: {REMOVED[f'{section}.{key}']}")
