"""The network that a file fits, where it does not fit the one that was named."""
import contextlib
import math
from typing import Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from mindspore import nn

from ghost_ms.models.registry import build_model, list_models, model_card, nearest
from ghost_ms.weights.convert import BOOKKEEPING, Difference, fitted, is_spare, torch_names
from ghost_ms.weights.pick import Wanted, without_prefix

#: Networks that are built, without values, to be compared with a file.
CANDIDATES = 5


@contextlib.contextmanager
def shapes_only() -> Iterator[None]:
    """Networks built meanwhile have parameters without values, which takes a tenth of the time and no memory."""
    try:
        from mindspore.nn.utils import no_init_parameters as lazy
    except ImportError:
        lazy = contextlib.nullcontext
    with lazy():
        yield


def classifier(net: nn.Cell, num_classes: int) -> List[str]:
    """Our names of the classifier's parameters, which is replaced by a fresh one for `num_classes` classes."""
    before = dict(net.parameters_and_names())
    net.reset_classifier(num_classes)
    after = dict(net.parameters_and_names())
    return [name for name in before if after.get(name) is not before[name]]


def wanted(net: nn.Cell, heads: Sequence[str], optional: bool) -> Wanted:
    """What `net` takes, in PyTorch's names; `heads` are our names of its classifier's parameters."""
    names = torch_names(net)
    return Wanted(list(names.values()), [names[name] for name in heads], optional, lambda name: is_spare(net, name))


def _difference(model: str, state: Mapping[str, np.ndarray]) -> Tuple[Difference, List[str]]:
    """(where a state dict differs from a registered network, entries without the prefix of the others).

    The classifier, which may be of any count of classes or missing, is left out.
    """
    card = model_card(model)
    with shapes_only():
        net = build_model(model)
        heads = classifier(net, card.num_classes)
        names = torch_names(net)
        if all(name in state for name in names):
            state = {other: state[name] for name, other in names.items()}
        _, inner, outside = without_prefix(state, wanted(net, heads, True))
        free = {names[name] for name in heads}
        found = fitted(net, {name: value for name, value in inner.items() if name not in free})[1]
    return found._replace(missing=[name for name in found.missing if name not in free]), outside


def lacking(model: str, state: Mapping[str, np.ndarray]) -> Optional[str]:
    """What a state dict lacks of a registered network, classifier aside; None where it has all, whatever else it has.
    """
    found, _ = _difference(model, state)
    return str(found._replace(unexpected=[])) if found.missing or found.shapes else None


def is_of(model: str, state: Mapping[str, np.ndarray]) -> bool:
    """Whether every entry of a state dict fits a registered network; its classifier may have any count of classes."""
    found, outside = _difference(model, state)
    return not outside and not any(found)


def proposal(state: Mapping[str, np.ndarray], model: str) -> Optional[str]:
    """A registered network other than `model` in which all entries of a state dict fit; None where none is found.

    Networks of about as many parameters come first, then those of a like name; only a few are tried.
    """
    count = sum(value.size for name, value in state.items()
                if not BOOKKEEPING.search(name) and not name.endswith(("running_mean", "running_var")))
    others = [name for name in list_models() if name != model]
    by_size = sorted(others, key=lambda name: abs(math.log(max(model_card(name).params, 1) / max(count, 1))))
    by_name = [name for name in nearest(model, CANDIDATES) if name != model]
    tried = list(dict.fromkeys([*by_size[:3], *by_name, *by_size[3:]]))[:CANDIDATES]
    for name in tried:
        with contextlib.suppress(ValueError, TypeError):
            if is_of(name, state):
                return name
    return None
