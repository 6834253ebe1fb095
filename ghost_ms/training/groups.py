"""Which parameters are trained, and with which learning rate and weight decay."""
import re
from typing import Dict, List, Optional, Sequence, Set, Union

from mindspore import Parameter, nn

from ghost_ms.config import OptimizerConfig
from ghost_ms.models.stages import layer_of_parameters, stage_of_parameters


def parameter_groups(net: nn.Cell, config: OptimizerConfig, extra: Sequence[Parameter] = ()) -> List[dict]:
    """Groups of the trainable parameters: {"params", "weight_decay", "factor", "switch"}.

    `factor` is on the learning rate, and so is `switch`: None, or a scalar Parameter that the network turns to 0 for as
    long as these parameters are not trained (`Backbone.update_switches`).

    Norms and biases (all that is one-dimensional) go without decay, and so do the names that the network lists in
    `no_weight_decay`: position tables and class tokens. The groups that it names in `parameter_groups`, such as the
    LIF scalars of SNN-MLP, never decay and have the factor of `optimizer.group_lr`. With `optimizer.layer_decay` d
    the factor of layer l of L is d to the power L - l: the stem is layer 0, every block is one, the head is layer L
    (ELECTRA, arXiv 2003.10555; BEiT, arXiv 2106.08254, whose code and timm count so).

    Args:
        extra: trainable parameters beside those of the network.

    Raises:
        ValueError: `group_lr` names a group that the network does not have; nothing is left to train; `layer_decay` is
            given, and the network declares no layers.
    """
    parameters = list(net.trainable_params())
    if not parameters:
        raise ValueError("nothing is left to train: model.freeze covers every parameter of the network")
    named = dict(getattr(net, "parameter_groups", ()))
    unknown = [name for name in config.group_lr if name not in named]
    if unknown:
        raise ValueError(f"optimizer.group_lr names a group '{unknown[0]}'; the groups of this {type(net).__name__} "
                         f"are: {', '.join(named) or 'none'}")
    layers = layer_of_parameters(net) if config.layer_decay != 1 else {}
    head = max(layers.values(), default=0)
    switches = net.update_switches() if hasattr(net, "update_switches") else {}
    spared = [re.compile(pattern) for pattern in getattr(net, "no_weight_decay", ())]
    groups: Dict[tuple, List[Parameter]] = {}
    for parameter in [*parameters, *extra]:
        own = next((group for group, pattern in named.items() if re.search(pattern, parameter.name)), None)
        plain = parameter.ndim <= 1 or any(pattern.search(parameter.name) for pattern in spared)
        decays = own is None and (config.decay_norms_and_biases or not plain)
        factor = config.group_lr.get(own, 1.0) * config.layer_decay ** (head - layers.get(parameter.name, head))
        switch = next((pattern for pattern in switches if re.search(pattern, parameter.name)), None)
        groups.setdefault((config.weight_decay if decays else 0.0, factor, switch), []).append(parameter)
    return [{"params": members, "weight_decay": decay, "factor": factor, "switch": switches.get(switch)}
            for (decay, factor, switch), members in groups.items()]


def classifier_names(net: nn.Cell) -> List[str]:
    """Names of the parameters of the classifier that the network declares, trained or frozen.

    Raises:
        ValueError: it declares none.
    """
    cells = getattr(net, "classifier_cells", ())
    names = [name for name in net.parameters_dict() if any(name.startswith(f"{cell}.") for cell in cells)]
    if not names:
        raise ValueError(f"this {type(net).__name__} declares no classifier, which optimizer.clip_agc spares: name its "
                         "cells in classifier_cells (see ghost_ms/models/backbone.py)")
    return names


def freeze(net: nn.Cell, what: Union[int, Sequence[str]]) -> int:
    """Exclude parameters from training, and let norms among them keep their statistics; the number of parameters.

    Nothing else changes in the frozen part: its dropout and drop path go on as everywhere in the field.

    Args:
        what: a number of stages from the input on (all that computes up to that tap of `feature_info`, and nothing that
            comes after), or names of cells, such as ["conv_stem", "blocks.0"].

    Raises:
        ValueError: more stages than there are, or a name that no parameter has; the sentence lists what there is. Or a
            norm whose running statistics cannot be held.
    """
    if isinstance(what, int):
        if not what:
            return 0
        stages = stage_of_parameters(net)
        if not 0 < what <= len(net.feature_info):
            raise ValueError(f"model.freeze is {what}; this {type(net).__name__} has {len(net.feature_info)} stages")
        frozen = {name for name, stage in stages.items() if stage < what}
    else:
        frozen = set()
        names = [parameter.name for parameter in net.get_parameters()]
        for prefix in what:
            inside = {name for name in names if name == prefix or name.startswith(f"{prefix}.")}
            if not inside:
                tops = dict.fromkeys(name.split(".")[0] for name in names)
                raise ValueError(f"model.freeze names '{prefix}', which no parameter of this {type(net).__name__} "
                                 f"begins with; its parts are {', '.join(tops)}")
            frozen |= inside
    _hold(net, frozen, "model.freeze")
    return len(frozen)


def freeze_norms(net: nn.Cell) -> int:
    """Let BatchNorms keep statistics, scale and shift; the number of their parameters.

    Of a network on a backbone of its own (`net.backbone`) those of the backbone alone.

    Raises:
        ValueError: there is none, or one whose running statistics cannot be held.
    """
    frozen = {parameter.name for _, cell in getattr(net, "backbone", net).cells_and_names()
              if _running_mean(cell) is not None for parameter in cell.get_parameters(expand=False)}
    if not frozen:
        raise ValueError(f"model.freeze_norms is true, and this {type(net).__name__} has no BatchNorm; leave it out")
    _hold(net, frozen, "model.freeze_norms")
    return len(frozen)


def _running_mean(cell: nn.Cell) -> Optional[Parameter]:
    return getattr(cell, "moving_mean", getattr(cell, "running_mean", None))


def _hold(net: nn.Cell, frozen: Set[str], key: str) -> None:
    """Train none of these parameters, and hold the statistics of the norms among them.

    Args:
        key: of the recipe, for an error.
    """
    for parameter in net.get_parameters():
        if parameter.name in frozen:
            parameter.requires_grad = False
    for name, cell in net.cells_and_names():
        mean = _running_mean(cell)
        if mean is not None and mean.name in frozen:
            if not hasattr(cell, "use_batch_statistics"):
                raise ValueError(f"{key} covers '{name}', a {type(cell).__name__}, whose running statistics "
                                 "cannot be held; take MindSpore's nn.BatchNorm2d or leave it out")
            cell.use_batch_statistics = False
