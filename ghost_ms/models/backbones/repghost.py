"""RepGhost: A Hardware-Efficient Ghost Module via Re-parameterization (arXiv 2211.06088).

Source of the released networks: ChengpengChen/RepGhost, model/repghost.py (the names are timm's, repghostnet_100).
GhostNet without concatenation: modules compute all channels, add cheap features to them, and need half the expansion.
Differences: logits keep the batch axis of a single image, fused weights stay trainable, and `deploy=True` builds the
fused form at once.
"""
from mindspore import Tensor, nn

from ghost_ms.layers import conv2d, depthwise_conv2d, fuse_branches
from ghost_ms.layers.reparam import Branch
from ghost_ms.models.backbones.ghostnet import GhostBottleneck, GhostNet
from ghost_ms.models.registry import ModelCard, register

#: Table 2 of the paper: stages of blocks, each (kernel, expansion, out, squeeze-excite ratio, stride).
STAGES = (
    ((3, 8, 16, 0, 1),),
    ((3, 24, 24, 0, 2),),
    ((3, 36, 24, 0, 1),),
    ((5, 36, 40, 0.25, 2),),
    ((5, 60, 40, 0.25, 1),),
    ((3, 120, 80, 0, 2),),
    ((3, 100, 80, 0, 1), (3, 120, 80, 0, 1), (3, 120, 80, 0, 1), (3, 240, 112, 0.25, 1), (3, 336, 112, 0.25, 1)),
    ((5, 336, 160, 0.25, 2),),
    ((5, 480, 160, 0, 1), (5, 480, 160, 0.25, 1), (5, 480, 160, 0, 1), (5, 480, 160, 0.25, 1)),
)


class RepGhostModule(nn.Cell):
    """RepGhost module (section 3.2, figure 3): 1x1 convolution to x, then depthwise(x) + BatchNorm(x), then ReLU.

    (B, in_channels, H, W) -> (B, out_channels, H, W). `fuse()` makes the sum one depthwise convolution with bias.
    """

    def __init__(self, in_channels: int, out_channels: int, act: bool = True):
        super().__init__()
        relu = [nn.ReLU()] if act else []
        self.primary_conv = nn.SequentialCell(conv2d(in_channels, out_channels), nn.BatchNorm2d(out_channels), *relu)
        self.cheap_operation = nn.SequentialCell(depthwise_conv2d(out_channels, 3), nn.BatchNorm2d(out_channels))
        self.fusion_bn = nn.SequentialCell(nn.BatchNorm2d(out_channels))
        self.act = nn.ReLU() if act else nn.Identity()
        self.fused = False

    def construct(self, x: Tensor) -> Tensor:
        x = self.primary_conv(x)
        y = self.cheap_operation(x)
        return self.act(y if self.fused else y + self.fusion_bn(x))

    def fuse(self) -> "RepGhostModule":
        if not self.fused:
            self.cheap_operation = fuse_branches([Branch(*self.cheap_operation), Branch(None, self.fusion_bn[0])])
            del self.fusion_bn
            self.fused = True
        return self


class RepGhostNet(GhostNet):
    """RepGhostNet (table 2): arguments of `GhostNet`, and

    Args:
        deploy: build the fused form at once, for weights in the released deploy form.
    """

    stages = STAGES

    def __init__(self, width: float = 1.0, deploy: bool = False, **kwargs):
        super().__init__(width, **kwargs)
        if deploy:
            self.reparameterize()

    def make_block(self, index: int, *geometry) -> nn.Cell:
        return GhostBottleneck(*geometry, ghost1=RepGhostModule, ghost2=RepGhostModule)


def _card(params: int, deploy_params: int, macs: float, top1: float, top5: float, weights: str) -> ModelCard:
    return ModelCard(params=params, deploy_params=deploy_params, macs=macs, top1=top1, top5=top5,
                     source="RepGhost authors' repository", interpolation="bicubic", paper="2211.06088",
                     weights=weights)


@register(_card(2_313_968, 2_306_528, 43.31e6, 66.9, 86.9, "repghostnet_050"))
def repghostnet_050(**kwargs):
    """RepGhostNet 0.5x."""
    return RepGhostNet(width=0.5, **kwargs)


@register(_card(2_546_388, 2_537_736, 59.80e6, 68.9, 88.4, "repghostnet_058"))
def repghostnet_058(**kwargs):
    """RepGhostNet 0.58x."""
    return RepGhostNet(width=0.58, **kwargs)


@register(_card(3_278_968, 3_267_112, 95.52e6, 72.2, 90.5, "repghostnet_080"))
def repghostnet_080(**kwargs):
    """RepGhostNet 0.8x."""
    return RepGhostNet(width=0.8, **kwargs)


@register(_card(4_073_604, 4_058_772, 142.39e6, 74.2, 91.5, "repghostnet_100"))
def repghostnet_100(**kwargs):
    """RepGhostNet 1.0x."""
    return RepGhostNet(width=1.0, **kwargs)


@register(_card(4_539_984, 4_523_568, 170.12e6, 75.1, 92.2, "repghostnet_111"))
def repghostnet_111(**kwargs):
    """RepGhostNet 1.11x."""
    return RepGhostNet(width=1.11, **kwargs)


@register(_card(5_478_612, 5_459_316, 231.12e6, 76.4, 92.9, "repghostnet_130"))
def repghostnet_130(**kwargs):
    """RepGhostNet 1.3x."""
    return RepGhostNet(width=1.3, **kwargs)


@register(_card(6_575_336, 6_553_064, 301.32e6, 77.5, 93.5, "repghostnet_150"))
def repghostnet_150(**kwargs):
    """RepGhostNet 1.5x."""
    return RepGhostNet(width=1.5, **kwargs)


@register(_card(9_796_124, 9_766_460, 515.87e6, 78.8, 94.3, "repghostnet_200"))
def repghostnet_200(**kwargs):
    """RepGhostNet 2.0x."""
    return RepGhostNet(width=2.0, **kwargs)
