"""Limits on gradients: value, global norm, and norm relative to the weights."""
from typing import Optional, Sequence

from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from ghost_ms.config import OptimizerConfig
from ghost_ms.training.flat import as_vector

# A loop in `construct` over hundreds of gradients compiles in minutes; a map over them in seconds.
_cut, _adapt, _scale = (ops.MultitypeFuncGraph(name) for name in ("cut", "adapt", "scale"))
_multiply = ops.Mul()


def _norm(x: Tensor) -> Tensor:
    """Norm of each row, with the axes that it sums over kept as 1; of a vector or a scalar as a whole."""
    if x.ndim <= 1:
        return ops.sqrt((x * x).sum())
    return ops.sqrt((x * x).sum(tuple(range(1, x.ndim)), keepdims=True))


@_cut.register("Number", "Tensor")
def _cut_gradient(limit, gradient):
    return ops.clamp(gradient, -limit, limit)


@_scale.register("Tensor", "Tensor")
def _scale_gradient(factor, gradient):
    return _multiply(gradient, factor)


@_adapt.register("Number", "Bool", "Tensor", "Tensor")
def _adapt_gradient(limit, spared, parameter, gradient):
    if spared:
        return gradient
    norm = ops.clamp(_norm(gradient), 1e-6, None)
    return gradient * ops.minimum(limit * ops.clamp(_norm(parameter), 1e-3, None) / norm, ops.ones_like(norm))


class ClipNorm(nn.Cell):
    """Scale all gradients alike, so that their norm taken together is at most `limit` (arXiv 1211.5063)."""

    def __init__(self, limit: float):
        super().__init__()
        self.limit, self.map, self.concat = limit, ops.HyperMap(), ops.Concat(0)

    def factor(self, gradients) -> Tensor:
        """What to multiply every gradient by."""
        return self.limit / ops.clamp(_norm(self.concat(self.map(as_vector, gradients))), self.limit, None)

    def construct(self, gradients):
        return self.map(ops.partial(_scale, self.factor(gradients)), gradients)


class ClipValue(nn.Cell):
    """Cut every entry at `limit` and at -`limit`."""

    def __init__(self, limit: float):
        super().__init__()
        self.limit, self.map = limit, ops.HyperMap()

    def construct(self, gradients):
        return self.map(ops.partial(_cut, self.limit), gradients)


class AdaptiveClip(nn.Cell):
    """Adaptive gradient clipping (arXiv 2102.06171, equation 3).

    The gradient of a unit (a row of a weight, or a whole vector) is scaled down to `limit` times the norm of its
    weights, which counts as 1e-3 at least. The classifier is spared.

    Args:
        parameters: that the gradients belong to, in their order.
        spared: names of parameters that are not clipped.
    """

    def __init__(self, parameters: Sequence[Parameter], limit: float, spared: Sequence[str] = ()):
        super().__init__(auto_prefix=False)
        self.limit, self.parameters, self.map = limit, ParameterTuple(parameters), ops.HyperMap()
        self.spared = tuple(parameter.name in spared for parameter in parameters)

    def construct(self, gradients):
        return self.map(ops.partial(_adapt, self.limit), self.spared, self.parameters, gradients)


def create_clip(config: OptimizerConfig, parameters: Sequence[Parameter],
                classifier: Sequence[str]) -> Optional[nn.Cell]:
    """The limit of a recipe, or None; `classifier` names what adaptive clipping spares."""
    if config.clip_norm:
        return ClipNorm(config.clip_norm)
    if config.clip_value:
        return ClipValue(config.clip_value)
    return AdaptiveClip(parameters, config.clip_agc, classifier) if config.clip_agc else None
