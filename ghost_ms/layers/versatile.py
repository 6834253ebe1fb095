"""Versatile filters: several receptive fields, and several channel windows, of each stored filter."""
from typing import List, Optional, Sequence, Tuple

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import initializer

from ghost_ms.layers.conv import conv2d
from ghost_ms.layers.initialize import kaiming_fan_out


class VConv2d(nn.Cell):
    """Versatile convolution (NeurIPS 2018, equations 4 and 6): (B, in, H, W) -> (B, out, H / stride, W / stride).

    A stored k x k filter is used at the sizes k, k - 2, ... down to 1 or 2 about its centre, and each size on the
    channel windows that start at 0, g, ..., delta and leave out delta channels. The maps are ordered by size, then
    window, then filter; the bias has an entry for each.

    Args:
        kernel_size, stride, padding: as of a convolution; the padding keeps the size at stride 1 by default.
        bias: whether each output has one.
        delta, g: channels that a window leaves out, and the step from window to window; delta 0 has one window.

    Raises:
        ValueError: the outputs do not divide among sizes and windows, or delta is no multiple of g.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1,
                 padding: Optional[int] = None, bias: bool = True, delta: int = 0, g: int = 1):
        super().__init__()
        sizes, padding = (kernel_size + 1) // 2, (kernel_size - 1) // 2 if padding is None else padding
        if delta % g or not 0 <= delta < in_channels:
            raise ValueError(f"delta must be a multiple of g = {g} below {in_channels} input channels, not {delta}")
        uses = sizes * (delta // g + 1)
        if out_channels % uses:
            raise ValueError(f"{out_channels} outputs do not divide among {uses} uses of each filter")
        self.in_channels, self.out_channels, self.delta = in_channels, out_channels, delta
        self.stride, self.padding = stride, padding
        self.starts = tuple(range(0, delta + 1, g))
        # Where the padding cannot shrink with the kernel, the border of the input that it no longer reaches is cut.
        self.crops = tuple(max(0, trim - padding) for trim in range(sizes))
        self.weight = Parameter(initializer("zeros", (out_channels // uses, in_channels, kernel_size, kernel_size)))
        kaiming_fan_out(self.weight)
        self.bias = Parameter(initializer("zeros", (out_channels,))) if bias else None
        # A kernel size given as one number does not export to ONNX.
        self.convolutions = [
            ops.Conv2D(out_channels // uses, (kernel_size - 2 * trim,) * 2, pad_mode="pad",
                       pad=max(0, padding - trim), stride=stride) for trim in range(sizes)]

    def construct(self, x: Tensor) -> Tensor:
        weight = self.weight[:, :self.in_channels - self.delta] if self.delta else self.weight
        maps = []
        for trim, convolution in enumerate(self.convolutions):
            kernel, cut = _trim(weight, trim), _trim(x, self.crops[trim])
            for start in self.starts:
                window = cut[:, start:start + self.in_channels - self.delta] if self.delta else cut
                maps.append(convolution(window, kernel))
        y = ops.cat(maps, 1)
        return y if self.bias is None else ops.bias_add(y, self.bias)

    def absorb_affine(self, scale: np.ndarray, shift: np.ndarray) -> "UntiedVConv2d":
        """A cell that equals `scale * self(x) + shift`, both (out,), as a BatchNorm leaves behind.

        Each use of a filter is scaled by a factor of its own, so the uses share their weights no longer: a 3 x 3 filter
        becomes 9 + 1 numbers.
        """
        weight, bias = self.weight.asnumpy().astype(np.float64), np.array(shift, np.float64)
        if self.bias is not None:
            bias += scale * self.bias.asnumpy()
        weight, filters = weight[:, :self.in_channels - self.delta], len(weight)
        uses: List[nn.Conv2d] = []
        places: List[Tuple[int, int]] = []
        for trim, crop in enumerate(self.crops):
            for start in self.starts:
                outputs = slice(len(uses) * filters, (len(uses) + 1) * filters)
                kernel = scale[outputs, None, None, None] * _trim(weight, trim)
                conv = conv2d(weight.shape[1], filters, kernel.shape[2:], self.stride, bias=True,
                              padding=max(0, self.padding - trim))
                conv.weight.set_data(Tensor(kernel, ms.float32))
                conv.bias.set_data(Tensor(bias[outputs], ms.float32))
                uses.append(conv)
                places.append((crop, start))
        return UntiedVConv2d(uses, places, self.delta).set_train(self.training)


class UntiedVConv2d(nn.Cell):
    """A `VConv2d` whose uses are convolutions with weights of their own; `VConv2d.absorb_affine` makes it.

    Args:
        uses: in the order of their maps.
        places: of each, what is cut from the border of the input, and the first channel of its window.
        delta: channels that a window leaves out.
    """

    def __init__(self, uses: Sequence[nn.Conv2d], places: Sequence[Tuple[int, int]], delta: int):
        super().__init__()
        self.uses, self.places, self.delta = nn.CellList(uses), tuple(places), delta

    def construct(self, x: Tensor) -> Tensor:
        maps = []
        for index, convolution in enumerate(self.uses):
            crop, start = self.places[index]
            window = _trim(x, crop)
            if self.delta:
                window = window[:, start:start + x.shape[1] - self.delta]
            maps.append(convolution(window))
        return ops.cat(maps, 1)


def _trim(x: Tensor, border: int) -> Tensor:
    """(.., .., H, W) without `border` rows and columns on every side; untouched, not sliced, where that is 0."""
    return x[:, :, border:x.shape[2] - border, border:x.shape[3] - border] if border else x
