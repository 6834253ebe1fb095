"""Packages of users, whose networks, tasks and data sets every command then knows.

Code is imported only where the user says so: by `--import PACKAGE`, by the environment variable GHOST_MS_PLUGINS, or by
a package that was installed with an entry point of the group `ghost_ms.plugins`. A recipe or a checkpoint can name what
it needs, and imports nothing.
"""
import importlib
import os
import re
from importlib import metadata
from typing import Iterable, List

from ghost_ms.core.text import printable

#: Names of packages, separated by commas; processes that a command starts import the same ones.
VARIABLE = "GHOST_MS_PLUGINS"
GROUP = "ghost_ms.plugins"
#: What to say of a name that nothing registers.
HINT = "what a package of your own registers is known with --import PACKAGE"


def add(names: Iterable[str]) -> None:
    """Name packages for this process and for those that it starts; `load` imports them."""
    known = _named()
    os.environ[VARIABLE] = ",".join([*known, *(name for name in names if name not in known)])


def load() -> None:
    """Import what the user has named, once.

    Raises:
        ValueError: a name is no module's, there is no such module, or it cannot be imported.
    """
    for name in _named():
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name):
            raise ValueError(f"'{printable(name)}' is no name of a package ({_given()})")
        _import(name, _given())
    for point in _entry_points():
        _import(point.value.partition(":")[0], f"the entry point {point.name} of {GROUP}")


def _named() -> List[str]:
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]


def _given() -> str:
    return f"--import or {VARIABLE}"


def _import(name: str, origin: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ValueError(f"there is no package '{name}' to import ({origin}); install it, or name its folder in "
                             "PYTHONPATH") from None
        raise ValueError(f"the package '{name}' ({origin}) needs '{error.name}', which is not installed") from None
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise ValueError(f"the package '{name}' ({origin}) cannot be imported: {type(error).__name__}: "
                         f"{printable(first)[:200]}") from error


def _entry_points() -> List[metadata.EntryPoint]:
    found = metadata.entry_points()
    # Python 3.9 gives a mapping.
    chosen = found.select(group=GROUP) if hasattr(found, "select") else found.get(GROUP, ())
    return sorted(set(chosen), key=lambda point: point.name)
