"""Structural re-parameterisation: branches that train better, folded into the one convolution that they equal.

A convolution followed by BatchNorm with fixed statistics is a convolution with bias; a BatchNorm alone is one whose
kernel is the identity; a small kernel is a large one with zeros around it; and convolutions that share input, stride
and padding add up kernel by kernel (RepVGG, arXiv 2101.03697, section 3.3; MobileOne, arXiv 2206.04040, section 3).
Here that arithmetic runs in float64 and is rounded once.

A cell takes part by having `fuse()`, which returns the cell that replaces it; `fuse_cells` does the rest.
"""
from typing import Iterable, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from mindspore import Tensor, nn

from ghost_ms.layers.conv import conv2d


class Branch(NamedTuple):
    """One summand: a convolution, with or without its BatchNorm, or a BatchNorm of the input alone."""

    conv: Optional[nn.Conv2d]
    bn: Optional[nn.BatchNorm2d] = None


def fold_batch_norm(conv: nn.Conv2d, bn: Optional[nn.BatchNorm2d]) -> Tuple[np.ndarray, np.ndarray]:
    """Float64 kernel (out, in / groups, h, w) and bias (out,) of a convolution and the BatchNorm behind it."""
    kernel = _float64(conv.weight)
    bias = _float64(conv.bias) if conv.has_bias else np.zeros(len(kernel))
    if bn is None:
        return kernel, bias
    scale, shift = affine_of(bn)
    return kernel * scale[:, None, None, None], bias * scale + shift


