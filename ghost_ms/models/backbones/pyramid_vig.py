"""Pyramid ViG, the Vision GNN in four resolutions (NeurIPS 2022, arXiv 2206.00272).

Source of the released network: huawei-noah/Efficient-AI-Backbones, vig_pytorch/pyramid_vig.py (Apache-2.0).
Differences: any input size. The position tables then are those of the published size, resampled over rows and columns
of the grids (the public code would resample the flattened table, which mixes the rows, and fails before it gets there).
"""
from typing import Sequence, Tuple

import numpy as np
from mindspore import Tensor, nn

from ghost_ms.layers import GraphFeedForward, Grapher, conv2d, drop_path_rates, resize_table
from ghost_ms.layers.position import bicubic_matrix
from ghost_ms.models.backbone import FeatureInfo
from ghost_ms.models.backbones.vig import Stem, VisionGraphNet
from ghost_ms.models.registry import HALF_MEAN, HALF_STD, ModelCard, register

#: Side of the published map and reduction of the neighbours' map, a stage.
STAGES = ((56, 4), (28, 2), (14, 1), (7, 1))
K = 9
#: Largest dilation that the 49 nodes of the last published map allow.
MAX_DILATION = 49 // K


def sincos_positions(channels: int, side: int) -> np.ndarray:
    """Sine-cosine embedding of a square grid, float64 (channels, side, side).

    The first half of the channels comes from the column, the second from the row; each half is sines, then cosines.
    """
    quarter = channels // 4
    angles = np.outer(10000.0 ** (-np.arange(quarter) / quarter), np.arange(side))
    axis = np.concatenate((np.sin(angles), np.cos(angles)))
    shape = (2 * quarter, side, side)
    return np.concatenate((np.broadcast_to(axis[:, None, :], shape), np.broadcast_to(axis[:, :, None], shape)))


def relative_positions(channels: int, side: int, pool: int, grid: Tuple[int, int]) -> np.ndarray:
    """What is added to the distances between a map's nodes and the pooled map's: float32 (nodes, pooled nodes).

    For the published `side` it is -2 P P^T / C, its second axis resampled bicubically to (side / pool)^2 entries.
    For another `grid`, that table's four spatial axes are resampled, too; as it is a product, each factor is.
    """
    nodes = sincos_positions(channels, side)
    small = side // pool
    pooled = nodes.reshape(channels, -1) @ bicubic_matrix(side * side, small * small).T
    nodes = resize_table(nodes, grid)
    pooled = resize_table(pooled.reshape(channels, small, small), (grid[0] // pool, grid[1] // pool))
    table = nodes.reshape(channels, -1).T @ pooled.reshape(channels, -1)
    return (-2 * table / channels).astype(np.float32)


class Downsample(nn.Cell):
    """3x3 convolution of stride 2 and BatchNorm: (B, C, H, W) -> (B, out_channels, H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.SequentialCell(conv2d(in_channels, out_channels, 3, 2, bias=True), nn.BatchNorm2d(out_channels))

    def construct(self, x: Tensor) -> Tensor:
        return self.conv(x)


class PyramidViG(VisionGraphNet):
    """Pyramid ViG (section 3.3).

    Args:
        channels, depths: width and number of blocks of the four stages.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout before the classifier.
        drop_path_rate: of the last block, rising linearly from 0 at the first.
        input_size: (height, width) of the images.
    """

    def __init__(self, channels: Sequence[int], depths: Sequence[int], num_classes: int = 1000, in_channels: int = 3,
                 drop_rate: float = 0.0, drop_path_rate: float = 0.0, input_size: Tuple[int, int] = (224, 224)):
        if len(channels) != len(depths) or len(depths) > len(STAGES):
            raise ValueError(f"channels {tuple(channels)} and depths {tuple(depths)} must be those of the same stages, "
                             f"at most {len(STAGES)}")
        first = channels[0]
        stem = Stem(in_channels, (first // 2, first, first), (2, 2, 1))
        rates = drop_path_rates(drop_path_rate, sum(depths))
        blocks, info, index = [], [], 0
        for stage, (width, depth, (side, pool)) in enumerate(zip(channels, depths, STAGES)):
            stride = 4 << stage
            grid = tuple(-(-extent // stride) for extent in input_size)
            if stage > 0:
                blocks.append(Downsample(channels[stage - 1], width))
            table = relative_positions(width, side, pool, grid)
            for _ in range(depth):
                dilation = min(index // 4 + 1, MAX_DILATION)
                blocks.append(nn.SequentialCell(Grapher(width, grid, K, dilation, pool, table, rates[index]),
                                                GraphFeedForward(width, drop_path=rates[index])))
                index += 1
            info.append(FeatureInfo(width, stride, f"backbone.{len(blocks) - 1}"))
        super().__init__(stem, tuple(-(-extent // 4) for extent in input_size), first, blocks, info, num_classes,
                         drop_rate)
        self.published_size = tuple(input_size) == (224, 224)

    def adapt_torch_weight(self, name: str, value: np.ndarray) -> np.ndarray:
        if name.endswith(".relative_pos") and not self.published_size:
            # Frozen and made by one rule, the released table says nothing that the network's own does not.
            return self.parameters_dict()[name].asnumpy()
        return super().adapt_torch_weight(name, value)


def _card(params: int, frozen: int, macs: float, top1: float, weights: str, crop_ratio: float = 0.9,
          **more) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, source="authors' repository", mean=HALF_MEAN, std=HALF_STD,
                     crop_ratio=crop_ratio, interpolation="bicubic", paper="2206.00272", weights=weights, sized=True,
                     notes=f"Weight files carry {frozen} frozen values of relative positions beside the parameters.",
                     **more)


@register(_card(10_714_376, 1_771_938, 1699.64e6, 78.5, "pvig_ti"))
def pvig_ti(**kwargs):
    """Pyramid ViG-Ti."""
    return PyramidViG((48, 96, 240, 384), (2, 2, 6, 2), **kwargs)


@register(_card(27_251_912, 1_771_938, 4548.06e6, 82.1, "pvig_s"))
def pvig_s(**kwargs):
    """Pyramid ViG-S."""
    return PyramidViG((80, 160, 400, 640), (2, 2, 6, 2), **kwargs)


@register(_card(49_525_832, 2_156_098, 8845.10e6, 83.1, "pvig_m", tags={
    "in21k": {"weights": "pvig_m.in21k", "top1": None, "source": None,
              "notes": "Pretrained on ImageNet-21K; its classifier has other classes: give num_classes."}}))
def pvig_m(**kwargs):
    """Pyramid ViG-M."""
    return PyramidViG((96, 192, 384, 768), (2, 2, 16, 2), **kwargs)


@register(_card(92_980_328, 2_232_930, 16803.51e6, 83.7, "pvig_b", crop_ratio=0.95))
def pvig_b(**kwargs):
    """Pyramid ViG-B."""
    return PyramidViG((128, 256, 512, 1024), (2, 2, 18, 2), **kwargs)
