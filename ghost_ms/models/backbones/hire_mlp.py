"""Hire-MLP: Vision MLP via Hierarchical Rearrangement (CVPR 2022, arXiv 2108.13341).

Source of the released networks: ggjy/Hire-Wave-MLP.pytorch, mlp_based/hire_mlp.py (MIT). No difference in what is
computed. Tokens are mixed by joining the channels of neighbours into regions (inner-region rearrangement), and
regions by rolling the map (cross-region rearrangement); every border is circular.
"""
from typing import Tuple

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from ghost_ms.layers import BranchMix, conv2d
from ghost_ms.models.backbones.mlp_pyramid import MlpPyramid
from ghost_ms.models.registry import ModelCard, register

#: Of each stage: height or width of a region; the roll of block b is (b mod STEP_PERIOD) * STEP_SIZE.
REGION = (4, 3, 3, 2)
STEP_PERIOD = (2, 2, 3, 2)
STEP_SIZE = (2, 2, 1, 1)


def circular_window(x: Tensor, axis: int, start: int, length: int, extent: int) -> Tensor:
    """`length` positions along an axis from `start` on, counted modulo `extent`; what lies behind `extent` is unseen.

    A roll by s is the window from -s; a circular padding is a longer window. Concatenated slices, because MindSpore
    has no roll on CPU.
    """
    if start % extent == 0 and length == x.shape[axis]:
        return x
    pieces = []
    while length > 0:
        begin = start % extent
        size = min(length, extent - begin)
        pieces.append(x if size == x.shape[axis] else ops.narrow(x, axis, begin, size))
        start, length = start + size, length - size
    return pieces[0] if len(pieces) == 1 else ops.cat(pieces, axis)


def join_regions(x: Tensor, axis: int, region: int) -> Tensor:
    """(B, C, H, W) -> (B, C * region, H / region, W), or the same along W.

    Channel c of position p of a region becomes channel c * region + p.
    """
    channels, height, width = x.shape[1:]
    if axis == 2:
        x = x.reshape(-1, channels, height // region, region, width).transpose(0, 1, 3, 2, 4)
        return x.reshape(-1, channels * region, height // region, width)
    x = x.reshape(-1, channels, height, width // region, region).transpose(0, 1, 4, 2, 3)
    return x.reshape(-1, channels * region, height, width // region)


def split_regions(x: Tensor, axis: int, region: int) -> Tensor:
    """The inverse of `join_regions`."""
    channels, height, width = x.shape[1] // region, x.shape[2], x.shape[3]
    if axis == 2:
        x = x.reshape(-1, channels, region, height, width).transpose(0, 1, 3, 2, 4)
        return x.reshape(-1, channels, height * region, width)
    x = x.reshape(-1, channels, region, height, width).transpose(0, 1, 3, 4, 2)
    return x.reshape(-1, channels, height, width * region)


class HireModule(nn.Cell):
    """Hierarchical rearrangement (the paper's Hire module): (B, channels, H, W), of any size, -> same shape.

    Args:
        region: rows (or columns) whose channels are mixed together.
        step: how far the map is rolled before, and back after.
    """

    folds = (("mlp_h1", "mlp_h1_norm"), ("mlp_w1", "mlp_w1_norm"))
    # Rolling, circular padding and joining move pixels only, so an affine map of the input reaches these unchanged.
    takes_input = ("mlp_h1", "mlp_w1", "mlp_c")

    def __init__(self, channels: int, region: int, step: int):
        super().__init__()
        self.region = region
        self.step = step
        self.mlp_h1 = conv2d(channels * region, channels // 2)
        self.mlp_h1_norm = nn.BatchNorm2d(channels // 2)
        self.mlp_h2 = conv2d(channels // 2, channels * region, bias=True)
        self.mlp_w1 = conv2d(channels * region, channels // 2)
        self.mlp_w1_norm = nn.BatchNorm2d(channels // 2)
        self.mlp_w2 = conv2d(channels // 2, channels * region, bias=True)
        self.mlp_c = conv2d(channels, channels, bias=True)
        self.act = nn.ReLU()
        self.reweight = BranchMix(channels)
        self.proj = conv2d(channels, channels, bias=True)

    def construct(self, x: Tensor) -> Tensor:
        h = self.mlp_h2(self.act(self.mlp_h1_norm(self.mlp_h1(self._rearrange(x, 2)))))
        w = self.mlp_w2(self.act(self.mlp_w1_norm(self.mlp_w1(self._rearrange(x, 3)))))
        h, w = self._restore(h, 2, x.shape[2]), self._restore(w, 3, x.shape[3])
        return self.proj(self.reweight(h, w, self.mlp_c(x)))

    def _rearrange(self, x: Tensor, axis: int) -> Tensor:
        """Roll by `step`, pad circularly to whole regions, join them."""
        extent = x.shape[axis]
        padded = -(-extent // self.region) * self.region
        return join_regions(circular_window(x, axis, -self.step, padded, extent), axis, self.region)

    def _restore(self, x: Tensor, axis: int, extent: int) -> Tensor:
        return circular_window(split_regions(x, axis, self.region), axis, self.step, extent, extent)


class HireMlp(MlpPyramid):
    """Hire-MLP, the pyramid of the paper.

    Args:
        depths, widths: blocks and channels of the four stages.
        kwargs: `num_classes`, `in_channels`, `drop_rate`, `drop_path_rate` of `MlpPyramid`.
    """

    def __init__(self, depths: Tuple[int, ...], widths: Tuple[int, ...] = (64, 128, 320, 512), **kwargs):
        super().__init__(
            depths, widths, (4, 4, 4, 4),
            lambda stage, block, width: HireModule(width, REGION[stage],
                                                   block % STEP_PERIOD[stage] * STEP_SIZE[stage]),
            nn.BatchNorm2d, nn.BatchNorm2d, nn.ReLU, **kwargs)
        # The authors cut this normal distribution at 2, which is 100 deviations: the plain one is the same.
        for _, cell in self.cells_and_names():
            if isinstance(cell, nn.Conv2d):
                cell.weight.set_data(initializer(Normal(0.02), cell.weight.shape))
                if cell.has_bias:
                    cell.bias.set_data(initializer("zeros", cell.bias.shape))


def _card(params: int, macs: float, top1: float, weights: str = None) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, source="authors' repository", paper="2108.13341",
                     interpolation="bicubic", weights=weights)


@register(_card(18_041_672, 2144.00e6, 79.7, "hire_mlp_tiny"))
def hire_mlp_tiny(**kwargs):
    """Hire-MLP-Tiny."""
    return HireMlp((2, 2, 4, 2), **kwargs)


@register(_card(33_113_848, 4231.09e6, 82.1, "hire_mlp_small"))
def hire_mlp_small(**kwargs):
    """Hire-MLP-Small."""
    return HireMlp((3, 4, 10, 3), **kwargs)


@register(_card(58_226_856, 8110.62e6, 83.2, "hire_mlp_base"))
def hire_mlp_base(**kwargs):
    """Hire-MLP-Base."""
    return HireMlp((4, 6, 24, 3), **kwargs)


@register(_card(95_723_944, 13421.60e6, 83.8))
def hire_mlp_large(**kwargs):
    """Hire-MLP-Large."""
    return HireMlp((4, 6, 24, 3), (96, 192, 384, 768), **kwargs)
