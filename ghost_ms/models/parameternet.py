"""ParameterNet: Parameters Are All You Need for Large-scale Visual Pretraining of Mobile Networks (CVPR 2024).

arXiv 2306.14525. Source: huawei-noah/Efficient-AI-Backbones, parameternet_pytorch/cv/parameternet.py (Apache-2.0); no
weights were released, and that code differs from the paper in places: this file follows the code.
Differences: `reset_classifier` takes the 1280 channels of the head, where the public one takes those before it; any
number of input channels is taken.
"""
import math
from typing import Tuple

from mindspore import Tensor, nn, ops

from ghost_ms.layers import (ConvBnAct, DropPath, DynamicConv2d, SqueezeExcite, conv2d, depthwise_conv2d,
                             drop_path_rates, make_divisible)
from ghost_ms.models.backbone import Backbone, FeatureInfo
from ghost_ms.models.registry import ModelCard, register

#: Stages of blocks, each (kernel, expansion, out, squeeze-excite ratio, stride): GhostNet's, with more blocks.
STAGES = (
    ((3, 16, 16, 0, 1),),
    ((3, 48, 24, 0, 2),),
    ((3, 72, 24, 0, 1),),
    ((5, 72, 40, 0.25, 2),),
    ((3, 120, 40, 0.25, 1),) * 2,
    ((3, 240, 80, 0, 2),),
    ((3, 200, 80, 0, 1),) * 3 + ((3, 480, 112, 0.25, 1),) + ((3, 672, 112, 0.25, 1),) * 2,
    ((5, 672, 160, 0.25, 2),),
    ((3, 960, 160, 0.25, 1),) * 5,
)
#: Stages that end a resolution: strides 2, 4, 8, 16, 32.
TAPS = (0, 2, 4, 6, 8)
HEAD = 1280


class DynamicGhostModule(nn.Cell):
    """Ghost module of dynamic convolutions: (B, in_channels, H, W) -> (B, out_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, act: bool = True):
        super().__init__()
        half = math.ceil(out_channels / 2)
        self.out_channels = out_channels
        self.exact = 2 * half == out_channels
        hswish = [nn.HSwish()] if act else []
        self.primary_conv = nn.SequentialCell(DynamicConv2d(in_channels, half), nn.BatchNorm2d(half), *hswish)
        self.cheap_operation = nn.SequentialCell(
            DynamicConv2d(half, half, 3, groups=half), nn.BatchNorm2d(half), *hswish)

    def construct(self, x: Tensor) -> Tensor:
        primary = self.primary_conv(x)
        maps = ops.cat((primary, self.cheap_operation(primary)), 1)
        return maps if self.exact else maps[:, :self.out_channels]


class DynamicGhostBottleneck(nn.Cell):
    """Ghost bottleneck of dynamic convolutions; the strided depthwise convolution and the gate stay plain.

    (B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride). Nothing follows the sum.
    """

    folds = (("conv_dw", "bn_dw"),)

    def __init__(self, in_channels: int, expansion: int, out_channels: int, kernel_size: int, stride: int,
                 se_ratio: float, drop_path: float = 0.0):
        super().__init__()
        self.strided = stride > 1
        self.ghost1 = DynamicGhostModule(in_channels, expansion)
        if self.strided:
            self.conv_dw = depthwise_conv2d(expansion, kernel_size, stride)
            self.bn_dw = nn.BatchNorm2d(expansion)
        self.se = SqueezeExcite(expansion, make_divisible(se_ratio * expansion),
                                nn.HSwish()) if se_ratio else nn.Identity()
        self.ghost2 = DynamicGhostModule(expansion, out_channels, act=False)
        self.drop_path = DropPath(drop_path)
        self.shortcut = nn.Identity() if in_channels == out_channels and stride == 1 else nn.SequentialCell(
            DynamicConv2d(in_channels, in_channels, kernel_size, stride, groups=in_channels),
            nn.BatchNorm2d(in_channels), DynamicConv2d(in_channels, out_channels), nn.BatchNorm2d(out_channels))

    def construct(self, x: Tensor) -> Tensor:
        y = self.ghost1(x)
        if self.strided:
            y = self.bn_dw(self.conv_dw(y))
        return self.drop_path(self.ghost2(self.se(y))) + self.shortcut(x)


class ParameterNet(Backbone):
    """ParameterNet of GhostNet's topology (section 4.1).

    Args:
        width: multiplier of every channel count but the 1280 of the head.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout before the classifier.
        drop_path_rate: of the blocks of the last stage, rising linearly over the stages from 0 at the first.
    """

    def __init__(self, width: float, num_classes: int = 1000, in_channels: int = 3, drop_rate: float = 0.2,
                 drop_path_rate: float = 0.0):
        super().__init__()
        channels, total_stride = make_divisible(16 * width), 2
        self.conv_stem = DynamicConv2d(in_channels, channels, 3, 2)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = nn.HSwish()
        stages, info = [], []
        for index, (rows, rate) in enumerate(zip(STAGES, drop_path_rates(drop_path_rate, len(STAGES)))):
            blocks = []
            for kernel, expansion, out, se_ratio, stride in rows:
                out = make_divisible(out * width)
                blocks.append(DynamicGhostBottleneck(channels, make_divisible(expansion * width), out, kernel, stride,
                                                     se_ratio, rate))
                channels, total_stride = out, total_stride * stride
            stages.append(nn.SequentialCell(*blocks))
            if index in TAPS:
                info.append(FeatureInfo(channels, total_stride, f"blocks.{index}"))
        self.feature_info = tuple(info)
        self.num_features = make_divisible(STAGES[-1][-1][1] * width)
        stages.append(nn.SequentialCell(ConvBnAct(channels, self.num_features, nn.HSwish, DynamicConv2d)))
        self.blocks = nn.SequentialCell(*stages)
        self.conv_head = conv2d(self.num_features, HEAD, bias=True)
        self.act2 = nn.HSwish()
        self.dropout = nn.Dropout(p=drop_rate)
        self.classifier = nn.Dense(HEAD, num_classes)

    def forward_stages(self, x: Tensor) -> Tuple[Tensor, ...]:
        x = self.act1(self.bn1(self.conv_stem(x)))
        maps = []
        for index in range(len(STAGES)):
            x = self.blocks[index](x)
            if index in TAPS:
                maps.append(x)
        return tuple(maps)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.blocks(self.act1(self.bn1(self.conv_stem(x))))

    def forward_head(self, x: Tensor) -> Tensor:
        x = self.act2(self.conv_head(x.mean((2, 3), keep_dims=True)))
        return self.classifier(self.dropout(x.flatten(start_dim=1)))

    def reset_classifier(self, num_classes: int) -> None:
        self.classifier = nn.Dense(HEAD, num_classes)


@register(ModelCard(params=34_504_504, macs=589.65e6, top1=79.0, source="ParameterNet paper", paper="2306.14525",
                    notes="81.6 % with pretraining on ImageNet-22K; the authors released no weights."))
def parameternet_600m(**kwargs):
    """ParameterNet-600M: width 1.9, four experts."""
    return ParameterNet(1.9, **kwargs)


@register(ModelCard(params=17_466_196, macs=285.47e6, top1=77.2, source="ParameterNet paper", paper="2306.14525",
                    notes="79.1 % with pretraining on ImageNet-22K; the authors released no weights."))
def parameternet_300m(**kwargs):
    """ParameterNet-300M: width 1.3, four experts."""
    return ParameterNet(1.3, **kwargs)
