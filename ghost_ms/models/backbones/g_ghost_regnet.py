"""G-Ghost RegNet: GhostNets on Heterogeneous Devices via Cheap Operations (IJCV 2022, arXiv 2201.03297).

Source of the released networks: huawei-noah/Efficient-AI-Backbones, g_ghost_pytorch/g_ghost_regnet.py of March 2025
(Apache-2.0); earlier copies track the stages' input widths wrongly. Differences: the merge takes the global means of
the maps one by one instead of concatenating the maps first (the same numbers without the copy), and
`zero_init_residual`, which does nothing there, is not an argument.
"""
from typing import Optional, Tuple

from mindspore import Tensor, nn, ops

from ghost_ms.layers import conv2d, drop_path_rates, initialize_convolutions
from ghost_ms.models.backbone import FeatureInfo, Layers, ResidualBackbone, layers_of
from ghost_ms.models.backbones.resnet import Bottleneck
from ghost_ms.models.registry import ModelCard, register

STEM_CHANNELS = 32
#: Share of the group width, and of the channels, that the inner path of a G-Ghost stage keeps.
GROUP_RATIO, RAW_RATIO = 0.75, 0.5


def _block(in_channels: int, channels: int, group_width: int, drop_path: float, stride: int = 1) -> Bottleneck:
    """RegNet's X block: a bottleneck without expansion whose 3x3 convolution has groups of `group_width`."""
    return Bottleneck(in_channels, channels, channels, stride, channels // min(channels, group_width), drop_path)


def _plain_stage(in_channels: int, channels: int, group_width: int, drop_paths: list) -> nn.SequentialCell:
    return nn.SequentialCell(*(
        _block(channels if index else in_channels, channels, group_width, rate, 1 if index else 2)
        for index, rate in enumerate(drop_paths)))


class GGhostStage(nn.Cell):
    """G-Ghost stage (section 3.3, figure 5): (B, in_channels, H, W) -> (B, channels, H / 2, W / 2).

    The first block's output is cut in two: its leading `raw` channels run through the inner blocks, the others
    through one 1x1 convolution, to which the merged means of all maps are added. The last block joins both.

    Args:
        drop_paths: a rate for each block; their number is the depth of the stage, 3 or more.
    """

    def __init__(self, in_channels: int, channels: int, group_width: int, drop_paths: list):
        super().__init__()
        inner_width = int(GROUP_RATIO * group_width)
        self.raw = int(RAW_RATIO * channels / inner_width) * inner_width
        cheap, first, inner, last = channels - self.raw, drop_paths[0], drop_paths[1:-1], drop_paths[-1]
        self.base = _block(in_channels, channels, group_width, first, stride=2)
        self.layers = nn.SequentialCell(*(_block(self.raw, self.raw, inner_width, rate) for rate in inner))
        # The released names count the pool that this network runs ahead of the merge.
        self.merge = nn.SequentialCell(
            nn.Identity(), conv2d(channels + self.raw * len(inner), cheap), nn.BatchNorm2d(cheap), nn.ReLU(),
            conv2d(cheap, cheap), nn.BatchNorm2d(cheap))
        self.cheap = nn.SequentialCell(conv2d(cheap, cheap), nn.BatchNorm2d(cheap))
        self.relu = nn.ReLU()
        self.end = _block(channels, channels, group_width, last)

    def layers_within(self) -> Layers:
        return (("base",), *layers_of("layers", self.layers), ("merge", "cheap", "end"))

    def construct(self, x: Tensor) -> Tensor:
        x = self.base(x)
        inner, means = x[:, :self.raw], [x.mean((2, 3), keep_dims=True)]
        for block in self.layers:
            inner = block(inner)
            means.append(inner.mean((2, 3), keep_dims=True))
        ghost = self.relu(self.cheap(x[:, self.raw:]) + self.merge(ops.cat(means, 1)))
        return self.end(ops.cat((inner, ghost), 1))


class GGhostRegNet(ResidualBackbone):
    """RegNetX with G-Ghost stages: the third always, the second and fourth where they are deeper than two.

    Args:
        depths, widths: blocks and channels of the four stages.
        group_width: channels in each group of the 3x3 convolutions.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout before the classifier.
        drop_path_rate: of the last block, rising linearly from 0 at the first (0 as published).
    """

    atrous = "keep"

    def __init__(self, depths: Tuple[int, ...], widths: Tuple[int, ...], group_width: int, num_classes: int = 1000,
                 in_channels: int = 3, drop_rate: float = 0.2, drop_path_rate: float = 0.0):
        super().__init__()
        if not len(depths) == len(widths) == 4:
            raise ValueError(f"depths {tuple(depths)} and widths {tuple(widths)} must be those of four stages")
        self.conv1 = conv2d(in_channels, STEM_CHANNELS, 3, 2)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity()
        rates = drop_path_rates(drop_path_rate, sum(depths))
        stages, info, channels = [], [FeatureInfo(STEM_CHANNELS, 2, "relu")], STEM_CHANNELS
        for index, (depth, width) in enumerate(zip(depths, widths)):
            kind = GGhostStage if index == 2 or (index > 0 and depth > 2) else _plain_stage
            stages.append(kind(channels, width, group_width, rates[:depth]))
            rates, channels = rates[depth:], width
            info.append(FeatureInfo(width, 4 * 2 ** index, f"layer{index + 1}"))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.feature_info = tuple(info)
        self.num_features = channels
        self.dropout = nn.Dropout(p=drop_rate)
        self.fc = nn.Dense(channels, num_classes)
        initialize_convolutions(self)


def _card(params: int, macs: float, top1: Optional[float] = None, weights: Optional[str] = None) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, source=None if top1 is None else "authors' repository",
                     paper="2201.03297", weights=weights)


