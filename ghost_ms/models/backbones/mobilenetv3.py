"""Searching for MobileNetV3 (ICCV 2019, arXiv 1905.02244).

Source: timm's `mobilenetv3_large_100` and `mobilenetv3_small_100` (Apache-2.0), whose names and BatchNorm epsilon
(1e-5) these networks have. Differences: none.
"""
from typing import Sequence, Tuple

from mindspore import Tensor, nn

from ghost_ms.layers import (ConvBnAct, DepthwiseSeparable, InvertedResidual, SqueezeExcite, conv2d, drop_path_rates,
                             make_divisible)
from ghost_ms.models.backbone import FeatureInfo, MobileBackbone, check_taps
from ghost_ms.models.registry import ModelCard, register

RE, HS = nn.ReLU, nn.HSwish

#: Table 1 of the paper: stages of blocks, each (kernel, expansion, out, squeeze-excite, activation, stride).
LARGE = (
    ((3, 16, 16, False, RE, 1),),
    ((3, 64, 24, False, RE, 2), (3, 72, 24, False, RE, 1)),
    ((5, 72, 40, True, RE, 2), (5, 120, 40, True, RE, 1), (5, 120, 40, True, RE, 1)),
    ((3, 240, 80, False, HS, 2), (3, 200, 80, False, HS, 1), (3, 184, 80, False, HS, 1), (3, 184, 80, False, HS, 1)),
    ((3, 480, 112, True, HS, 1), (3, 672, 112, True, HS, 1)),
    ((5, 672, 160, True, HS, 2), (5, 960, 160, True, HS, 1), (5, 960, 160, True, HS, 1)),
)
#: Table 2 of the paper.
SMALL = (
    ((3, 16, 16, True, RE, 2),),
    ((3, 72, 24, False, RE, 2), (3, 88, 24, False, RE, 1)),
    ((5, 96, 40, True, HS, 2), (5, 240, 40, True, HS, 1), (5, 240, 40, True, HS, 1)),
    ((5, 120, 48, True, HS, 1), (5, 144, 48, True, HS, 1)),
    ((5, 288, 96, True, HS, 2), (5, 576, 96, True, HS, 1), (5, 576, 96, True, HS, 1)),
)
STEM = 16


