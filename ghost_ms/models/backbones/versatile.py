"""Learning Versatile Filters for Efficient Convolutional Neural Networks (NeurIPS 2018; extended in TPAMI 2021).

Source of VGG-16: huawei-noah/Efficient-AI-Backbones, versatile_filters/vcnn.py, which released no weights. Its
ResNet-50 appears in the README's table only; here the 7x7 and 3x3 convolutions are replaced as VGG's are, which gives
the size and cost of that table's Versatile-v1. Differences: an input of another size than 224 is averaged to VGG's 7x7
map as torchvision does, and the layer crops both axes of its input by their own extents.
"""
from typing import List, Optional

from mindspore import Tensor, nn
from mindspore.common.initializer import Normal

from ghost_ms.layers import AdaptiveAveragePool, VConv2d
from ghost_ms.models.backbones.resnet import Bottleneck, ResNet50, conv_norm
from ghost_ms.models.backbones.vgg import VggBackbone
from ghost_ms.models.registry import ModelCard, register

#: VGG-16 (configuration D): channels of the convolutions between the pools.
ROWS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HIDDEN, MAP_SIZE = 4096, 7


class VersatileVgg(VggBackbone):
    """VGG-16 of versatile convolutions, the first fully connected layer included.

    Args:
        norm: whether BatchNorm follows each convolution.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout after both hidden layers.
        drop_path_rate: taken as every network takes it; without residual branches there is nothing to drop.
    """

    classifier_cells, head_parts = ("classifier.5",), ("fc6", "classifier")

    def __init__(self, norm: bool = False, num_classes: int = 1000, in_channels: int = 3, drop_rate: float = 0.5,
                 drop_path_rate: float = 0.0):
        def unit(channels: int, out: int, _: int) -> List[nn.Cell]:
            return [VConv2d(channels, out, 3)] + ([nn.BatchNorm2d(out)] if norm else []) + [nn.ReLU()]

        super().__init__(ROWS, in_channels, unit)
        self.pool = AdaptiveAveragePool(MAP_SIZE)
        self.fc6 = VConv2d(self.num_features, HIDDEN, MAP_SIZE, padding=0)
        self.classifier = nn.SequentialCell(nn.ReLU(), nn.Dropout(p=drop_rate), _dense(HIDDEN, HIDDEN), nn.ReLU(),
                                            nn.Dropout(p=drop_rate), _dense(HIDDEN, num_classes))

    def forward_head(self, x: Tensor) -> Tensor:
        return self.classifier(self.fc6(self.pool(x)).flatten(start_dim=1))

    def new_classifier(self, num_classes: int) -> None:
        self.classifier[5] = _dense(HIDDEN, num_classes)
        self.rename_parameters()


def _dense(channels: int, out: int) -> nn.Dense:
    return nn.Dense(channels, out, weight_init=Normal(0.01), bias_init="zeros")


def _unit(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1):
    """(versatile convolution, its BatchNorm); a 1x1 convolution has one size only and stays what it is."""
    if kernel_size == 1 or groups != 1:
        return conv_norm(in_channels, out_channels, kernel_size, stride, groups)
    return _stem(in_channels, out_channels, kernel_size, stride), nn.BatchNorm2d(out_channels)


def _stem(in_channels: int, out_channels: int, kernel_size: int, stride: int) -> VConv2d:
    return VConv2d(in_channels, out_channels, kernel_size, stride, bias=False)


class VersatileBottleneck(Bottleneck):
    """The bottleneck with a versatile 3x3 convolution."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, unit=_unit, **kwargs)


class VersatileResNet50(ResNet50):
    """ResNet-50 with a versatile stem and versatile 3x3 convolutions; arguments as of `ResNet50`."""

    # Its 3x3 convolutions share filters among kernel sizes.
    atrous = None

    def __init__(self, **kwargs):
        super().__init__(block=VersatileBottleneck, stem=_stem, **kwargs)


def _card(params: int, macs: float, notes: str, top1: Optional[float] = None,
          top5: Optional[float] = None) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, top5=top5,
                     source=None if top1 is None else "authors' repository",
                     paper="Learning Versatile Filters, NeurIPS 2018 (TPAMI 2021)", notes=notes)


@register(_card(53_931_976, 8590.82e6, "No weights were released.", 72.2, 91.1))
def versatile_vgg16(**kwargs):
    """VGG-16 of spatial versatile filters."""
    return VersatileVgg(**kwargs)


@register(_card(53_940_424, 8590.82e6, "No weights were released."))
def versatile_vgg16_bn(**kwargs):
    """VGG-16 of spatial versatile filters with BatchNorm."""
    return VersatileVgg(norm=True, **kwargs)


@register(_card(19_891_352, 3199.66e6,
                "No public code or weights define this network; its figures are counted here. They agree with "
                "Versatile-v1-ResNet50 of the authors' README (75.6 MB, 3.2B)."))
def versatile_resnet50(**kwargs):
    """ResNet-50 of spatial versatile filters."""
    return VersatileResNet50(**kwargs)
