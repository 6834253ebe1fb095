"""The stack of VGG (ICLR 2015, arXiv 1409.1556) that LegoNet and versatile filters replace the convolutions of."""
from typing import Callable, List, Tuple

from mindspore import Tensor, nn

from ghost_ms.models.backbone import Backbone, FeatureInfo, Layers

Rows = Tuple[Tuple[int, ...], ...]


class VggBackbone(Backbone):
    """Convolutions in groups, each group followed by a 2x2 maximum; the heads differ from network to network.

    Args:
        rows: channels of the convolutions of each group.
        in_channels: channels of the images.
        unit: makes the cells of one convolution of (in, out, position in the network): itself, its norm if any, its
            activation.
    """

    #: what follows the last pool, and has parameters.
    head_parts: Tuple[str, ...] = ("classifier",)

    def __init__(self, rows: Rows, in_channels: int, unit: Callable[[int, int, int], List[nn.Cell]]):
        super().__init__()
        cells: List[nn.Cell] = []
        info, starts, channels = [], [], in_channels
        for index, row in enumerate(rows):
            for out in row:
                starts.append(len(cells))
                cells += unit(channels, out, len(starts) - 1)
                channels = out
            info.append(FeatureInfo(channels, 2 ** (index + 1), f"features.{len(cells)}"))
            cells.append(nn.MaxPool2d(2, 2))
        self.features = nn.SequentialCell(*cells)
        self.feature_info = tuple(info)
        self.num_features = channels
        self.units = tuple(zip(starts, starts[1:] + [len(cells)]))
        self.taps = tuple(int(tap.name.rpartition(".")[2]) for tap in info)

    def layer_parts(self) -> Layers:
        units = [tuple(f"features.{index}" for index in range(start, end)) for start, end in self.units]
        return (*units, self.head_parts)

    def forward_stages(self, x: Tensor) -> Tuple[Tensor, ...]:
        maps = []
        for index in range(len(self.features)):
            x = self.features[index](x)
            if index in self.taps:
                maps.append(x)
        return tuple(maps)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.features(x)