def fold_affine_ahead(conv: nn.Conv2d, scale: np.ndarray, shift: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Float64 kernel and bias of a convolution without padding that takes `x * scale + shift`, per channel of x.

    A convolution of r times as many inputs has r of them for each channel of x, next to each other.
    """
    kernel = _float64(conv.weight)
    bias = _float64(conv.bias) if conv.has_bias else np.zeros(len(kernel))
    scale, shift = (np.repeat(values, conv.in_channels // len(values)).reshape(conv.group, -1)
                    for values in (scale, shift))
    scale, shift = (np.repeat(values, conv.out_channels // conv.group, 0) for values in (scale, shift))
    return kernel * scale[:, :, None, None], bias + (kernel.sum((2, 3)) * shift).sum(1)


def takes_no_padding(conv: nn.Conv2d) -> bool:
    """Whether every output depends on pixels of the map alone, so that a shift of the map is a shift of the bias."""
    return not any(_padding(conv))


def identity_kernel(channels: int, groups: int, kernel_size: Tuple[int, int]) -> np.ndarray:
    """Float64 (channels, channels / groups, h, w): the convolution that returns its input.

    Output channel i reads input channel i, which is number `i % (channels / groups)` of its group.
    """
    inputs = channels // groups
    kernel = np.zeros((channels, inputs) + tuple(kernel_size))
    kernel[np.arange(channels), np.arange(channels) % inputs, kernel_size[0] // 2, kernel_size[1] // 2] = 1
    return kernel


def chain_pointwise(first: Tuple[np.ndarray, np.ndarray], second: Tuple[np.ndarray, np.ndarray]
                    ) -> Tuple[np.ndarray, np.ndarray]:
    """(kernel, bias) of a convolution and the plain 1x1 convolution that takes its output: W2 W1 and b2 + W2 b1."""
    (kernel, bias), (mixing, offset) = first, second
    mixing = mixing[:, :, 0, 0]
    merged = mixing @ kernel.reshape(len(kernel), -1)
    return merged.reshape((len(mixing),) + kernel.shape[1:]), offset + mixing @ bias


def biased_conv(kernel: np.ndarray, bias: np.ndarray, like: nn.Conv2d) -> nn.Conv2d:
    """A trainable convolution with bias that has the geometry and the dtype of `like`, and these weights."""
    dtype = like.weight.dtype
    conv = nn.Conv2d(kernel.shape[1] * like.group, len(kernel), kernel.shape[2:], like.stride, pad_mode=like.pad_mode,
                     padding=like.padding, dilation=like.dilation, group=like.group, has_bias=True,
                     weight_init=Tensor(kernel, dtype), bias_init=Tensor(bias, dtype), dtype=dtype)
    return conv.set_train(like.training)


def fuse_branches(branches: Sequence[Branch]) -> nn.Conv2d:
    """The convolution with bias that equals the sum of parallel branches.

    The largest kernel gives the geometry; smaller ones are centred in it, a lone BatchNorm becomes its identity.

    Raises:
        ValueError: no convolution among the branches, or one that cannot be added to the largest: other stride,
            groups or channels, a kernel that has no common centre with it, or an identity where the map changes size.
    """
    convs = [branch.conv for branch in branches if branch.conv is not None]
    if not convs:
        raise ValueError("a sum of BatchNorms alone has no convolution to fuse into; add a convolution branch")
    main = max(convs, key=lambda conv: conv.kernel_size)
    kernel, bias = np.zeros(main.weight.shape), np.zeros(main.out_channels)
    for branch in branches:
        if branch.conv is None:
            addend, offset = _identity_branch(branch.bn, main)
        else:
            addend, offset = fold_batch_norm(*branch)
            addend = _centred(addend, branch.conv, main)
        kernel, bias = kernel + addend, bias + offset
    return biased_conv(kernel, bias, main)


def fuse_cells(net: nn.Cell) -> int:
    """Replace every cell below `net` that has `fuse()` by what it returns; the number of cells replaced.

    Parameters of the new cells are trainable. Optimizers and training steps made before still hold the old ones:
    build them anew.
    """
    replaced = 0
    for key, cell in net.name_cells().items():
        if hasattr(cell, "fuse"):
            replace_cell(net, key, cell.fuse())
            replaced += 1
        else:
            replaced += fuse_cells(cell)
    return replaced


def replace_cell(parent: nn.Cell, key: str, cell: nn.Cell) -> None:
    """Put `cell` in the place of the child of `parent` that is called `key`."""
    if isinstance(parent, (nn.SequentialCell, nn.CellList)):
        parent[list(parent.name_cells()).index(key)] = cell
    else:
        setattr(parent, key, cell)


def remove_cells(net: nn.Cell, paths: Iterable[str]) -> None:
    """Put an Identity in the place of the cells at these paths, such as 'blocks.6'."""
    for path in paths:
        *owners, name = path.split(".")
        owner = net
        for part in owners:
            owner = owner.name_cells()[part]
        replace_cell(owner, name, nn.Identity())


class ConvBn(nn.Cell):
    """Convolution without bias, then BatchNorm: (B, in, H, W) -> (B, out, H / stride, W / stride)."""

    folds = (("conv", "bn"),)

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1, groups: int = 1):
        super().__init__()
        self.conv = conv2d(in_channels, out_channels, kernel_size, stride, groups)
        self.bn = nn.BatchNorm2d(out_channels)

    def construct(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class ReparamConv2d(nn.Cell):
    """Sum of parallel convolution + BatchNorm branches that fuses into one convolution.

    `conv`: `branches` equal ones of the full kernel; `scale`: one of kernel 1, where the kernel is larger; `skip`: a
    BatchNorm of the input, where the sum keeps channels and size. That is the block of MobileOne (arXiv 2206.04040,
    figure 3) and of GhostNetV3 (arXiv 2404.11202, section 3.1); with one branch it is RepVGG's (arXiv 2101.03697).
    (B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1, groups: int = 1,
                 branches: int = 3):
        super().__init__()
        self.conv = nn.CellList([ConvBn(in_channels, out_channels, kernel_size, stride, groups)
                                 for _ in range(branches)])
        self.branches = branches
        self.has_scale = kernel_size > 1
        self.has_skip = in_channels == out_channels and stride == 1
        if self.has_scale:
            self.scale = ConvBn(in_channels, out_channels, 1, stride, groups)
        if self.has_skip:
            self.skip = nn.BatchNorm2d(out_channels)

    def construct(self, x: Tensor) -> Tensor:
        y = self.conv[0](x)
        for index in range(1, self.branches):
            y = y + self.conv[index](x)
        if self.has_scale:
            y = y + self.scale(x)
        if self.has_skip:
            y = y + self.skip(x)
        return y

    def fuse(self) -> nn.Conv2d:
        branches = [Branch(branch.conv, branch.bn) for branch in self.conv]
        if self.has_scale:
            branches.append(Branch(self.scale.conv, self.scale.bn))
        if self.has_skip:
            branches.append(Branch(None, self.skip))
        return fuse_branches(branches)


def _float64(parameter) -> np.ndarray:
    return parameter.asnumpy().astype(np.float64)


def affine_of(bn: nn.BatchNorm2d) -> Tuple[np.ndarray, np.ndarray]:
    """What a BatchNorm with fixed statistics multiplies by and adds, per channel."""
    scale = _float64(bn.gamma) / np.sqrt(_float64(bn.moving_variance) + bn.eps)
    return scale, _float64(bn.beta) - _float64(bn.moving_mean) * scale


def _identity_branch(bn: nn.BatchNorm2d, main: nn.Conv2d) -> Tuple[np.ndarray, np.ndarray]:
    keeps_size = _padding(main) == _margins(main, (1, 1)) and tuple(main.stride) == (1, 1)
    if main.in_channels != main.out_channels or not keeps_size:
        raise ValueError(f"an identity branch cannot be added to a convolution {_described(main)}: it needs equal "
                         "channels, stride 1 and a padding that keeps the size")
    scale, shift = affine_of(bn)
    kernel = identity_kernel(main.out_channels, main.group, main.kernel_size)
    return kernel * scale[:, None, None, None], shift


def _centred(kernel: np.ndarray, conv: nn.Conv2d, main: nn.Conv2d) -> np.ndarray:
    """`kernel` of `conv` with the zeros around it that give it the extent of `main`."""
    def geometry(cell):
        # One pixel has no distance to others.
        dilation = tuple(main.dilation if max(cell.kernel_size) == 1 else cell.dilation)
        return cell.in_channels, cell.out_channels, cell.group, tuple(cell.stride), dilation

    edges = tuple((large - small) // 2 for large, small in zip(main.kernel_size, conv.kernel_size))
    shifted = tuple(a - b for a, b in zip(_padding(main), _padding(conv)))
    if geometry(conv) != geometry(main) or shifted != _margins(main, conv.kernel_size):
        raise ValueError(f"a convolution {_described(conv)} cannot be added to {_described(main)}: channels, groups, "
                         "stride and dilation must be equal, and the kernels must share their centre")
    return np.pad(kernel, ((0, 0), (0, 0)) + tuple((edge, edge) for edge in edges))


def _margins(main: nn.Conv2d, inner: Tuple[int, int]) -> Optional[Tuple[int, ...]]:
    """How far the kernel of `main` reaches beyond a centred `inner` (top, bottom, left, right); None if uncentred."""
    excess = [large - small for large, small in zip(main.kernel_size, inner)]
    if min(excess) < 0 or any(extent % 2 for extent in excess):
        return None
    return tuple(d * extent // 2 for extent, d in zip(excess, main.dilation) for _ in range(2))


def _padding(conv: nn.Conv2d) -> Tuple[int, ...]:
    """(top, bottom, left, right); 'same' at stride 1 is symmetric for odd kernels."""
    if conv.pad_mode == "valid":
        return (0, 0, 0, 0)
    if conv.pad_mode == "same":
        return _margins(conv, (1, 1)) or (0, 1, 0, 1)
    return (conv.padding,) * 4 if isinstance(conv.padding, int) else tuple(conv.padding)


def _described(conv: nn.Conv2d) -> str:
    return (f"{conv.in_channels} -> {conv.out_channels}, kernel {tuple(conv.kernel_size)}, stride "
            f"{tuple(conv.stride)}, groups {conv.group}, padding {conv.pad_mode} {_padding(conv)}")
