"""Lego filters: convolutions assembled of few small filters that all splits of the input share."""
import math
from typing import Optional

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeNormal, Normal, initializer


class _LegoMaps(nn.Cell):
    """What both forms share: every split of the input channels convolved with the same Lego filters."""

    def __init__(self, in_channels: int, out_channels: int, legos: int, kernel_size: int, splits: int):
        super().__init__()
        if in_channels % splits:
            raise ValueError(f"{in_channels} input channels cannot be cut into {splits} equal splits")
        self.in_channels, self.out_channels, self.legos = in_channels, out_channels, legos
        self.kernel_size, self.splits, self.split_channels = kernel_size, splits, in_channels // splits
        self.lego = Parameter(initializer(HeNormal(), (legos, self.split_channels, kernel_size, kernel_size)))
        # A kernel size given as one number does not export to ONNX.
        self.convolve = ops.Conv2D(legos, (kernel_size, kernel_size), pad_mode="pad", pad=kernel_size // 2)

    def lego_maps(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, splits * legos, H, W); the splits ride in the batch, so nothing is sliced."""
        height, width = x.shape[2:]
        maps = self.convolve(x.reshape((-1, self.split_channels, height, width)), self.lego)
        return maps.reshape((-1, self.splits * self.legos, height, width))


class LegoConv2d(_LegoMaps):
    """Convolution of Lego filters (LegoNet, ICML 2019, section 3): (B, in_channels, H, W) -> (B, out_channels, H, W).

    For each split an output channel takes one Lego map, that of the largest entry of `aux_combination`, times its
    entry of `aux_coefficients`; the splits are summed. The gradient that reaches the one-hot choice passes to
    `aux_combination` unchanged (straight-through, equation 6), times `choice_switch` where a network sets one.

    Args:
        kernel_size: odd.
        splits: o in the paper.
        lego_ratio: Lego filters for each output channel.
    """

    #: float32 scalar, 1 while the choice is trained and 0 afterwards; None where it always is.
    choice_switch: Optional[Parameter] = None

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, splits: int = 2,
                 lego_ratio: float = 0.5):
        super().__init__(in_channels, out_channels, int(out_channels * lego_ratio), kernel_size, splits)
        shape = (splits, out_channels, self.legos, 1, 1)
        # The released code's He initialisation of these five-dimensional tables counts out * legos as inputs.
        deviation = math.sqrt(2 / (out_channels * self.legos))
        self.aux_coefficients = Parameter(initializer(Normal(deviation), shape))
        self.aux_combination = Parameter(initializer(Normal(deviation), shape))
        # Falling, so that the largest rank is the first position; argmax and ReduceMin do not export.
        self.ranks = Tensor(np.arange(self.legos, 0, -1, dtype=np.float32).reshape((1, 1, -1, 1, 1)))
        self.largest = ops.ReduceMax(keep_dims=True)
        self.combine = ops.Conv2D(out_channels, (1, 1))

    def choice(self) -> Tensor:
        """One-hot (splits, out_channels, legos, 1, 1) of the largest entries (the first, where entries are equal)."""
        table = ops.stop_gradient(self.aux_combination)
        ranks = (table == self.largest(table, 2)).astype(table.dtype) * self.ranks
        hard = (ranks == self.largest(ranks, 2)).astype(table.dtype)
        # The difference is exactly zero, so the values stay 0 and 1 and the gradient is that of the table.
        through = self.aux_combination - table
        if self.choice_switch is not None:
            through = through * self.choice_switch.astype(table.dtype)
        return hard + through

    def balance_loss(self) -> Tensor:
        """Half the squared excess of uses over ceil(mean), or lack below floor(mean), summed over the Lego filters.

        Its gradient on `aux_combination` is the excess itself: what the released code adds, times its balance
        weight of 1e-4, to push the choice away from filters that are used too often (section 3.3).
        """
        uses = self.choice().sum((0, 1))
        mean = self.splits * self.out_channels / self.legos
        excess = ops.relu(uses - math.ceil(mean)) - ops.relu(math.floor(mean) - uses)
        return 0.5 * (excess * excess).sum()

    def construct(self, x: Tensor) -> Tensor:
        kernel = (self.aux_coefficients * self.choice()).transpose((1, 0, 2, 3, 4))
        return self.combine(self.lego_maps(x), kernel.reshape((self.out_channels, self.splits * self.legos, 1, 1)))

    def sparse(self) -> "SparseLegoConv2d":
        """A cell that computes the same with the choice fixed."""
        return SparseLegoConv2d(self)


class SparseLegoConv2d(_LegoMaps):
    """A Lego convolution whose choice is fixed: an index and a coefficient for each split and output channel.

    This is the form whose size the paper counts. The index is no trainable parameter but is saved with them.
    """

    def __init__(self, trained: LegoConv2d):
        super().__init__(trained.in_channels, trained.out_channels, trained.legos, trained.kernel_size, trained.splits)
        self.lego.set_data(trained.lego.value())
        table, coefficients = (p.asnumpy()[..., 0, 0] for p in (trained.aux_combination, trained.aux_coefficients))
        chosen = table.argmax(2)
        offsets = np.arange(self.splits)[:, None] * self.legos
        self.index = Parameter(Tensor((chosen + offsets).reshape(-1), ms.int32), requires_grad=False)
        self.coefficients = Parameter(Tensor(
            np.take_along_axis(coefficients, chosen[..., None], 2).reshape((1, self.splits, self.out_channels, 1, 1))))
        self.bias = None

    def absorb_affine(self, scale: np.ndarray, shift: np.ndarray) -> "SparseLegoConv2d":
        """Multiply the outputs by `scale` and add `shift` from now on, both (out_channels,)."""
        coefficients = self.coefficients.asnumpy() * scale[:, None, None]
        self.coefficients.set_data(Tensor(coefficients, ms.float32))
        before = 0 if self.bias is None else self.bias.asnumpy() * scale
        self.bias = Parameter(Tensor(before + shift, ms.float32))
        return self

    def construct(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        taken = ops.gather(self.lego_maps(x), self.index, 1)
        taken = taken.reshape((-1, self.splits, self.out_channels, height, width))
        maps = (taken * self.coefficients).sum(1)
        return maps if self.bias is None else ops.bias_add(maps, self.bias)
