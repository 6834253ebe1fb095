"""Random masks that a resumed run draws again: a function of the step's number, not of a state inside a kernel.

`nn.Dropout` keeps its random state in its kernel, where nothing can read or set it. Here each element's number, the
step's number and the layer's salt are hashed (an integer mixer with two multiplications), with the same bits on every
device that has 32-bit unsigned arithmetic.
"""
import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.ops import constexpr

from ghost_ms.layers.reparam import replace_cell


@constexpr
def _numbers(size: int, salt: int) -> Tensor:
    """One number per element, uint32 (size,), other ones for another salt."""
    numbers = np.arange(size, dtype=np.uint64) * 2654435769 + salt * 2246822519
    return Tensor((numbers & 0xFFFFFFFF).astype(np.uint32))


class StepDropout(nn.Cell):
    """Dropout whose mask depends on (step, salt) alone.

    Args:
        rate: probability that an element is set to 0; the others are divided by 1 - rate.
        clock: int32 scalar, the number of the step; the step counts it up.
        salt: another one for every layer, seed and worker.
    """

    def __init__(self, rate: float, clock: Parameter, salt: int):
        super().__init__()
        self.rate, self.salt = rate, salt
        # Past the registration of Cell, which would make it a parameter of the network.
        object.__setattr__(self, "clock", clock)
        self.first, self.second, self.third = (Tensor(v, ms.uint32) for v in (0x9E3779B1, 0x21F0AAAD, 0x735A2D97))
        self.shift16, self.shift15, self.shift8 = (Tensor(v, ms.uint32) for v in (16, 15, 8))

    def uniform(self, size: int) -> Tensor:
        """float32 (size,) in [0, 1) with 24 random bits each."""
        x = _numbers(size, self.salt) + self.clock.astype(ms.uint32) * self.first
        x = ops.bitwise_xor(x, ops.bitwise_right_shift(x, self.shift16)) * self.second
        x = ops.bitwise_xor(x, ops.bitwise_right_shift(x, self.shift15)) * self.third
        x = ops.bitwise_xor(x, ops.bitwise_right_shift(x, self.shift15))
        return ops.bitwise_right_shift(x, self.shift8).astype(ms.int32).astype(ms.float32) * (1.0 / 16777216.0)

    def construct(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = (self.uniform(x.size) >= self.rate).astype(x.dtype).reshape(x.shape)
        return x * kept * (1.0 / (1.0 - self.rate))


def make_restorable(net: nn.Cell, clock: Parameter, seed: int) -> int:
    """Replace every `nn.Dropout(p=...)` below `net`, those of `DropPath` included, by a `StepDropout`; their number.

    Args:
        clock: see `StepDropout`.
        seed: of the masks; another one for every worker of a data-parallel run.
    """
    found = [(parent, key, cell) for _, parent in net.cells_and_names() for key, cell in parent.name_cells().items()
             if isinstance(cell, nn.Dropout) and cell.p]
    for index, (parent, key, cell) in enumerate(found):
        replace_cell(parent, key, StepDropout(cell.p, clock, seed * 1_000_003 + index + 1))
    return len(found)
