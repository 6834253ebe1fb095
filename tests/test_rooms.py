"""The rooms of the package and the one direction of its imports, as docs/architecture.md tells them."""
import ast
import pathlib
from typing import Dict, List, Set, Tuple

import pytest

ROOT = pathlib.Path(__file__).parents[1] / "ghost_ms"
#: From the ground up; a room imports only rooms above it in this list.
ROOMS = ("core", "config", "layers", "kernels", "models", "graph", "surgery", "weights", "data", "factory",
         "checkpoints", "runtime", "tasks", "training", "deploy", "analysis", "cli")
#: What the engine, deploy and analysis may know of the tasks.
CONTRACT = {"tasks", "tasks.base", "tasks.measure", "tasks.predict", "tasks.registry"}
#: What tasks check alike.
SHARED = "tasks.arguments"
#: Rooms that do not know each other, though one stands above the other.
STRANGERS = {("deploy", "training")}


def _modules() -> Dict[str, pathlib.Path]:
    """Name below ghost_ms ('' is the package itself) -> file."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def imports_of(source: str, known: Set[str]) -> Set[str]:
    """Modules of the package that a source imports, at its top or within functions, named below ghost_ms."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports name their module in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] != "ghost_ms":
                continue
            below = ".".join(parts[1:])
            found.add(below if below in known else ".".join(parts[1:-1]))
    return found


ARROWS: Set[Tuple[str, str]] = {
    (name, target) for name, path in MODULES.items()
    for target in imports_of(path.read_text(encoding="utf-8"), set(MODULES)) if target != name}


def room(name: str) -> str:
    """The room of a module; the package itself and __main__ belong to none and are imported by all."""
    return name.split(".")[0]


def test_every_module_is_in_a_room():
    assert {room(name) for name in MODULES} - set(ROOMS) == {"", "__main__"}


def test_no_arrow_runs_up():
    up = [f"{source} imports {target}" for source, target in sorted(ARROWS)
          if room(source) in ROOMS and room(target) in ROOMS and ROOMS.index(room(target)) > ROOMS.index(room(source))]
    assert not up, "\n".join(up)


def test_the_package_itself_is_imported_for_its_version_alone():
    """Its `create_model` would lead anywhere."""
    wanted = {}
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "ghost_ms":
                wanted[name] = {alias.name for alias in node.names if alias.name not in MODULES} - {"__version__"}
    assert not {name: names for name, names in wanted.items() if names}


def test_rooms_that_do_not_know_each_other():
    met = [f"{source} imports {target}" for source, target in sorted(ARROWS) for pair in STRANGERS
           if {room(source), room(target)} == set(pair)]
    assert not met, "\n".join(met)


def test_tasks_are_known_by_their_contract_alone():
    """A task knows no other, and above them only the contract is known."""
    found = []
    for source, target in sorted(ARROWS):
        if room(target) != "tasks" or target in CONTRACT or room(source) == "tasks" and target == SHARED:
            continue
        if room(source) != "tasks" or (source not in CONTRACT and source.split(".")[1] != target.split(".")[1]):
            found.append(f"{source} imports {target}")
    assert not found, "\n".join(found)


def circles(arrows: Set[Tuple[str, str]]) -> List[List[str]]:
    """Groups of names that lead to each other (Tarjan 1972)."""
    following: Dict[str, List[str]] = {}
    for source, target in sorted(arrows):
        following.setdefault(source, []).append(target)
    number: Dict[str, int] = {}
    lowest: Dict[str, int] = {}
    stack: List[str] = []
    found: List[List[str]] = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for other in following.get(name, ()):
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            at = stack.index(name)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for name in sorted(following):
        if name not in number:
            visit(name)
    return found


def test_no_circle():
    assert circles({(source, target) for source, target in ARROWS if target}) == []


@pytest.mark.parametrize("arrows, found", [
    ({("a", "b"), ("b", "c")}, []), ({("a", "b"), ("b", "a")}, [["a", "b"]]),
    ({("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")}, [["a", "b", "c"]])])
def test_circles_are_found(arrows, found):
    assert circles(arrows) == found


def test_imports_within_functions_count():
    source = "import os\nfrom ghost_ms.core import files\ndef f():\n    from ghost_ms.data.loader import Shard\n"
    assert imports_of(source, {"core", "core.files", "data.loader"}) == {"core.files", "data.loader"}


def test_argparse_lives_in_the_commands_alone():
    # The keys of a recipe are options too; jsonargparse takes them from the dataclasses beside which this stands.
    others = {name: path for name, path in MODULES.items() if room(name) not in ("cli", "__main__")}
    del others["config.parsing"]
    users = [name for name, path in others.items()
             if any(word in path.read_text(encoding="utf-8") for word in ("import argparse", "ArgumentParser("))]
    assert not users