class MobileNetV3(MobileBackbone):
    """MobileNetV3 (tables 1 and 2).

    Args:
        stages: `LARGE` or `SMALL`.
        taps: indices of the stages that give the maps of strides 2 to 32; -1 is the stem.
        head: channels of the convolution between pooling and classifier.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout before the classifier.
        drop_path_rate: of the last block, rising linearly from 0 at the first.
    """

    atrous = "advance"

    def __init__(self, stages: Sequence, taps: Tuple[int, ...], head: int, num_classes: int = 1000,
                 in_channels: int = 3, drop_rate: float = 0.2, drop_path_rate: float = 0.0):
        super().__init__()
        self.taps = check_taps(taps, len(stages), first=-1)
        self.conv_stem = conv2d(in_channels, STEM, 3, 2)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.act1 = nn.HSwish()
        channels, total_stride = STEM, 2
        rates = iter(drop_path_rates(drop_path_rate, sum(len(rows) for rows in stages)))
        cells, info = [], [FeatureInfo(STEM, 2, "act1")] if -1 in taps else []
        for index, rows in enumerate(stages):
            blocks = []
            for kernel, hidden, out, gated, act, stride in rows:
                se = SqueezeExcite(hidden, make_divisible(hidden / 4, 8)) if gated else None
                options = dict(se=se, act=act, drop_path=next(rates))
                # Table 1's first row expands to its own input, so the expansion is left out.
                blocks.append(DepthwiseSeparable(channels, out, kernel, stride, **options) if index == 0 else
                              InvertedResidual(channels, hidden, out, kernel, stride, **options))
                channels, total_stride = out, total_stride * stride
            cells.append(nn.SequentialCell(*blocks))
            if index in taps:
                info.append(FeatureInfo(channels, total_stride, f"blocks.{index}"))
        self.feature_info = tuple(info)
        self.num_features = stages[-1][-1][1]
        cells.append(nn.SequentialCell(ConvBnAct(channels, self.num_features, nn.HSwish)))
        self.blocks = nn.SequentialCell(*cells)
        self.conv_head = conv2d(self.num_features, head, bias=True)
        self.act2 = nn.HSwish()
        self.dropout = nn.Dropout(p=drop_rate)
        self.classifier = nn.Dense(head, num_classes)

    def torchvision_names(self) -> Tuple[Tuple[str, str], ...]:
        """Blocks are counted through all stages, and their cells by their place."""
        found, place = [("conv_stem", "0.0"), ("bn1", "0.1")], 0
        for stage in range(len(self.blocks) - 1):
            for index, block in enumerate(self.blocks[stage]):
                place += 1
                ours, last = f"blocks.{stage}.{index}", len(block.folds) - 1
                gated = isinstance(block.se, SqueezeExcite)
                for number, (conv, norm) in enumerate(block.folds):
                    # The gate stands before the projection.
                    at = f"{place}.block.{number + (gated and number == last)}"
                    found += [(f"{ours}.{conv}", f"{at}.0"), (f"{ours}.{norm}", f"{at}.1")]
                if gated:
                    found += [(f"{ours}.se.conv_reduce", f"{place}.block.{last}.fc1"),
                              (f"{ours}.se.conv_expand", f"{place}.block.{last}.fc2")]
        last = f"blocks.{len(self.blocks) - 1}.0"
        return tuple(found) + ((f"{last}.conv", f"{place + 1}.0"), (f"{last}.bn1", f"{place + 1}.1"))


    def expanded_channels(self) -> Tuple[int, int]:
        """Channels of the maps of `forward_expanded`."""
        return self.blocks[len(self.blocks) - 2][0].conv_pw.out_channels, self.num_features

    def forward_expanded(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        """The maps that torchvision's SSDLite takes: of stride 16, inside the first block of the last stage after its
        expansion; and the last, of stride 32."""
        x = self.act1(self.bn1(self.conv_stem(x)))
        last = len(self.blocks) - 2
        for index in range(last):
            x = self.blocks[index](x)
        expanded = self.blocks[last][0].expand(x)
        x = self.blocks[last][0].project(expanded)
        for place in range(1, len(self.blocks[last])):
            x = self.blocks[last][place](x)
        return expanded, self.blocks[last + 1](x)

    def ssdlite_names(self) -> Tuple[Tuple[str, str], ...]:
        """(pattern, replacement) from torchvision's names in a segmenter to those in its SSDLite, where the backbone is
        cut in two at the expansion of `forward_expanded`."""
        cut = 1 + sum(len(self.blocks[stage]) for stage in range(len(self.blocks) - 2))
        whole = sum(len(self.blocks[stage]) for stage in range(len(self.blocks) - 1)) + 1
        rest = tuple((rf"^backbone[.]{place}[.]", f"backbone.features.1.{place - cut}.")
                     for place in range(cut + 1, whole + 1))
        return (*rest, (rf"^backbone[.]{cut}[.]block[.]0[.]", f"backbone.features.0.{cut}."),
                (rf"^backbone[.]{cut}[.]block[.]", "backbone.features.1.0."),
                (r"^backbone[.](\d+)[.]", r"backbone.features.0.\1."))


#: `LARGE` with half the channels in the last stage, as MobileNetV3's detectors have it (section 6.3).
REDUCED = (*LARGE[:-1], tuple((kernel, hidden if place == 0 else hidden // 2, out // 2, *rest)
                              for place, (kernel, hidden, out, *rest) in enumerate(LARGE[-1])))


@register(ModelCard(params=5_483_032, macs=216.59e6, top1=75.784, top5=92.528, source="timm results table",
                    interpolation="bicubic", paper="1905.02244", weights="mobilenetv3_large_100"))
def mobilenetv3_large_100(reduced_tail: bool = False, **kwargs):
    """MobileNetV3 Large 1.0x; `reduced_tail` halves the channels of the last stage, for detectors."""
    return MobileNetV3(REDUCED if reduced_tail else LARGE, (0, 1, 2, 4, 5), 1280, **kwargs)


@register(ModelCard(params=2_542_856, macs=56.51e6, top1=67.636, top5=87.638, source="timm results table",
                    interpolation="bicubic", paper="1905.02244", weights="mobilenetv3_small_100"))
def mobilenetv3_small_100(**kwargs):
    """MobileNetV3 Small 1.0x."""
    return MobileNetV3(SMALL, (-1, 0, 1, 3, 4), 1024, **kwargs)
