"""GhostNetV3: Exploring the Training Strategies for Compact Models (arXiv 2404.11202).

Source of the released network: huawei-noah/Efficient-AI-Backbones, ghostnetv3_pytorch/ghostnetv3.py (Apache-2.0).
GhostNetV2 whose ghost modules and strided depthwise convolutions are sums of parallel branches while training;
`reparameterize()`, or `deploy=True`, gives the form that runs on a device.
Differences from that file: logits keep the batch axis of a single image, the dropout before the classifier is used,
any number of classes, an identity branch has the kernel and groups of its own sum, the stride of the scale branch
is that of its block, and fused weights stay trainable.
"""
from typing import Optional

from mindspore import nn

from ghost_ms.layers import GhostModuleV3, GhostModuleV3Dfc, ReparamConv2d
from ghost_ms.models.backbones.ghostnet import GhostBottleneck, GhostNet
from ghost_ms.models.backbones.ghostnetv2 import PLAIN_BLOCKS
from ghost_ms.models.registry import ModelCard, register


class GhostBottleneckV3(GhostBottleneck):
    """Ghost bottleneck whose modules and strided depthwise convolution are sums of branches."""

    folds = ()

    def __init__(self, in_channels: int, expansion: int, out_channels: int, kernel_size: int, stride: int, *rest,
                 ghost1=GhostModuleV3):
        super().__init__(in_channels, expansion, out_channels, kernel_size, stride, *rest, ghost1=ghost1,
                         ghost2=GhostModuleV3)
        if self.strided:
            self.conv_dw = ReparamConv2d(expansion, expansion, kernel_size, stride, groups=expansion)
            self.bn_dw = nn.Identity()


class GhostNetV3(GhostNet):
    """GhostNetV3 (section 3): arguments of `GhostNet`, and

    Args:
        deploy: build the fused form at once, for weights in the released deploy form.
    """

    torch_renames = ((r"\bprimary_conv\.0\.(conv|scale|skip)\b", r"primary_rpr_\1"),
                     (r"\bcheap_operation\.0\.(conv|scale|skip)\b", r"cheap_rpr_\1"),
                     (r"\bconv_dw\.(conv|scale)\b", r"dw_rpr_\1"))

    def __init__(self, width: float = 1.0, deploy: bool = False, **kwargs):
        super().__init__(width, **kwargs)
        if deploy:
            self.reparameterize()

    def make_block(self, index: int, *geometry) -> nn.Cell:
        return GhostBottleneckV3(*geometry, ghost1=GhostModuleV3 if index < PLAIN_BLOCKS else GhostModuleV3Dfc)


def _card(params: int, macs: float, deploy_params: int, deploy_macs: float, top1: float, source: str,
          weights: Optional[str] = None) -> ModelCard:
    return ModelCard(params=params, macs=macs, deploy_params=deploy_params, deploy_macs=deploy_macs, top1=top1,
                     source=source, interpolation="bicubic", paper="2404.11202", weights=weights,
                     notes="Published cost is that of the deploy form; train the other and call reparameterize().")


@register(_card(3_395_384, 117.53e6, 2_853_176, 49.64e6, 69.4, "GhostNetV3 paper (unconfirmed)"))
def ghostnetv3_050(**kwargs):
    """GhostNetV3 0.5x."""
    return GhostNetV3(width=0.5, **kwargs)


@register(_card(8_129_028, 404.13e6, 6_147_588, 167.05e6, 77.1, "GhostNetV3 paper", "ghostnetv3_100"))
def ghostnetv3_100(**kwargs):
    """GhostNetV3 1.0x."""
    return GhostNetV3(width=1.0, **kwargs)


@register(_card(12_217_720, 654.84e6, 8_948_296, 269.32e6, 79.1, "GhostNetV3 paper, abstract"))
def ghostnetv3_130(**kwargs):
    """GhostNetV3 1.3x."""
    return GhostNetV3(width=1.3, **kwargs)


@register(_card(17_275_700, 971.57e6, 12_377_778, 398.61e6, 80.4, "GhostNetV3 paper (unconfirmed)"))
def ghostnetv3_160(**kwargs):
    """GhostNetV3 1.6x."""
    return GhostNetV3(width=1.6, **kwargs)
