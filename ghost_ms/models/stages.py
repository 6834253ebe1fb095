"""Which layer and which stage of a network a parameter belongs to, from what its family declares (`layer_parts`)."""
from typing import Dict, List, Tuple

from mindspore import nn

from ghost_ms.models.backbone import Backbone, Layers


def layer_of_parameters(net: nn.Cell) -> Dict[str, int]:
    """Number of the layer of each parameter: 0 for the stem, then block by block, the head last.

    Raises:
        ValueError: the network declares no layers, or not exactly one for each of its parameters.
    """
    owner = {part: index for index, parts in enumerate(_declared(net)) for part in parts}
    layers = {}
    for name in net.parameters_dict():
        found = _owners(owner, name)
        if len(found) != 1:
            said = f"to {len(found)} ({', '.join(found)})" if found else "to none"
            raise ValueError(f"each parameter must belong to one layer that {type(net).__name__}.layer_parts() "
                             f"declares, but '{name}' belongs {said}")
        layers[name] = owner[found[0]]
    return layers


def _owners(owner: Dict[str, int], name: str) -> List[str]:
    words = name.split(".")
    return [part for part in (".".join(words[:end + 1]) for end in range(len(words))) if part in owner]


def place_of_cells(net: nn.Cell) -> Dict[str, Tuple[int, int]]:
    """(stage, layer) of each cell that lies in a declared layer; numbered as those of parameters are."""
    owner, ends = {part: index for index, parts in enumerate(_declared(net)) for part in parts}, _ends(net)
    found = ((name, _owners(owner, name)) for name, _ in net.cells_and_names())
    layers = {name: owner[parts[0]] for name, parts in found if parts}
    return {name: (sum(layer > end for end in ends), layer) for name, layer in layers.items()}


def stage_of_parameters(net: nn.Cell) -> Dict[str, int]:
    """Stage of each parameter: s where it comes after tap s - 1 of `feature_info` and not after tap s.

    What follows the last tap, the head, has the number of taps.

    Raises:
        ValueError: the network declares no layers or no taps, or not a layer for every parameter and tap.
    """
    layers, ends = layer_of_parameters(net), _ends(net)
    return {name: sum(layer > end for end in ends) for name, layer in layers.items()}


def _declared(net: nn.Cell) -> Layers:
    if not hasattr(net, "layer_parts") or type(net).layer_parts is Backbone.layer_parts:
        raise ValueError(f"this {type(net).__name__} declares no layers, which optimizer.layer_decay and a number in "
                         "model.freeze go by: give it a layer_parts() (see ghost_ms/models/backbone.py)")
    return net.layer_parts()


def _ends(net: nn.Cell) -> Tuple[int, ...]:
    """Number of the layer that ends in each tap: the last that declares the tap's cell or one inside it."""
    layers, ends = _declared(net), []
    for info in net.feature_info:
        within = [index for index, parts in enumerate(layers)
                  if any(f"{part}.".startswith(f"{info.name}.") for part in parts)]
        if not within:
            raise ValueError(f"no layer that {type(net).__name__}.layer_parts() declares lies in its tap '{info.name}'")
        ends.append(within[-1])
    return tuple(ends)
