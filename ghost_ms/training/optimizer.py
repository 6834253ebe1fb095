"""Optimizers: MindSpore's own where they are exactly the published rule, and what it lacks.

`nn.SGD` equals PyTorch's. The CPU kernel of `nn.RMSProp` takes roots to five digits only, `nn.AdamWeightDecay` has no
bias correction, `nn.Lamb` no CPU kernel, and Lion does not exist: these are written here with common operators.
"""
import inspect
import math
from typing import List, Optional, Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore.nn.learning_rate_schedule import LearningRateSchedule

from ghost_ms.config import OptimizerConfig
from ghost_ms.training.flat import Group
from ghost_ms.training.groups import parameter_groups

EPSILON = {"adamw": 1e-8, "lamb": 1e-6, "rmsprop": 1e-3}
#: Numbers that one vector holds at most, unless a parameter alone is larger: an update makes some ten copies of it.
LONGEST = 2 ** 25


class RateTable(LearningRateSchedule):
    """One learning rate per update, times a factor and a switch; past the end the last one. Not in the step's state.

    Args:
        rates, factor: of the updates.
        switch: float32 scalar that is set from outside (`Backbone.update_switches`); None for 1.
    """

    def __init__(self, rates: Sequence[float], factor: float = 1.0, switch: Optional[Parameter] = None):
        super().__init__()
        # Past the registration of Cell, which would make it a part of the step's state.
        object.__setattr__(self, "switch", switch)
        self.rates = Tensor(np.asarray(rates, np.float64) * factor, ms.float32)
        self.last = Tensor([len(rates) - 1], ms.int32)

    def construct(self, global_step: Tensor) -> Tensor:
        rate = ops.gather(self.rates, ops.minimum(global_step, self.last), 0)
        return rate if self.switch is None else rate * self.switch


def _in_parts(parameters: Sequence[Parameter]) -> List[List[Parameter]]:
    """The parameters in runs of at most `LONGEST` numbers, or of one parameter."""
    parts: List[List[Parameter]] = [[]]
    length = 0
    for parameter in parameters:
        if parts[-1] and length + parameter.size > LONGEST:
            parts.append([])
            length = 0
        parts[-1].append(parameter)
        length += parameter.size
    return parts


class Sgd(nn.SGD):
    """`nn.SGD`, which in PyNative mode runs operator by operator.

    MindSpore compiles `construct` of its own optimizers in both modes. What is compiled in PyNative mode goes on using
    the old memory of a parameter after `set_data`: its updates were lost from the first evaluation of running means on.
    """

    construct = inspect.unwrap(nn.SGD.construct)


