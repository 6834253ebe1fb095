"""Optimizers: MindSpore's own where they are exactly the published rule, and what it lacks.

`nn.SGD` equals PyTorch's. The CPU kernel of `nn.RMSProp` takes roots to five digits only, `nn.AdamWeightDecay` has no
bias correction, `nn.Lamb` no CPU kernel, and Lion does not exist: these are written here with common operators.
"""
import math
from typing import List, Optional, Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.nn.learning_rate_schedule import LearningRateSchedule

from ghost_ms.recipe import OptimizerConfig
from ghost_ms.training.groups import parameter_groups

EPSILON = {"adamw": 1e-8, "lamb": 1e-6, "rmsprop": 1e-3}


class RateTable(LearningRateSchedule):
    """One learning rate an update, times a factor; past the end the last one. No part of the step's state."""

    def __init__(self, rates: Sequence[float], factor: float = 1.0):
        super().__init__()
        self.rates = Tensor(np.asarray(rates, np.float64) * factor, ms.float32)
        self.last = Tensor([len(rates) - 1], ms.int32)

    def construct(self, global_step: Tensor) -> Tensor:
        return ops.gather(self.rates, ops.minimum(global_step, self.last), 0)


_rmsprop, _adamw, _lamb, _lion = (ops.MultitypeFuncGraph(name) for name in ("rmsprop", "adamw", "lamb", "lion"))


class OperatorOptimizer(nn.Optimizer):
    """Base of the optimizers that are written with operators.

    The rule of one parameter is mapped over all: a loop in `construct` over hundreds of them compiles in minutes.
    """

    def __init__(self, rate, groups: List[dict], betas: Sequence[float] = ()):
        super().__init__(rate, groups)
        self.betas = tuple(betas)
        self.logs = tuple(math.log(max(beta, 1e-30)) for beta in betas)
        self.decays = tuple(self.group_weight_decay)

    def rates(self) -> tuple:
        """The learning rate of every parameter; the update counts from now on."""
        rates = self.get_lr()
        self.assignadd(self.global_step, self.global_step_increase_tensor)
        return rates if self.is_group_lr else (rates,) * self.param_length

    def corrections(self) -> tuple:
        """1 - beta ** t for both betas at update t; by expm1, since float32 cannot tell 0.999 ** 1 from 1 well."""
        step = self.global_step.astype(ms.float32).reshape(())
        return -ops.expm1(step * self.logs[0]), -ops.expm1(step * self.logs[1])


@_rmsprop.register("Number", "Number", "Number", "Tensor", "Number", "Tensor", "Tensor", "Tensor", "Tensor")
def _rmsprop_update(rho, momentum, eps, rate, decay, parameter, square, moment, gradient):
    if decay > 0:
        gradient = gradient + decay * parameter
    mean = rho * square + (1.0 - rho) * gradient * gradient
    move = momentum * moment + rate * gradient / ops.sqrt(mean + eps)
    move = ops.depend(move, (ops.assign(square, mean), ops.assign(moment, move)))
    return ops.assign(parameter, parameter - move)


class RMSProp(OperatorOptimizer):
    """RMSProp as TensorFlow has it: epsilon inside the root, the mean square starts at 1, the rate inside the momentum.

    g <- g + decay p, v <- rho v + (1 - rho) g g, m <- momentum m + rate g / sqrt(v + eps), p <- p - m.
    """

    def __init__(self, groups: List[dict], rate, rho: float = 0.9, momentum: float = 0.9, eps: float = 1e-3):
        super().__init__(rate, groups)
        self.rho, self.momentum, self.eps = rho, momentum, eps
        self.squares = self._parameters.clone("mean_square", init="ones")
        self.moments = self._parameters.clone("moment", init="zeros")

    def construct(self, gradients):
        rule = ops.partial(_rmsprop, self.rho, self.momentum, self.eps)
        return self.hyper_map(rule, self.rates(), self.decays, self._parameters, self.squares, self.moments, gradients)


@_adamw.register("Function", "Number", "Number", "Tensor", "Tensor", "Tensor", "Tensor", "Number", "Tensor", "Tensor",
                 "Tensor", "Tensor")
def _adamw_update(adam, beta1, beta2, scale, eps, zero, rate, decay, parameter, first, second, gradient):
    if decay > 0:
        gradient = ops.depend(gradient, ops.assign(parameter, parameter * (1.0 - rate * decay)))
    return adam(parameter, first, second, zero, zero, rate * scale, beta1, beta2, eps, gradient)


