"""`describe.py RECIPE OVERRIDES...`: what a launcher says of a recipe before it starts: data, device and folder.

A recipe that cannot be read is the training's to complain of; where the reader's packages are missing (a dry run on a
laptop), the lines say so.
"""
import sys
from typing import Any, Dict, List, Sequence, Tuple

from outside import brief, printable

#: (label, key of the recipe, what stands for it where nobody sets it).
SHOWN: Tuple[Tuple[str, str, str], ...] = (
    ("dataset", "data.dataset", "image_folder"), ("root", "data.root", ""), ("device", "run.device", "auto"),
    ("run", "run.dir", "runs/default"))


def given(overrides: Sequence[str]) -> Dict[str, str]:
    """Keys that the command line sets, the last one where a key is set twice."""
    found: Dict[str, str] = {}
    words = iter(overrides)
    for word in words:
        key, equals, value = word[2:].partition("=")
        if word.startswith("--"):
            found[key] = value if equals else next(words, "")
    return found


def values(path: str, overrides: Sequence[str]) -> Dict[str, str]:
    """What holds for each of `SHOWN`, by label; ValueError, OSError or ImportError where the recipe cannot be read."""
    from ghost_ms.config import read_recipe

    recipe, found = read_recipe(path), given(overrides)
    return {label: str(found.get(key) or _at(recipe, key.split(".")) or default) for label, key, default in SHOWN}


def _at(recipe: Any, keys: List[str]) -> Any:
    for key in keys:
        recipe = recipe.get(key) if isinstance(recipe, dict) else None
    return recipe


def main(argv: List[str]) -> int:
    """Print `LABEL VALUE` lines."""
    try:
        known = values(argv[0], argv[1:])
    except Exception:
        # Whatever it is, the training says it better.
        known = {label: given(argv[1:]).get(key) or "as the recipe says" for label, key, _ in SHOWN}
        known["root"] = given(argv[1:]).get("data.root", "")
    data = known["dataset"] + (f", in {known['root']}" if known["root"] else "")
    device = "auto: the first of Ascend, GPU and CPU that is here" if known["device"] == "auto" else known["device"]
    print(f"data {brief(data, 300)}\ndevice {brief(device)}\nrun {printable(known['run'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
