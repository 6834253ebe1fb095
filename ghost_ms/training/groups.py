"""Which parameters are trained, and with which learning rate and weight decay."""
import re
from typing import Dict, List, Sequence, Union

from mindspore import Parameter, nn

from ghost_ms.config import OptimizerConfig


def parameter_groups(net: nn.Cell, config: OptimizerConfig, extra: Sequence[Parameter] = ()) -> List[dict]:
    """Groups of the trainable parameters: {"params", "weight_decay", "factor"}, the last on the learning rate.

    Norms and biases (all that is one-dimensional) go without decay, and so do the names that the network lists in
    `no_weight_decay`: position tables and class tokens. The groups that it names in `parameter_groups`, such as the
    LIF scalars of SNN-MLP, never decay and have the factor of `optimizer.group_lr`. With `optimizer.layer_decay` d
    the factor of stage s of S is d to the power S - s, and that of the classifier 1 (arXiv 2106.08254, section 3.1).

    Args:
        extra: trainable parameters beside those of the network.

    Raises:
        ValueError: `group_lr` names a group that the network does not have; nothing is left to train.
    """
    parameters = list(net.trainable_params())
    if not parameters:
        raise ValueError("nothing is left to train: model.freeze covers every parameter of the network")
    named = dict(getattr(net, "parameter_groups", ()))
    unknown = [name for name in config.group_lr if name not in named]
    if unknown:
        raise ValueError(f"optimizer.group_lr names a group '{unknown[0]}'; the groups of this {type(net).__name__} "
                         f"are: {', '.join(named) or 'none'}")
    stages = stage_of_parameters(net) if config.layer_decay != 1 else {}
    depth = len(getattr(net, "feature_info", ()))
    spared = [re.compile(pattern) for pattern in getattr(net, "no_weight_decay", ())]
    groups: Dict[tuple, List[Parameter]] = {}
    for parameter in [*parameters, *extra]:
        own = next((group for group, pattern in named.items() if re.search(pattern, parameter.name)), None)
        plain = parameter.ndim <= 1 or any(pattern.search(parameter.name) for pattern in spared)
        decays = own is None and (config.decay_norms_and_biases or not plain)
        factor = config.group_lr.get(own, 1.0) * config.layer_decay ** (depth - stages.get(parameter.name, depth))
        groups.setdefault((config.weight_decay if decays else 0.0, factor), []).append(parameter)
    return [{"params": members, "weight_decay": decay, "factor": factor}
            for (decay, factor), members in groups.items()]


def stage_of_parameters(net: nn.Cell) -> Dict[str, int]:
    """Stage of each parameter: s where it comes after tap s - 1 of `feature_info` and not after tap s.

    What follows the last tap, the head, has the number of taps.

    Raises:
        ValueError: the network has no stages.
    """
    cells = [name for name, _ in net.cells_and_names()]
    # A tap may be an activation, without parameters: the order of the cells tells what lies before it.
    ends = [max((index for index, name in enumerate(cells) if f"{name}.".startswith(f"{info.name}.")), default=-1)
            for info in getattr(net, "feature_info", ())]
    if not ends or min(ends) < 0:
        raise ValueError(f"this {type(net).__name__} tells no stages, which optimizer.layer_decay and a number in "
                         "model.freeze need")
    position = {name: index for index, name in enumerate(cells)}
    return {name: sum(position[name.rpartition(".")[0]] > end for end in ends) for name in net.parameters_dict()}


def classifier_names(net: nn.Cell) -> List[str]:
    """Names of the parameters of the classifier: those of the last layer that has any."""
    names = [parameter.name for parameter in net.trainable_params()]
    layer = names[-1].rpartition(".")[0]
    return [name for name in names if name.rpartition(".")[0] == layer]


def freeze(net: nn.Cell, what: Union[int, Sequence[str]]) -> int:
    """Exclude parameters from training, and let their BatchNorms keep their statistics; the number of parameters.

    Args:
        what: a number of stages from the input on, or names of cells, such as ["conv_stem", "blocks.0"].

    Raises:
        ValueError: more stages than there are, or a name that no parameter has; the sentence lists what there is.
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
    for parameter in net.get_parameters():
        if parameter.name in frozen:
            parameter.requires_grad = False
    for _, cell in net.cells_and_names():
        if isinstance(cell, nn.BatchNorm2d) and cell.moving_mean.name in frozen:
            cell.use_batch_statistics = False
    return len(frozen)
