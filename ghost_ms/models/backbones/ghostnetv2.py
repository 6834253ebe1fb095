"""GhostNetV2: Enhance Cheap Operation with Long-Range Attention (NeurIPS 2022, arXiv 2211.12905).

Source of the released networks: huawei-noah/Efficient-AI-Backbones, ghostnetv2_pytorch/model/ghostnetv2_torch.py
(Apache-2.0). GhostNet whose expanding modules carry DFC attention from the third block on.
Differences: every argument has a default, and maps of any height and width are gated exactly.
"""
from typing import Optional

from mindspore import nn

from ghost_ms.layers import GhostModule, GhostModuleV2
from ghost_ms.models.backbones.ghostnet import GhostBottleneck, GhostNet
from ghost_ms.models.registry import ModelCard, register

#: The first blocks work on large maps, where the attention would cost more than it brings.
PLAIN_BLOCKS = 2


class GhostNetV2(GhostNet):
    """GhostNetV2 (section 4): arguments of `GhostNet`."""

    def make_block(self, index: int, *geometry) -> nn.Cell:
        return GhostBottleneck(*geometry, ghost1=GhostModule if index < PLAIN_BLOCKS else GhostModuleV2)


def _card(params: int, macs: float, top1: Optional[float] = None, top5: Optional[float] = None,
          source: Optional[str] = None, weights: Optional[str] = None) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, top5=top5, source=source, interpolation="bicubic",
                     paper="2211.12905", weights=weights)


@register(_card(2_857_836, 49.64e6))
def ghostnetv2_050(**kwargs):
    """GhostNetV2 0.5x."""
    return GhostNetV2(width=0.5, **kwargs)


@register(_card(6_156_908, 167.05e6, 75.3, 92.4, "GhostNetV2 paper; top-5 (unconfirmed)", "ghostnetv2_100"))
def ghostnetv2_100(**kwargs):
    """GhostNetV2 1.0x."""
    return GhostNetV2(width=1.0, **kwargs)


@register(_card(8_960_404, 269.32e6, 76.9, 93.4, "GhostNetV2 paper; top-5 (unconfirmed)", "ghostnetv2_130"))
def ghostnetv2_130(**kwargs):
    """GhostNetV2 1.3x."""
    return GhostNetV2(width=1.3, **kwargs)


@register(_card(12_392_698, 398.61e6, 77.8, 93.8, "GhostNetV2 paper; top-5 (unconfirmed)", "ghostnetv2_160"))
def ghostnetv2_160(**kwargs):
    """GhostNetV2 1.6x."""
    return GhostNetV2(width=1.6, **kwargs)
