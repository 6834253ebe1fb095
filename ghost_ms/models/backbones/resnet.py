"""ResNet-50: Deep Residual Learning for Image Recognition (CVPR 2016, arXiv 1512.03385).

Source of the released network: torchvision, models/resnet.py (BSD-3); the stride is on the 3x3 convolution ("V1.5").
The bottleneck takes its convolutions from a function, so that the Ghost and the versatile ResNet-50 are built of it.
"""
from typing import Callable, Tuple

from mindspore import Tensor, nn, ops

from ghost_ms.layers import DropPath, conv2d, drop_path_rates, initialize_convolutions
from ghost_ms.models.backbone import FeatureInfo, ResidualBackbone
from ghost_ms.models.registry import ModelCard, register

#: Table 1 of the paper, 50 layers: stages of (blocks, bottleneck width, stride).
STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))
EXPANSION = 4

Unit = Callable[[int, int, int, int, int], Tuple[nn.Cell, nn.Cell]]


def conv_norm(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1):
    """(convolution, its BatchNorm)."""
    return conv2d(in_channels, out_channels, kernel_size, stride, groups), nn.BatchNorm2d(out_channels)


class Bottleneck(nn.Cell):
    """1x1, 3x3 with the stride, 1x1, plus the shortcut: (B, in, H, W) -> (B, out, H / stride, W / stride).

    Args:
        width: channels of the 3x3 convolution.
        groups: of the 3x3 convolution.
        drop_path: probability that the branch is dropped.
        unit: makes (convolution, norm) of (in, out, kernel, stride, groups).
    """

    folds = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))

    def __init__(self, in_channels: int, width: int, out_channels: int, stride: int = 1, groups: int = 1,
                 drop_path: float = 0.0, unit: Unit = conv_norm):
        super().__init__()
        self.conv1, self.bn1 = unit(in_channels, width, 1, 1, 1)
        self.conv2, self.bn2 = unit(width, width, 3, stride, groups)
        self.conv3, self.bn3 = unit(width, out_channels, 1, 1, 1)
        self.relu = nn.ReLU()
        self.drop_path = DropPath(drop_path)
        self.downsample = nn.Identity() if stride == 1 and in_channels == out_channels else nn.SequentialCell(
            *unit(in_channels, out_channels, 1, stride, 1))

    def construct(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(self.drop_path(y) + self.downsample(x))


class MaxPool(nn.Cell):
    """3x3 maximum, stride 2, padding 1, of a map without negative values: (B, C, H, W) -> (B, C, H / 2, W / 2).

    After ReLU a border of zeros never wins, and an explicit border exports where `pad_mode="pad"` does not.
    """

    def __init__(self):
        super().__init__()
        self.border = ops.Pad(((0, 0), (0, 0), (1, 1), (1, 1)))
        self.pool = nn.MaxPool2d(3, 2)

    def construct(self, x: Tensor) -> Tensor:
        return self.pool(self.border(x))


class ResNet50(ResidualBackbone):
    """ResNet-50.

    Args:
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout before the classifier (none as published).
        drop_path_rate: of the last block, rising linearly from 0 at the first (0 as published).
        block: makes a bottleneck of (in, width, out, stride, drop_path=...).
        stem: makes the first convolution of (in, out, kernel, stride).
    """

    atrous = "keep"

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, drop_rate: float = 0.0,
                 drop_path_rate: float = 0.0, block: Callable[..., nn.Cell] = Bottleneck,
                 stem: Callable[..., nn.Cell] = conv2d):
        super().__init__()
        channels = 64
        self.conv1 = stem(in_channels, channels, 7, 2)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.maxpool = MaxPool()
        rates = iter(drop_path_rates(drop_path_rate, sum(depth for depth, _, _ in STAGES)))
        layers, info, total = [], [FeatureInfo(channels, 2, "relu")], 4
        for index, (depth, width, stride) in enumerate(STAGES):
            blocks = []
            for position in range(depth):
                blocks.append(block(channels, width, EXPANSION * width, 1 if position else stride,
                                    drop_path=next(rates)))
                channels = EXPANSION * width
            layers.append(nn.SequentialCell(*blocks))
            total *= stride
            info.append(FeatureInfo(channels, total, f"layer{index + 1}"))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.feature_info = tuple(info)
        self.num_features = channels
        self.dropout = nn.Dropout(p=drop_rate)
        self.fc = nn.Dense(channels, num_classes)
        initialize_convolutions(self)


@register(ModelCard(params=25_557_032, macs=4089.18e6, top1=76.130, top5=92.862, source="torchvision, IMAGENET1K_V1",
                    paper="1512.03385", weights="resnet50"))
def resnet50(**kwargs):
    """ResNet-50, the plain network beside the Ghost and the versatile one."""
    return ResNet50(**kwargs)
