"""Ghost-ResNet50: GhostNet (CVPR 2020, arXiv 1911.11907), section on large models.

Every convolution of the bottlenecks and their shortcuts is a Ghost module; the 7x7 stem stays.
Source: huawei-noah/Efficient-AI-Backbones, ghostnet_pytorch/ghost_resnet.py (Apache-2.0), which released no weights.
Differences: there, each module holds a second set of weights and norms that its forward pass never reads, runs
without BatchNorm but with a bias, and a 7x7 pool ties the network to 224 pixels. Here both halves of a module end
in BatchNorm, nothing is allocated in vain, and the pool is a global mean. Hence the parameter names are those of
`GhostModule`, and the count is 0.2 % above that of the public code's active weights.
"""
import functools

from mindspore import nn

from ghost_ms.layers import GhostModule
from ghost_ms.models.backbones.resnet import Bottleneck, ResNet50
from ghost_ms.models.registry import ModelCard, register


def ghost_unit(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1,
               ratio: int = 2):
    """(Ghost module, nothing): the module holds its norms. ReLU follows it, once, over both halves."""
    if groups != 1:
        raise ValueError(f"a Ghost module's primary convolution has one group, not {groups}")
    return GhostModule(in_channels, out_channels, kernel_size, ratio, stride=stride, act=False), nn.Identity()


class GhostBottleneck(Bottleneck):
    """The bottleneck with Ghost modules of the given ratio (s in the paper) for convolutions."""

    folds = ()

    def __init__(self, *args, ratio: int = 2, **kwargs):
        super().__init__(*args, unit=functools.partial(ghost_unit, ratio=ratio), **kwargs)


class GhostResNet50(ResNet50):
    """ResNet-50 of Ghost modules (paper, table 6).

    Args:
        ratio: s, how many maps come of each that is convolved; d, the cheap kernel, is 3.
        kwargs: of `ResNet50`.
    """

    def __init__(self, ratio: int = 2, **kwargs):
        super().__init__(block=functools.partial(GhostBottleneck, ratio=ratio), **kwargs)


def _card(params: int, macs: float, top1: float, top5: float, published: str) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, top5=top5, source="GhostNet paper (unconfirmed)",
                     paper="1911.11907",
                     notes=f"No weights were released. The paper gives {published} parameters; the public code "
                           "allocates twice as many, leaves half of them unused and has no BatchNorm outside the stem, "
                           "where this network has one after each branch.")


@register(_card(13_953_512, 2151.02e6, 75.0, 92.3, "13M"))
def ghost_resnet50(**kwargs):
    """Ghost-ResNet50, s = 2."""
    return GhostResNet50(ratio=2, **kwargs)


@register(_card(8_151_752, 1181.94e6, 74.1, 91.9, "6.5M"))
def ghost_resnet50_s4(**kwargs):
    """Ghost-ResNet50, s = 4."""
    return GhostResNet50(ratio=4, **kwargs)