class FlatOptimizer(nn.Optimizer):
    """Base of the optimizers that are written with operators: the rule sees the parameters of a group as one vector, or
    as several, see `LONGEST`."""

    def __init__(self, rate, groups: List[dict], betas: Sequence[float] = ()):
        groups = [{**group, "params": part} for group in groups for part in _in_parts(group["params"])]
        super().__init__(rate, groups)
        self.betas = tuple(betas)
        self.logs = tuple(math.log(max(beta, 1e-30)) for beta in betas)
        # The base class puts the parameters in the order of the groups.
        ends = np.cumsum([len(group["params"]) for group in groups]).tolist()
        self.bounds = tuple(zip([0] + ends[:-1], ends))
        flats = [Group(self._parameters[start:end]) for start, end in self.bounds]
        # A prefix would rename the parameters of the network.
        self.flats = nn.CellList(flats, auto_prefix=False)
        self.decays = tuple(group["weight_decay"] for group in groups)
        self.switched = tuple(getattr(group.get("lr"), "switch", None) is not None for group in groups)

    def state(self, name: str, start: float = 0.0) -> ParameterTuple:
        """Vectors 'name.0', 'name.1' ... with a number for each that the parameters of group 0, 1 ... hold."""
        return ParameterTuple([
            Parameter(Tensor(np.full(flat.length, start, np.float32)), name=f"{name}.{index}", requires_grad=False)
            for index, flat in enumerate(self.flats)])

    def construct(self, gradients, factor: Optional[Tensor] = None):
        """Update; where there is a `factor` all gradients are multiplied by it."""
        rates = self.rates()
        self.assignadd(self.global_step, self.global_step_increase_tensor)
        shared, done = self.shared(), ()
        for index in range(len(self.bounds)):
            start, end = self.bounds[index]
            gradient = self.flats[index].flat(gradients[start:end])
            if factor is not None:
                gradient = gradient * factor
            done += (self.update(index, rates[index], shared, gradient),)
        return done

    def rates(self) -> tuple:
        """The learning rate of every group."""
        if not self.is_group_lr:
            return (self.learning_rate(self.global_step).reshape(()),) * len(self.bounds)
        rates = ()
        for start, _ in self.bounds:
            rates += (self.learning_rate[start](self.global_step).reshape(()),)
        return rates

    def shared(self):
        """What all groups need at this update, which `global_step` counts already."""
        return ()

    def corrections(self) -> tuple:
        """1 - beta ** t for both betas at update t; by expm1, since float32 cannot tell 0.999 ** 1 from 1 well."""
        step = self.global_step.astype(ms.float32).reshape(())
        return -ops.expm1(step * self.logs[0]), -ops.expm1(step * self.logs[1])

    def update(self, index: int, rate: Tensor, shared, gradient: Tensor):
        """Change the parameters and the state of a group; its gradient is one vector."""
        raise NotImplementedError


class RMSProp(FlatOptimizer):
    """RMSProp as TensorFlow has it: epsilon inside the root, the mean square starts at 1, the rate inside the momentum.

    g <- g + decay p, v <- rho v + (1 - rho) g g, m <- momentum m + rate g / sqrt(v + eps), p <- p - m.
    """

    def __init__(self, groups: List[dict], rate, rho: float = 0.9, momentum: float = 0.9, eps: float = 1e-3):
        super().__init__(rate, groups)
        self.rho, self.momentum, self.eps = rho, momentum, eps
        self.squares, self.moments = self.state("mean_square", 1.0), self.state("moment")

    def update(self, index: int, rate: Tensor, shared, gradient: Tensor):
        if self.decays[index] > 0:
            gradient = gradient + self.decays[index] * self.flats[index].weights()
        mean = self.rho * self.squares[index] + (1.0 - self.rho) * gradient * gradient
        move = self.momentum * self.moments[index] + rate * gradient / ops.sqrt(mean + self.eps)
        move = ops.depend(move, (ops.assign(self.squares[index], mean), ops.assign(self.moments[index], move)))
        if self.switched[index]:
            # The rate is inside the momentum, which goes on for a while without it.
            move = move * self.learning_rate[self.bounds[index][0]].switch
        return self.flats[index].subtract(move)


class Adaptive(FlatOptimizer):
    """Base of AdamW and LAMB, which share the corrected means of the gradient and of its square."""

    def __init__(self, groups: List[dict], rate, betas: Sequence[float], eps: float):
        super().__init__(rate, groups, betas)
        self.eps = eps
        self.moments1, self.moments2 = self.state("moment1"), self.state("moment2")

    def shared(self):
        return self.corrections()

    def direction(self, index: int, shared, gradient: Tensor) -> Tensor:
        """m' / (sqrt(v') + eps) after this gradient, m' and v' being the corrected means."""
        first = self.betas[0] * self.moments1[index] + (1.0 - self.betas[0]) * gradient
        second = self.betas[1] * self.moments2[index] + (1.0 - self.betas[1]) * gradient * gradient
        direction = first / shared[0] / (ops.sqrt(second / shared[1]) + self.eps)
        return ops.depend(direction, (ops.assign(self.moments1[index], first),
                                      ops.assign(self.moments2[index], second)))


