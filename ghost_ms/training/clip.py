"""Limits on gradients: value, global norm, and norm relative to the weights."""
from typing import Optional, Sequence

from mindspore import Parameter, Tensor, nn, ops

from ghost_ms.recipe import OptimizerConfig


class ClipNorm(nn.Cell):
    """Scale all gradients alike, so that their norm taken together is at most `limit` (arXiv 1211.5063)."""

    def __init__(self, limit: float):
        super().__init__()
        self.limit = limit

    def construct(self, gradients):
        return ops.clip_by_global_norm(gradients, self.limit)


class ClipValue(nn.Cell):
    """Cut every entry at `limit` and at -`limit`."""

    def __init__(self, limit: float):
        super().__init__()
        self.limit = limit

    def construct(self, gradients):
        cut = ()
        for gradient in gradients:
            cut = cut + (ops.clamp(gradient, -self.limit, self.limit),)
        return cut


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
        self.limit, self.parameters = limit, parameters
        self.spared = tuple(parameter.name in spared for parameter in parameters)

    def construct(self, gradients):
        clipped = ()
        for index in range(len(self.spared)):
            gradient = gradients[index]
            if not self.spared[index]:
                largest = self.limit * ops.clamp(self.norm(self.parameters[index]), 1e-3, None)
                norm = ops.clamp(self.norm(gradient), 1e-6, None)
                gradient = gradient * ops.minimum(largest / norm, ops.ones_like(norm))
            clipped = clipped + (gradient,)
        return clipped

    @staticmethod
    def norm(x: Tensor) -> Tensor:
        """Norm of each row, with the axes that it sums over kept as 1; of a vector or a scalar as a whole."""
        if x.ndim <= 1:
            return ops.sqrt((x * x).sum())
        return ops.sqrt((x * x).sum(tuple(range(1, x.ndim)), keepdims=True))


def create_clip(config: OptimizerConfig, parameters: Sequence[Parameter],
                classifier: Sequence[str]) -> Optional[nn.Cell]:
    """The limit of a recipe, or None; `classifier` names what adaptive clipping spares."""
    if config.clip_norm:
        return ClipNorm(config.clip_norm)
    if config.clip_value:
        return ClipValue(config.clip_value)
    return AdaptiveClip(parameters, config.clip_agc, classifier) if config.clip_agc else None
