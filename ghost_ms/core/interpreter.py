"""Modules of this package, run by a Python process of their own."""
import pathlib
import sys
from typing import List

#: Puts this very package in front while it is imported, whatever else is installed under its name.
_CODE = """import sys
sys.path[:] = [{root!r}, *filter(None, sys.path)]
import ghost_ms
sys.path.append(sys.path.pop(0))
from ghost_ms.core import plugins
plugins.load()
import runpy
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)"""


def command(module: str, *arguments: str) -> List[str]:
    """What starts `python -m module arguments`, except that nothing is imported from the current folder.

    `python -m` looks there first: among the files of a stranger, a numpy.py would be run.
    """
    root = str(pathlib.Path(__file__).parents[2])
    return [sys.executable, "-c", _CODE.format(root=root, module=module), *arguments]
