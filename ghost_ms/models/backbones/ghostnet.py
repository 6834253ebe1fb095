"""GhostNet: More Features from Cheap Operations (CVPR 2020, arXiv 1911.11907).

Source of the released network: huawei-noah/Efficient-AI-Backbones, ghostnet_pytorch/ghostnet.py (Apache-2.0).
Differences: `stem_stride=1` makes the small-image form (no other change), and any number of input channels is taken.
"""
import itertools
from typing import Callable, List, Optional

from mindspore import Tensor, nn

from ghost_ms.layers import (ConvBnAct, DropPath, GhostModule, SqueezeExcite, conv2d, depthwise_conv2d,
                             drop_path_rates, make_divisible)
from ghost_ms.models.backbone import FeatureInfo, MobileBackbone, check_taps
from ghost_ms.models.registry import ModelCard, register

#: Table 1 of the paper: stages of blocks, each (kernel, expansion, out, squeeze-excite ratio, stride).
STAGES = (
    ((3, 16, 16, 0, 1),),
    ((3, 48, 24, 0, 2),),
    ((3, 72, 24, 0, 1),),
    ((5, 72, 40, 0.25, 2),),
    ((5, 120, 40, 0.25, 1),),
    ((3, 240, 80, 0, 2),),
    ((3, 200, 80, 0, 1), (3, 184, 80, 0, 1), (3, 184, 80, 0, 1), (3, 480, 112, 0.25, 1), (3, 672, 112, 0.25, 1)),
    ((5, 672, 160, 0.25, 2),),
    ((5, 960, 160, 0, 1), (5, 960, 160, 0.25, 1), (5, 960, 160, 0, 1), (5, 960, 160, 0.25, 1)),
)
#: Stages that end a resolution: strides 2, 4, 8, 16, 32 of a network whose stem has stride 2.
TAPS = (0, 2, 4, 6, 8)


class GhostBottleneck(nn.Cell):
    """Ghost bottleneck (section 3.2, figure 3): expand by a Ghost module, shrink by another, add the shortcut.

    (B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride). Nothing follows the sum. The later networks
    of the family keep this block and put their own modules in as `ghost1` and `ghost2`.
    """

    folds = (("conv_dw", "bn_dw"),)
    #: Of the shortcut, and between the two convolutions of squeeze-and-excitation.
    convolution, activation = staticmethod(conv2d), nn.ReLU

    def __init__(self, in_channels: int, expansion: int, out_channels: int, kernel_size: int, stride: int,
                 se_ratio: float, drop_path: float = 0.0, ghost1: Callable[..., nn.Cell] = GhostModule,
                 ghost2: Callable[..., nn.Cell] = GhostModule):
        super().__init__()
        self.strided = stride > 1
        self.ghost1 = ghost1(in_channels, expansion)
        if self.strided:
            self.conv_dw = depthwise_conv2d(expansion, kernel_size, stride)
            self.bn_dw = nn.BatchNorm2d(expansion)
        self.se = SqueezeExcite(expansion, make_divisible(se_ratio * expansion),
                                self.activation()) if se_ratio else nn.Identity()
        self.ghost2 = ghost2(expansion, out_channels, act=False)
        self.drop_path = DropPath(drop_path)
        self.shortcut = nn.Identity() if in_channels == out_channels and stride == 1 else nn.SequentialCell(
            self.convolution(in_channels, in_channels, kernel_size, stride, groups=in_channels),
            nn.BatchNorm2d(in_channels), self.convolution(in_channels, out_channels), nn.BatchNorm2d(out_channels))

    def construct(self, x: Tensor) -> Tensor:
        y = self.ghost1(x)
        if self.strided:
            y = self.bn_dw(self.conv_dw(y))
        return self.drop_path(self.ghost2(self.se(y))) + self.shortcut(x)


