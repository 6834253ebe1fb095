"""ViG, the isotropic Vision GNN: An Image is Worth Graph of Nodes (NeurIPS 2022, arXiv 2206.00272).

Source of the released network: huawei-noah/Efficient-AI-Backbones, vig_pytorch/vig.py and gcn_lib (Apache-2.0).
Differences: any input size (the position table is resampled; on few nodes the dilation shrinks, then the neighbours).
"""
from typing import Sequence, Tuple

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn
from mindspore.common.initializer import HeNormal, initializer

from ghost_ms.layers import GraphFeedForward, Grapher, conv2d, drop_path_rates, gelu, resize_table
from ghost_ms.models.backbone import Backbone, FeatureInfo, Layers, check_taps
from ghost_ms.models.registry import HALF_MEAN, HALF_STD, ModelCard, register

#: Neighbours of the first and of the last block; those between rise linearly, cut to integers.
FIRST_K, LAST_K = 9, 18


def initialize(net: nn.Cell) -> None:
    """Kaiming normal weights (fan-in, gain sqrt 2) and zero biases for every convolution, as released."""
    for _, cell in net.cells_and_names():
        if isinstance(cell, nn.Conv2d):
            cell.weight.set_data(initializer(HeNormal(), cell.weight.shape, cell.weight.dtype))
            cell.bias.set_data(initializer("zeros", cell.bias.shape, cell.bias.dtype))


class Stem(nn.Cell):
    """3x3 convolutions with BatchNorm, GELU between them: (B, in_channels, H, W) -> (B, C, H / s, W / s)."""

    def __init__(self, in_channels: int, widths: Sequence[int], strides: Sequence[int]):
        super().__init__()
        cells = []
        for width, stride in zip(widths, strides):
            cells += [conv2d(in_channels, width, 3, stride, bias=True), nn.BatchNorm2d(width), gelu()]
            in_channels = width
        self.convs = nn.SequentialCell(*cells[:-1])

    def construct(self, x: Tensor) -> Tensor:
        return self.convs(x)


class VisionGraphNet(Backbone):
    """What ViG and Pyramid ViG share: stem, position table, a flat sequence of blocks, classifier.

    Args:
        stem: cell from images to the first map.
        grid: (height, width) of that map.
        blocks: cells of the sequence.
        feature_info: taps; the last name of each, `backbone.N`, gives the block that it follows.
    """

    classifier_cells = ("prediction.4",)

    def __init__(self, stem: nn.Cell, grid: Tuple[int, int], channels: int, blocks: Sequence[nn.Cell],
                 feature_info: Sequence[FeatureInfo], num_classes: int, drop_rate: float):
        super().__init__()
        self.feature_info = tuple(feature_info)
        self.num_features = self.feature_info[-1].channels
        self.taps = check_taps([int(info.name.rsplit(".", 1)[-1]) for info in self.feature_info], len(blocks))
        self.pos_embed = Parameter(Tensor(np.zeros((1, channels) + tuple(grid)), ms.float32), name="pos_embed")
        self.stem = stem
        self.backbone = nn.SequentialCell(*blocks)
        self.prediction = nn.SequentialCell(
            conv2d(self.num_features, 1024, bias=True), nn.BatchNorm2d(1024), gelu(), nn.Dropout(p=drop_rate),
            conv2d(1024, num_classes, bias=True))
        initialize(self)

    def layer_parts(self) -> Layers:
        """A block is a sequence; a cell between two blocks, a downsampling, belongs to the one that it leads into."""
        layers, before = [("pos_embed", "stem")], ()
        for index, cell in enumerate(self.backbone):
            before += (f"backbone.{index}",)
            if isinstance(cell, nn.SequentialCell):
                layers.append(before)
                before = ()
        return (*layers, ("prediction",))

    def _first_map(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if x.shape[2:] != self.pos_embed.shape[2:]:
            raise ValueError("the images do not have the size that the network was built for; build it with input_size")
        return x + self.pos_embed

    def forward_stages(self, x: Tensor) -> Tuple[Tensor, ...]:
        x = self._first_map(x)
        maps = []
        for index in range(len(self.backbone)):
            x = self.backbone[index](x)
            if index in self.taps:
                maps.append(x)
        return tuple(maps)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.backbone(self._first_map(x))

    def forward_head(self, x: Tensor) -> Tensor:
        return self.prediction(x.mean((2, 3), keep_dims=True)).flatten(start_dim=1)

    def new_classifier(self, num_classes: int) -> None:
        classifier = nn.SequentialCell(conv2d(1024, num_classes, bias=True))
        initialize(classifier)
        self.prediction[4] = classifier[0]
        self.rename_parameters()

    def adapt_torch_weight(self, name: str, value: np.ndarray) -> np.ndarray:
        return resize_table(value, self.pos_embed.shape[2:]) if name == "pos_embed" else value


class ViG(VisionGraphNet):
    """Isotropic ViG (section 3.3): every block sees the stride-16 map.

    Args:
        channels: width of all blocks.
        depth: number of blocks, each a Grapher and a feed-forward network.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout before the classifier.
        drop_path_rate: of the last block, rising linearly from 0 at the first.
        input_size: (height, width) of the images.
    """

    def __init__(self, channels: int, depth: int, num_classes: int = 1000, in_channels: int = 3,
                 drop_rate: float = 0.0, drop_path_rate: float = 0.0, input_size: Tuple[int, int] = (224, 224)):
        if depth < 4:
            raise ValueError(f"depth is {depth}, but a ViG has 4 blocks at least: its taps end its quarters")
        stem = Stem(in_channels, [channels // 8, channels // 4, channels // 2, channels, channels], (2, 2, 2, 2, 1))
        grid = tuple(-(-extent // 16) for extent in input_size)
        rates = drop_path_rates(drop_path_rate, depth)
        neighbours = np.linspace(FIRST_K, LAST_K, depth).astype(int).tolist()
        blocks = [nn.SequentialCell(
            # 196 nodes of the published size, so that weights see the same dilations on every larger map.
            Grapher(channels, grid, k, min(index // 4 + 1, 196 // LAST_K), drop_path=rate),
            GraphFeedForward(channels, drop_path=rate)) for index, (k, rate) in enumerate(zip(neighbours, rates))]
        info = [FeatureInfo(channels, 16, f"backbone.{depth * quarter // 4 - 1}") for quarter in range(1, 5)]
        super().__init__(stem, grid, channels, blocks, info, num_classes, drop_rate)


def _card(params: int, macs: float, top1: float, weights: str, reached: float) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, source="authors' repository", mean=HALF_MEAN, std=HALF_STD,
                     crop_ratio=0.9, interpolation="bicubic", paper="2206.00272", weights=weights, sized=True,
                     notes=f"The released file is named after the {reached} % top-1 that it reaches.")


@register(_card(7_184_744, 1300.88e6, 73.9, "vig_ti", 74.5))
def vig_ti(**kwargs):
    """ViG-Ti."""
    return ViG(192, 12, **kwargs)


@register(_card(22_747_752, 4516.69e6, 80.4, "vig_s", 80.6))
def vig_s(**kwargs):
    """ViG-S."""
    return ViG(320, 16, **kwargs)


@register(_card(86_841_832, 17642.56e6, 82.3, "vig_b", 82.6))
def vig_b(**kwargs):
    """ViG-B."""
    return ViG(640, 16, **kwargs)