class AdamW(Adaptive):
    """Adam with decoupled weight decay and bias correction (arXiv 1711.05101, algorithm 2), PyTorch's form.

    p <- (1 - rate decay) p - rate m' / (sqrt(v') + eps), where m' and v' are the corrected means.
    """

    def __init__(self, groups: List[dict], rate, betas: Sequence[float] = (0.9, 0.999), eps: float = 1e-8):
        super().__init__(groups, rate, betas, eps)

    def update(self, index: int, rate: Tensor, shared, gradient: Tensor):
        move = self.direction(index, shared, gradient)
        if self.decays[index] > 0:
            move = move + self.decays[index] * self.flats[index].weights()
        return self.flats[index].subtract(rate * move)


class Lamb(Adaptive):
    """Layer-wise adaptive moments (arXiv 1904.00962, algorithm 2).

    r = m' / (sqrt(v') + eps) + decay p with the corrected means, p <- p - rate (|p| / |r|) r. The ratio of norms is 1
    where either norm is 0, and for parameters that do not decay, as in the implementations that the recipes used.
    """

    def __init__(self, groups: List[dict], rate, betas: Sequence[float] = (0.9, 0.999), eps: float = 1e-6):
        super().__init__(groups, rate, betas, eps)

    def update(self, index: int, rate: Tensor, shared, gradient: Tensor):
        move, group = self.direction(index, shared, gradient), self.flats[index]
        if self.decays[index] == 0:
            return group.subtract(rate * move)
        weights = group.weights()
        move = move + self.decays[index] * weights
        weight, length = ops.sqrt(group.square_lengths(ops.stack((weights, move))))
        ratio = weight / ops.maximum(length, 1e-30)
        ratio = ops.select(ops.logical_and(weight > 0, length > 0), ratio, ops.ones_like(ratio))
        return group.subtract_scaled(move, rate * ratio)


class Lion(FlatOptimizer):
    """EvoLved Sign Momentum (arXiv 2302.06675, algorithm 2).

    p <- p - rate (sign(beta1 m + (1 - beta1) g) + decay p), then m <- beta2 m + (1 - beta2) g.
    """

    def __init__(self, groups: List[dict], rate, betas: Sequence[float] = (0.9, 0.99)):
        super().__init__(rate, groups, betas)
        self.moments = self.state("moment")

    def update(self, index: int, rate: Tensor, shared, gradient: Tensor):
        moment = self.moments[index]
        move = ops.sign(self.betas[0] * moment + (1.0 - self.betas[0]) * gradient)
        if self.decays[index] > 0:
            move = move + self.decays[index] * self.flats[index].weights()
        mean = self.betas[1] * moment + (1.0 - self.betas[1]) * gradient
        return self.flats[index].subtract(ops.depend(rate * move, ops.assign(moment, mean)))


def _key(group: dict) -> tuple:
    return group["factor"], id(group["switch"])


def create_optimizer(net: nn.Cell, config: OptimizerConfig, rates: Sequence[float],
                     extra: Optional[Sequence[Parameter]] = None) -> nn.Optimizer:
    """The optimizer of a recipe over the network's parameter groups.

    Args:
        rates: the learning rate of every update.
        extra: trainable parameters beside those of the network.

    Raises:
        ValueError: see `parameter_groups`.
    """
    groups = parameter_groups(net, config, extra or ())
    table = RateTable(rates)
    if any(group["factor"] != 1 or group["switch"] is not None for group in groups):
        tables = {_key(group): RateTable(rates, group["factor"], group["switch"]) for group in groups}
        groups = [{**group, "lr": tables[_key(group)]} for group in groups]
    groups = [{key: value for key, value in group.items() if key not in ("factor", "switch")} for group in groups]
    betas = {"betas": config.betas} if config.betas is not None else {}
    eps = config.eps or EPSILON.get(config.name)
    if config.name == "sgd":
        return Sgd(groups, table, config.momentum, nesterov=config.nesterov)
    if config.name == "rmsprop":
        return RMSProp(groups, table, config.rms_decay, config.momentum, eps)
    if config.name == "adamw":
        return AdamW(groups, table, eps=eps, **betas)
    if config.name == "lamb":
        return Lamb(groups, table, eps=eps, **betas)
    return Lion(groups, table, **betas)
