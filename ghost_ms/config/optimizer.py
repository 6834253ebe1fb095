"""The section `optimizer`: how gradients move the weights."""
import dataclasses
from typing import Dict, List, Optional

from ghost_ms.config.checks import at_least_one, not_negative, one_of, share


OPTIMIZERS = ("sgd", "rmsprop", "adamw", "lamb", "lion")


@dataclasses.dataclass
class OptimizerConfig:
    """The optimizer: how gradients change the weights.

    Args:
        name: sgd, rmsprop (TensorFlow's: epsilon inside the root, mean square from 1), adamw, lamb or lion.
        lr: peak learning rate, for the batch size as it is, or for `base_batch`.
        base_batch: images of an update that `lr` is meant for; the rates of the schedule are scaled linearly to the
            global batch. By default nothing is scaled.
        momentum: momentum of sgd and rmsprop.
        nesterov: whether sgd uses Nesterov's form of momentum.
        weight_decay: L2 penalty of weights (sgd, rmsprop), or their decoupled decay (adamw, lamb, lion).
        decay_norms_and_biases: whether norms, biases and position tables decay too.
        betas: decay of the two running means of adamw, lamb (default 0.9, 0.999) and lion (default 0.9, 0.99).
        rms_decay: decay of rmsprop's running mean of squares.
        eps: added to the denominator; by default 1e-8 for adamw, 1e-6 for lamb, 1e-3 for rmsprop.
        group_lr: factor on the learning rate of the parameter groups that a network names, such as {lif: 0.1}; these
            groups do not decay.
        layer_decay: factor on the learning rate for each block further from the head, the stem being the furthest
            (ELECTRA, arXiv 2003.10555; BEiT, arXiv 2106.08254), such as 0.75 for a transformer; 1 for none.
        clip_norm: largest norm of all gradients together; 0 for no limit.
        clip_value: largest magnitude of each gradient's entries; 0 for no limit.
        clip_agc: largest norm of a unit's gradient relative to its weights' (adaptive, arXiv 2102.06171); 0 for none.
    """

    name: str = "sgd"
    lr: float = 0.1
    base_batch: Optional[int] = None
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 4e-5
    decay_norms_and_biases: bool = False
    betas: Optional[List[float]] = None
    rms_decay: float = 0.9
    eps: Optional[float] = None
    group_lr: Dict[str, float] = dataclasses.field(default_factory=dict)
    layer_decay: float = 1.0
    clip_norm: float = 0.0
    clip_value: float = 0.0
    clip_agc: float = 0.0

    def validate(self) -> None:
        """ValueError for a value whose type is right and whose meaning is not."""
        one_of("optimizer.name", self.name, OPTIMIZERS)
        not_negative(**{f"optimizer.{key}": getattr(self, key) for key in (
            "lr", "weight_decay", "momentum", "clip_norm", "clip_value", "clip_agc")},
                     **{f"optimizer.group_lr.{name}": factor for name, factor in self.group_lr.items()})
        share("optimizer.rms_decay", self.rms_decay)
        if self.nesterov and (self.name != "sgd" or not self.momentum):
            raise ValueError("optimizer.nesterov needs optimizer.name sgd and optimizer.momentum above 0")
        if self.betas is not None and (len(self.betas) != 2 or not all(0 <= b < 1 for b in self.betas)):
            raise ValueError(f"optimizer.betas must be two numbers from 0 to below 1, not {self.betas}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"optimizer.layer_decay must lie above 0 and at most be 1, not {self.layer_decay}")
        if self.base_batch is not None:
            at_least_one(**{"optimizer.base_batch": self.base_batch})
        if self.eps is not None and self.eps <= 0:
            raise ValueError(f"optimizer.eps must lie above 0, not {self.eps}")
        given = [key for key in ("clip_norm", "clip_value", "clip_agc") if getattr(self, key)]
        if len(given) > 1:
            raise ValueError(f"optimizer.{given[0]} and optimizer.{given[1]} exclude each other; set one of them to 0")
