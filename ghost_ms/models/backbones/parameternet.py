"""ParameterNet: Parameters Are All You Need for Large-scale Visual Pretraining of Mobile Networks (CVPR 2024).

arXiv 2306.14525. Source: huawei-noah/Efficient-AI-Backbones, parameternet_pytorch/cv/parameternet.py (Apache-2.0); no
weights were released, and that code differs from the paper in places: this file follows the code.
Differences: `reset_classifier` takes the 1280 channels of the head, where the public one takes those before it; any
number of input channels is taken.
"""
from typing import List

from mindspore import nn

from ghost_ms.layers import DynamicConv2d, GhostModule, drop_path_rates
from ghost_ms.models.backbones.ghostnet import GhostBottleneck, GhostNet
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


class DynamicGhostModule(GhostModule):
    """Ghost module of dynamic convolutions: arguments and shapes of `GhostModule`."""

    activation = nn.HSwish

    def convolution(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1,
                    groups: int = 1) -> List[nn.Cell]:
        return [DynamicConv2d(in_channels, out_channels, kernel_size, stride, groups), nn.BatchNorm2d(out_channels)]


class DynamicGhostBottleneck(GhostBottleneck):
    """Ghost bottleneck of dynamic convolutions; the strided depthwise convolution and the gate stay plain."""

    convolution, activation = DynamicConv2d, nn.HSwish


class ParameterNet(GhostNet):
    """ParameterNet of GhostNet's topology (section 4.1): arguments of `GhostNet`.

    `drop_path_rate` is that of the blocks of the last stage, rising linearly over the stages from 0 at the first.
    """

    stages, convolution, activation = STAGES, DynamicConv2d, nn.HSwish

    def make_block(self, index: int, *geometry) -> nn.Cell:
        return DynamicGhostBottleneck(*geometry, ghost1=DynamicGhostModule, ghost2=DynamicGhostModule)

    def block_rates(self, drop_path_rate: float) -> List[float]:
        rates = drop_path_rates(drop_path_rate, len(self.stages))
        return [rate for rate, rows in zip(rates, self.stages) for _ in rows]


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