@register(_card(1_825_440, 130.92e6))
def g_ghost_regnetx_002(**kwargs):
    """G-Ghost RegNetX-0.2GF."""
    return GGhostRegNet((1, 1, 4, 7), (24, 56, 152, 368), 8, **kwargs)


@register(_card(2_884_456, 221.25e6))
def g_ghost_regnetx_004(**kwargs):
    """G-Ghost RegNetX-0.4GF."""
    return GGhostRegNet((1, 2, 7, 12), (32, 64, 160, 384), 16, **kwargs)


@register(_card(4_029_776, 389.79e6))
def g_ghost_regnetx_006(**kwargs):
    """G-Ghost RegNetX-0.6GF."""
    return GGhostRegNet((1, 3, 5, 7), (48, 96, 240, 528), 24, **kwargs)


@register(_card(5_248_328, 528.57e6))
def g_ghost_regnetx_008(**kwargs):
    """G-Ghost RegNetX-0.8GF."""
    return GGhostRegNet((1, 3, 7, 5), (64, 128, 288, 672), 16, **kwargs)


@register(_card(7_109_660, 1021.38e6))
def g_ghost_regnetx_016(**kwargs):
    """G-Ghost RegNetX-1.6GF."""
    return GGhostRegNet((2, 4, 10, 2), (72, 168, 408, 912), 24, **kwargs)


@register(_card(10_511_000, 1801.75e6, 77.8, "g_ghost_regnetx_032"))
def g_ghost_regnetx_032(**kwargs):
    """G-Ghost RegNetX-3.2GF."""
    return GGhostRegNet((2, 6, 15, 2), (96, 192, 432, 1008), 48, **kwargs)


@register(_card(15_726_268, 2228.37e6, 78.6, "g_ghost_regnetx_040"))
def g_ghost_regnetx_040(**kwargs):
    """G-Ghost RegNetX-4GF."""
    return GGhostRegNet((2, 5, 14, 2), (80, 240, 560, 1360), 40, **kwargs)


@register(_card(17_993_748, 4055.26e6))
def g_ghost_regnetx_064(**kwargs):
    """G-Ghost RegNetX-6.4GF."""
    return GGhostRegNet((2, 4, 10, 1), (168, 392, 784, 1624), 56, **kwargs)


@register(_card(24_586_928, 4149.67e6, 79.0, "g_ghost_regnetx_080"))
def g_ghost_regnetx_080(**kwargs):
    """G-Ghost RegNetX-8GF."""
    return GGhostRegNet((2, 5, 15, 1), (80, 240, 720, 1920), 120, **kwargs)


@register(_card(30_627_208, 7377.52e6))
def g_ghost_regnetx_120(**kwargs):
    """G-Ghost RegNetX-12GF."""
    return GGhostRegNet((2, 5, 11, 1), (224, 448, 896, 2240), 112, **kwargs)


@register(_card(32_381_704, 8997.38e6, 79.9, "g_ghost_regnetx_160"))
def g_ghost_regnetx_160(**kwargs):
    """G-Ghost RegNetX-16GF."""
    return GGhostRegNet((2, 6, 13, 1), (256, 512, 896, 2048), 128, **kwargs)


@register(_card(62_815_448, 17157.78e6))
def g_ghost_regnetx_320(**kwargs):
    """G-Ghost RegNetX-32GF."""
    return GGhostRegNet((2, 7, 13, 1), (336, 672, 1344, 2520), 168, **kwargs)
