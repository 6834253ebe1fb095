"""SNN-MLP: Brain-inspired Multilayer Perceptron with Spiking Neurons (CVPR 2022, arXiv 2203.14679).

Source of the released networks: huawei-noah/Efficient-AI-Backbones, snnmlp_pytorch/models/snn_mlp.py (Apache-2.0).
Differences: the neurons need no CUDA and are on by default (the public hub models run without them in silence), and
maps of odd height or width are padded with zeros at the bottom and right before patches merge.
"""
from typing import Tuple

from mindspore import Tensor, nn, ops

from ghost_ms.layers import (LeakyIntegrateFire, OverlapPatchEmbed, SingleGroupNorm, conv2d, depthwise_conv2d,
                             drop_path_rates, gelu)
from ghost_ms.models.backbone import FeatureInfo, Layers, layers_of, led_into
from ghost_ms.models.backbones.mlp_pyramid import MlpBackbone, MlpBlock
from ghost_ms.models.registry import ModelCard, register


class LifModule(nn.Cell):
    """Token mixing by LIF neurons (the LIF module of the paper): (B, channels, H, W) -> same shape.

    Vertical and horizontal neurons read the same map; their groups are `length` positions long.
    """

    def __init__(self, channels: int, length: int):
        super().__init__()
        self.conv1 = conv2d(channels, channels, bias=True)
        self.conv2_1 = conv2d(channels, channels, bias=True)
        self.conv2_2 = conv2d(channels, channels, bias=True)
        self.conv3 = conv2d(channels, channels, bias=True)
        self.act = gelu()
        self.norm1 = SingleGroupNorm(channels)
        self.norm2 = SingleGroupNorm(channels)
        self.norm3 = SingleGroupNorm(channels)
        self.lif1 = LeakyIntegrateFire(2, length)
        self.lif2 = LeakyIntegrateFire(3, length)
        self.dw1 = depthwise_conv2d(channels, 3, bias=True)

    def construct(self, x: Tensor) -> Tensor:
        x = self.act(self.norm1(self.conv1(x)))
        x = self.act(self.norm2(self.dw1(x)))
        vertical = self.act(self.conv2_1(self.lif1(x)))
        horizontal = self.act(self.conv2_2(self.lif2(x)))
        return self.conv3(self.norm3(vertical + horizontal))


class PatchMerging(nn.Cell):
    """Join 2x2 patches and halve their channels: (B, channels, H, W) -> (B, 2 * channels, H / 2, W / 2).

    The four patches follow each other along the channels, down the first column and then the second.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.norm = SingleGroupNorm(4 * channels)
        self.reduction = conv2d(4 * channels, 2 * channels)

    def construct(self, x: Tensor) -> Tensor:
        odd_row, odd_column = x.shape[2] % 2, x.shape[3] % 2
        if odd_row + odd_column > 0:
            x = ops.Pad(((0, 0), (0, 0), (0, odd_row), (0, odd_column)))(x)
        rows, columns = x.shape[2] // 2, x.shape[3] // 2
        x = x.reshape(-1, self.channels, rows, 2, columns, 2).transpose(0, 5, 3, 1, 2, 4)
        return self.reduction(self.norm(x.reshape(-1, 4 * self.channels, rows, columns)))


class Stage(nn.Cell):
    """Blocks at one resolution, and the merging behind them where `merge` is set."""

    def __init__(self, channels: int, rates: list, length: int, merge: bool):
        super().__init__()
        self.blocks = nn.SequentialCell(*[
            MlpBlock(channels, LifModule(channels, length), SingleGroupNorm, 4, rate) for rate in rates])
        self.downsample = PatchMerging(channels) if merge else nn.Identity()

    def construct(self, x: Tensor) -> Tensor:
        return self.downsample(self.blocks(x))


class SnnMlp(MlpBackbone):
    """SNN-MLP, the pyramid of the paper.

    Args:
        width: channels of the first stage; each later one has twice as many.
        depths: blocks of the four stages.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout before the classifier.
        drop_path_rate: of the last block, rising linearly from 0 (published: 0.2, 0.3, 0.5 for T, S, B).
        lif_length: positions of a group of LIF neurons.
    """

    torch_renames = ((r"\.attn\.", ".lif_module."),)
    #: The paper trains the neurons' scalars with an optimizer of their own: learning rate 1e-4, no weight decay.
    parameter_groups = (("lif", r"\.lif[12]\.(tau|Vth)$"),)

    def __init__(self, width: int, depths: Tuple[int, ...], num_classes: int = 1000, in_channels: int = 3,
                 drop_rate: float = 0.0, drop_path_rate: float = 0.0, lif_length: int = 4):
        super().__init__()
        self.patch_embed = OverlapPatchEmbed(in_channels, width, 4, 4, 0, SingleGroupNorm(width))
        rates = drop_path_rates(drop_path_rate, sum(depths))
        self.layers = nn.CellList([
            Stage(width << stage, rates[sum(depths[:stage]):sum(depths[:stage + 1])], lif_length,
                  merge=stage < len(depths) - 1) for stage in range(len(depths))])
        self.feature_info = tuple(FeatureInfo(width << stage, 4 << stage, f"layers.{stage}.blocks")
                                  for stage in range(len(depths)))
        self._finish(width << (len(depths) - 1), SingleGroupNorm, num_classes, drop_rate)

    def layer_parts(self) -> Layers:
        layers = [("patch_embed",)]
        for index, stage in enumerate(self.layers):
            before = (f"layers.{index - 1}.downsample",) if index else ()
            layers += led_into(layers_of(f"layers.{index}.blocks", stage.blocks), *before)
        return (*layers, ("norm", "head"))

    def forward_stages(self, x: Tensor) -> Tuple[Tensor, ...]:
        x = self.patch_embed(x)
        maps = []
        for stage in self.layers:
            maps.append(stage.blocks(x))
            x = stage.downsample(maps[-1])
        return tuple(maps)


def _card(params: int, macs: float, top1: float, weights: str) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, source="authors' repository", paper="2203.14679",
                     interpolation="bicubic", weights=weights,
                     notes="MACs exclude the LIF neurons, which have none by the usual count.")


@register(_card(28_335_736, 4363.30e6, 81.88, "snnmlp_t"))
def snnmlp_t(**kwargs):
    """SNN-MLP-T."""
    return SnnMlp(96, (2, 2, 6, 2), **kwargs)


@register(_card(49_703_080, 8533.22e6, 83.30, "snnmlp_s"))
def snnmlp_s(**kwargs):
    """SNN-MLP-S."""
    return SnnMlp(96, (2, 2, 18, 2), **kwargs)


@register(_card(87_897_288, 15154.08e6, 83.59, "snnmlp_b"))
def snnmlp_b(**kwargs):
    """SNN-MLP-B."""
    return SnnMlp(128, (2, 2, 18, 2), **kwargs)
