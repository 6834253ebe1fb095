"""Optimizers over groups of parameters."""
import re
from typing import List

from mindspore import nn

from ghost_ms.config import OptimizerConfig


def decay_groups(net: nn.Cell, weight_decay: float, decay_norms_and_biases: bool) -> List[dict]:
    """Parameter groups for an optimizer.

    Norms and biases (all that is one-dimensional) go without decay, and so do the names that the network lists in
    `no_weight_decay`: position tables and class tokens.
    """
    parameters = net.trainable_params()
    if decay_norms_and_biases or not weight_decay:
        return [{"params": parameters, "weight_decay": weight_decay}]
    spared = [re.compile(pattern) for pattern in getattr(net, "no_weight_decay", ())]
    plain = [p for p in parameters if p.ndim <= 1 or any(pattern.search(p.name) for pattern in spared)]
    kept = {p.name for p in plain}
    decayed = [p for p in parameters if p.name not in kept]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def create_optimizer(net: nn.Cell, config: OptimizerConfig, rates: List[float]) -> nn.Optimizer:
    """SGD as PyTorch defines it, with one learning rate a step (`nn.Momentum` ignores Nesterov on CPU)."""
    groups = decay_groups(net, config.weight_decay, config.decay_norms_and_biases)
    # One rate more than there are steps: the optimizer looks the next one up after the last update.
    return nn.SGD(groups, rates + rates[-1:], config.momentum, nesterov=config.nesterov)
