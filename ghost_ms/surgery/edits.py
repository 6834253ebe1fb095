"""What can be done to a built network, by name, so that a recipe or a checkpoint can ask for it again.

An edit is a mapping of one name to its arguments, `{ghostify: {ratio: 2}}`; a list of them is applied in its order.
"""
import difflib
import inspect
from typing import Any, Callable, Dict, List, Mapping, Sequence

from mindspore import nn

from ghost_ms.core.plain import require_plain
from ghost_ms.core.text import printable
from ghost_ms.surgery.ghostify import ghostify

#: Name -> a function that changes a network in place and takes further arguments by name.
EDITS: Dict[str, Callable[..., Any]] = {"ghostify": ghostify}
#: Most edits of a network.
MOST = 100


def check_edits(edits: Any, where: str) -> List[Dict[str, Dict[str, Any]]]:
    """The edits as a list of {name: {argument: value}}; an edit without arguments may be its name alone.

    Args:
        where: what a sentence calls the list, such as 'model.edits'.

    Raises:
        ValueError: they are no such list, or name an edit or an argument that does not exist.
    """
    if not isinstance(edits, (list, tuple)) or len(edits) > MOST:
        raise ValueError(f"{where} is no list of at most {MOST} edits, such as [{{ghostify: {{ratio: 2}}}}]")
    return [_checked(edit, where) for edit in require_plain(list(edits), where)]


def _checked(edit: Any, where: str) -> Dict[str, Dict[str, Any]]:
    if isinstance(edit, str):
        edit = {edit: {}}
    if not isinstance(edit, dict) or len(edit) != 1 or not all(isinstance(name, str) for name in edit):
        raise ValueError(f"{where} holds {printable(edit)[:100]}, which is no mapping of one edit to its arguments, "
                         "such as {ghostify: {ratio: 2}}")
    (name, arguments), = edit.items()
    if name not in EDITS:
        near = difflib.get_close_matches(name, EDITS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(EDITS))}"
        raise ValueError(f"{where} holds the unknown edit {printable(name)[:100]!r}; {hint}")
    arguments = {} if arguments is None else arguments
    # The first parameter is the network.
    known = list(inspect.signature(EDITS[name]).parameters)[1:]
    if not isinstance(arguments, dict) or set(arguments) - set(known):
        wrong = next(iter(set(arguments) - set(known)), "") if isinstance(arguments, dict) else arguments
        raise ValueError(f"{where}: {name} does not take {printable(wrong)[:100]!r}; its arguments are "
                         f"{', '.join(known)}")
    return {name: dict(arguments)}


def apply_edits(net: nn.Cell, edits: Sequence[Mapping[str, Mapping[str, Any]]]) -> nn.Cell:
    """Apply edits in their order, in place; the network's `edits` names all that were.

    Raises:
        ValueError: one cannot be made to this network; the sentence names it.
    """
    for edit in check_edits(edits, "edits"):
        (name, arguments), = edit.items()
        try:
            EDITS[name](net, **arguments)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the edit {name} cannot be made: {error}") from None
        net.edits = [*edits_of(net), edit]
    return net


def edits_of(net: nn.Cell) -> List[Dict[str, Dict[str, Any]]]:
    """The edits that a network has had, in their order."""
    return list(getattr(net, "edits", ()))
