"""ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design (ECCV 2018, arXiv 1807.11164).

Source: torchvision's `shufflenet_v2_x0_5` to `x2_0` (BSD-3-Clause), whose names these networks have.
Differences: dropout before the classifier and stochastic depth exist as arguments (0 as published).
"""
from typing import Tuple

from mindspore import Tensor, nn, ops

from ghost_ms.layers import DropPath, conv2d, depthwise_conv2d, drop_path_rates
from ghost_ms.models.backbone import Backbone, FeatureInfo, Layers, layers_of
from ghost_ms.models.registry import ModelCard, register

#: Units of stage2, stage3 and stage4 (table 5 of the paper).
REPEATS = (4, 8, 4)
STEM = 24


def shuffle_channels(x: Tensor, groups: int = 2) -> Tensor:
    """Interleave `groups` blocks of channels of (B, C, H, W): with 2 groups 0, C/2, 1, C/2 + 1, ..."""
    _, channels, height, width = x.shape
    x = x.reshape(-1, groups, channels // groups, height * width).transpose(0, 2, 1, 3)
    return x.reshape(-1, channels, height, width)


def max_pool() -> nn.SequentialCell:
    """3x3 maximum at stride 2 of non-negative maps, one pixel padded on every side.

    `pad_mode='same'` pads the far sides alone, and `pad_mode='pad'` does not export; zero stands for minus infinity
    because the maps come of a ReLU.
    """
    return nn.SequentialCell(nn.Pad(((0, 0), (0, 0), (1, 1), (1, 1))), nn.MaxPool2d(3, 2, pad_mode="valid"))


def _separable(in_channels: int, out_channels: int, stride: int) -> list:
    return [depthwise_conv2d(in_channels, 3, stride), nn.BatchNorm2d(in_channels),
            conv2d(in_channels, out_channels), nn.BatchNorm2d(out_channels), nn.ReLU()]


class ShuffleUnit(nn.Cell):
    """Basic unit (figure 3c): half of the channels pass, half are filtered; shuffle. (B, C, H, W) -> same shape."""

    def __init__(self, channels: int, drop_path: float = 0.0):
        super().__init__()
        self.half = channels // 2
        self.branch2 = nn.SequentialCell(conv2d(self.half, self.half), nn.BatchNorm2d(self.half), nn.ReLU(),
                                         *_separable(self.half, self.half, 1))
        self.drop_path = DropPath(drop_path)

    def construct(self, x: Tensor) -> Tensor:
        passed, filtered = ops.split(x, self.half, 1)
        return shuffle_channels(ops.cat((passed, self.drop_path(self.branch2(filtered))), 1))


class DownsamplingUnit(nn.Cell):
    """Unit of stride 2 (figure 3d): both branches take every channel. (B, in, H, W) -> (B, out, H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        half = out_channels // 2
        self.branch1 = nn.SequentialCell(*_separable(in_channels, half, 2))
        self.branch2 = nn.SequentialCell(conv2d(in_channels, half), nn.BatchNorm2d(half), nn.ReLU(),
                                         *_separable(half, half, 2))

    def construct(self, x: Tensor) -> Tensor:
        return shuffle_channels(ops.cat((self.branch1(x), self.branch2(x)), 1))


class ShuffleNetV2(Backbone):
    """ShuffleNetV2 (table 5).

    Args:
        channels: of stage2, stage3, stage4 and conv5.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout before the classifier.
        drop_path_rate: of the last unit, rising linearly from 0 at the first; units of stride 1 drop their filtered
            half, the others drop nothing.
    """

    classifier_cells = ("fc",)

    atrous = "keep"

    def __init__(self, channels: Tuple[int, int, int, int], num_classes: int = 1000, in_channels: int = 3,
                 drop_rate: float = 0.0, drop_path_rate: float = 0.0):
        super().__init__()
        if len(channels) != 4:
            raise ValueError(f"channels {tuple(channels)} must be those of stage2, stage3, stage4 and conv5")
        self.conv1 = nn.SequentialCell(conv2d(in_channels, STEM, 3, 2), nn.BatchNorm2d(STEM), nn.ReLU())
        self.maxpool = max_pool()
        rates = iter(drop_path_rates(drop_path_rate, sum(REPEATS)))
        widths, stages = (STEM,) + tuple(channels[:3]), []
        for width, out, repeats in zip(widths, channels, REPEATS):
            stage_rates = [next(rates) for _ in range(repeats)]
            stages.append(nn.SequentialCell(DownsamplingUnit(width, out),
                                            *(ShuffleUnit(out, rate) for rate in stage_rates[1:])))
        self.stage2, self.stage3, self.stage4 = stages
        self.num_features = channels[3]
        self.conv5 = nn.SequentialCell(conv2d(channels[2], self.num_features), nn.BatchNorm2d(self.num_features),
                                       nn.ReLU())
        self.feature_info = tuple(
            FeatureInfo(width, stride, name) for width, stride, name in
            zip((STEM,) + widths, (2, 4, 8, 16, 32), ("conv1", "maxpool", "stage2", "stage3", "stage4")))
        self.dropout = nn.Dropout(p=drop_rate)
        self.fc = nn.Dense(self.num_features, num_classes)

    def layer_parts(self) -> Layers:
        units = [layer for name in ("stage2", "stage3", "stage4") for layer in layers_of(name, getattr(self, name))]
        return (("conv1", "maxpool"), *units, ("conv5", "fc"))

    def forward_stages(self, x: Tensor) -> Tuple[Tensor, ...]:
        stride2 = self.conv1(x)
        stride4 = self.maxpool(stride2)
        stride8 = self.stage2(stride4)
        stride16 = self.stage3(stride8)
        return stride2, stride4, stride8, stride16, self.stage4(stride16)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.conv5(self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(x))))))

    def forward_head(self, x: Tensor) -> Tensor:
        return self.fc(self.dropout(x.mean((2, 3))))

    def new_classifier(self, num_classes: int) -> None:
        self.fc = nn.Dense(self.num_features, num_classes)


def _card(name: str, params: int, macs: float, top1: float, top5: float, crop_ratio: float = 0.875) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, top5=top5, source="torchvision", crop_ratio=crop_ratio,
                     paper="1807.11164", weights=name)


#: The second weights of torchvision are evaluated on the centre of a short side of 232.
WIDE_CROP = 224 / 232


@register(_card("shufflenetv2_x0_5", 1_366_792, 40.48e6, 60.552, 81.746))
def shufflenetv2_x0_5(**kwargs):
    """ShuffleNetV2 0.5x."""
    return ShuffleNetV2((48, 96, 192, 1024), **kwargs)


@register(_card("shufflenetv2_x1_0", 2_278_604, 144.91e6, 69.362, 88.316))
def shufflenetv2_x1_0(**kwargs):
    """ShuffleNetV2 1.0x."""
    return ShuffleNetV2((116, 232, 464, 1024), **kwargs)


@register(_card("shufflenetv2_x1_5", 3_503_624, 295.76e6, 72.996, 91.086, WIDE_CROP))
def shufflenetv2_x1_5(**kwargs):
    """ShuffleNetV2 1.5x."""
    return ShuffleNetV2((176, 352, 704, 1024), **kwargs)


@register(_card("shufflenetv2_x2_0", 7_393_996, 583.25e6, 76.230, 93.006, WIDE_CROP))
def shufflenetv2_x2_0(**kwargs):
    """ShuffleNetV2 2.0x."""
    return ShuffleNetV2((244, 488, 976, 2048), **kwargs)
