"""Leaky integrate-and-fire neurons over the positions of a map (SNN-MLP)."""
from typing import Tuple

import numpy as np
from mindspore import Parameter, Tensor, nn, ops


class LeakyIntegrateFire(nn.Cell):
    """LIF neurons along one axis of (B, C, H, W) (SNN-MLP, arXiv 2203.14679); the shape stays.

    The axis is cut into groups of `length` positions. Within a group, from a membrane potential o = 0:
    u = tau * o + x; a neuron with u > Vth fires, gives u and forgets (o = 0); a quiet one gives Vth and keeps o = u.
    Positions that fill no group pass through unchanged. The gradient is that of the two selections; the comparison
    itself has none (no surrogate).

    Args:
        axis: 2 (vertical) or 3 (horizontal).
        length: positions of a group.
        tau, threshold: initial values of the learnable scalars `tau` and `Vth`, shape (1,).
    """

    def __init__(self, axis: int, length: int = 4, tau: float = 0.25, threshold: float = 0.1):
        super().__init__()
        if axis not in (2, 3):
            raise ValueError(f"LIF neurons run along axis 2 or 3 of (B, C, H, W), not along axis {axis}")
        self.horizontal = axis == 3
        self.length = length
        self.tau = Parameter(np.array([tau], np.float32), name="tau")
        self.Vth = Parameter(np.array([threshold], np.float32), name="Vth")

    def construct(self, x: Tensor) -> Tensor:
        # Cutting the innermost axis into single positions is slow, so horizontal neurons see the transposed map.
        if self.horizontal:
            return self._vertical(x.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
        return self._vertical(x)

    def _vertical(self, x: Tensor) -> Tensor:
        channels, height, width = x.shape[1:]
        rest = height % self.length
        if rest == 0:
            return self._groups(x, channels, height, width)
        if rest == height:
            return x
        spiking = self._groups(x[:, :, :height - rest], channels, height - rest, width)
        return ops.cat((spiking, x[:, :, height - rest:]), 2)

    def _groups(self, x: Tensor, channels: int, height: int, width: int) -> Tensor:
        steps = ops.split(x.reshape(-1, self.length, width), 1, 1)
        output, kept = self._fire(steps[0])
        outputs = [output]
        for step in steps[1:]:
            output, kept = self._fire(self.tau * kept + step)
            outputs.append(output)
        return ops.cat(outputs, 1).reshape(-1, channels, height, width)

    def _fire(self, potential: Tensor) -> Tuple[Tensor, Tensor]:
        """Outputs, and the potentials that are kept."""
        # Products with 0 and 1 instead of selections: same values and gradients, at a third of the time on CPU.
        quiet = 1 - ops.stop_gradient(potential > self.Vth).astype(potential.dtype)
        kept = potential * quiet
        return potential - kept + self.Vth * quiet, kept