class GhostNet(MobileBackbone):
    """GhostNet (table 1).

    Args:
        width: multiplier of every channel count but the 1280 of the head.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout before the classifier.
        drop_path_rate: of the last block, rising linearly from 0 at the first (0 as published).
        stem_stride: 2 as published, 1 for images of about 32 pixels.
    """

    #: Taps, rows, convolution and activation of the network; a relative of GhostNet may have its own.
    taps, stages, convolution, activation = TAPS, STAGES, staticmethod(conv2d), nn.ReLU

    atrous = "keep"

    def __init__(self, width: float = 1.0, num_classes: int = 1000, in_channels: int = 3, drop_rate: float = 0.2,
                 drop_path_rate: float = 0.0, stem_stride: int = 2):
        super().__init__()
        self.taps = check_taps(self.taps, len(self.stages), first=-1)
        channels = make_divisible(16 * width)
        self.conv_stem = self.convolution(in_channels, channels, 3, stem_stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = self.activation()
        rates = iter(self.block_rates(drop_path_rate))
        depth = itertools.count()
        stages, stride = [], stem_stride
        info = [FeatureInfo(channels, stride, "act1")] if -1 in self.taps else []
        for index, rows in enumerate(self.stages):
            blocks = []
            for kernel, expansion, out, se_ratio, block_stride in rows:
                out = make_divisible(out * width)
                blocks.append(self.make_block(next(depth), channels, make_divisible(expansion * width), out, kernel,
                                              block_stride, se_ratio, next(rates)))
                channels, stride = out, stride * block_stride
            stages.append(nn.SequentialCell(*blocks))
            if index in self.taps:
                info.append(FeatureInfo(channels, stride, f"blocks.{index}"))
        self.feature_info = tuple(info)
        self.num_features = make_divisible(960 * width)
        stages.append(nn.SequentialCell(ConvBnAct(channels, self.num_features, self.activation,
                                                  self.convolution)))
        self.blocks = nn.SequentialCell(*stages)
        self.conv_head = conv2d(self.num_features, 1280, bias=True)
        self.act2 = self.activation()
        self.dropout = nn.Dropout(p=drop_rate)
        self.classifier = nn.Dense(1280, num_classes)

    def make_block(self, index: int, *geometry) -> nn.Cell:
        """The block number `index` of the whole network; `geometry` is what `GhostBottleneck` takes."""
        return GhostBottleneck(*geometry)

    def block_rates(self, drop_path_rate: float) -> List[float]:
        """Drop-path rate of each block."""
        return drop_path_rates(drop_path_rate, sum(len(rows) for rows in self.stages))


def _card(params: int, macs: float, top1: Optional[float], top5: Optional[float] = None, source: Optional[str] = None,
          weights: Optional[str] = None) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, top5=top5, source=source, paper="1911.11907",
                     weights=weights)


@register(_card(2_587_292, 42.33e6, 66.2, 86.6, "GhostNet paper, table 7"))
def ghostnet_050(**kwargs):
    """GhostNet 0.5x."""
    return GhostNet(width=0.5, **kwargs)


@register(_card(5_182_508, 141.15e6, 73.98, 91.46, "authors' repository", weights="ghostnet_100"))
def ghostnet_100(**kwargs):
    """GhostNet 1.0x."""
    return GhostNet(width=1.0, **kwargs)


@register(_card(5_855_650, 166.99e6, 74.5, None, "GhostNetV2 paper, comparison figure; width inferred from MACs"))
def ghostnet_110(**kwargs):
    """GhostNet 1.1x."""
    return GhostNet(width=1.1, **kwargs)


@register(_card(7_358_820, 227.00e6, 75.7, 92.7, "GhostNet paper, table 7"))
def ghostnet_130(**kwargs):
    """GhostNet 1.3x."""
    return GhostNet(width=1.3, **kwargs)


@register(_card(9_066_488, 297.75e6, None))
def ghostnet_150(**kwargs):
    """GhostNet 1.5x."""
    return GhostNet(width=1.5, **kwargs)