class AdamW(OperatorOptimizer):
    """Adam with decoupled weight decay and bias correction (arXiv 1711.05101, algorithm 2), PyTorch's form.

    p <- (1 - rate decay) p - rate m' / (sqrt(v') + eps), where m' and v' are the corrected means. The kernel's own
    correction is off (powers of beta 0): it would place eps before the correction of v.
    """

    def __init__(self, groups: List[dict], rate, betas: Sequence[float] = (0.9, 0.999), eps: float = 1e-8):
        super().__init__(rate, groups, betas)
        self.eps = eps
        self.moments1 = self._parameters.clone("moment1", init="zeros")
        self.moments2 = self._parameters.clone("moment2", init="zeros")
        self.adam, self.zero = ops.Adam(), Tensor(0.0, ms.float32)

    def construct(self, gradients):
        rates = self.rates()
        first, second = self.corrections()
        root = ops.sqrt(second)
        rule = ops.partial(_adamw, self.adam, self.betas[0], self.betas[1], root / first, root * self.eps, self.zero)
        return self.hyper_map(rule, rates, self.decays, self._parameters, self.moments1, self.moments2, gradients)


@_lamb.register("Number", "Number", "Number", "Tensor", "Tensor", "Tensor", "Number", "Tensor", "Tensor", "Tensor",
                "Tensor")
def _lamb_update(beta1, beta2, eps, correction1, correction2, rate, decay, parameter, moment1, moment2, gradient):
    first = beta1 * moment1 + (1.0 - beta1) * gradient
    second = beta2 * moment2 + (1.0 - beta2) * gradient * gradient
    move = first / correction1 / (ops.sqrt(second / correction2) + eps)
    if decay > 0:
        move = move + decay * parameter
        weight, length = ops.sqrt((parameter * parameter).sum()), ops.sqrt((move * move).sum())
        ratio = weight / ops.maximum(length, 1e-30)
        rate = rate * ops.select(ops.logical_and(weight > 0, length > 0), ratio, ops.ones_like(ratio))
    move = ops.depend(rate * move, (ops.assign(moment1, first), ops.assign(moment2, second)))
    return ops.assign(parameter, parameter - move)


class Lamb(OperatorOptimizer):
    """Layer-wise adaptive moments (arXiv 1904.00962, algorithm 2).

    r = m' / (sqrt(v') + eps) + decay p with the corrected means, p <- p - rate (|p| / |r|) r. The ratio of norms is 1
    where either norm is 0, and for parameters that do not decay, as in the implementations that the recipes used.
    """

    def __init__(self, groups: List[dict], rate, betas: Sequence[float] = (0.9, 0.999), eps: float = 1e-6):
        super().__init__(rate, groups, betas)
        self.eps = eps
        self.moments1 = self._parameters.clone("moment1", init="zeros")
        self.moments2 = self._parameters.clone("moment2", init="zeros")

    def construct(self, gradients):
        rates = self.rates()
        first, second = self.corrections()
        rule = ops.partial(_lamb, self.betas[0], self.betas[1], self.eps, first, second)
        return self.hyper_map(rule, rates, self.decays, self._parameters, self.moments1, self.moments2, gradients)


@_lion.register("Number", "Number", "Tensor", "Number", "Tensor", "Tensor", "Tensor")
def _lion_update(beta1, beta2, rate, decay, parameter, moment, gradient):
    move = ops.sign(beta1 * moment + (1.0 - beta1) * gradient)
    if decay > 0:
        move = move + decay * parameter
    mean = beta2 * moment + (1.0 - beta2) * gradient
    move = ops.depend(rate * move, ops.assign(moment, mean))
    return ops.assign(parameter, parameter - move)


class Lion(OperatorOptimizer):
    """EvoLved Sign Momentum (arXiv 2302.06675, algorithm 2).

    p <- p - rate (sign(beta1 m + (1 - beta1) g) + decay p), then m <- beta2 m + (1 - beta2) g.
    """

    def __init__(self, groups: List[dict], rate, betas: Sequence[float] = (0.9, 0.99)):
        super().__init__(rate, groups, betas)
        self.moments = self._parameters.clone("moment", init="zeros")

    def construct(self, gradients):
        rule = ops.partial(_lion, self.betas[0], self.betas[1])
        return self.hyper_map(rule, self.rates(), self.decays, self._parameters, self.moments, gradients)


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
    if any(group["factor"] != 1 for group in groups):
        tables = {group["factor"]: RateTable(rates, group["factor"]) for group in groups}
        groups = [{**group, "lr": tables[group["factor"]]} for group in groups]
    groups = [{key: value for key, value in group.items() if key != "factor"} for group in groups]
    betas = {"betas": config.betas} if config.betas is not None else {}
    eps = config.eps or EPSILON.get(config.name)
    if config.name == "sgd":
        return nn.SGD(groups, table, config.momentum, nesterov=config.nesterov)
    if config.name == "rmsprop":
        return RMSProp(groups, table, config.rms_decay, config.momentum, eps)
    if config.name == "adamw":
        return AdamW(groups, table, eps=eps, **betas)
    if config.name == "lamb":
        return Lamb(groups, table, eps=eps, **betas)
    return Lion(groups, table, **betas)
