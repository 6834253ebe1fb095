"""Object detectors of one stage: a backbone, maps of several strides, and a head that looks at every cell of them."""
from typing import Callable, Dict, NamedTuple, Sequence, Tuple

from mindspore import Tensor, nn

from ghost_ms.core.text import printable
from ghost_ms.layers import conv2d
from ghost_ms.layers.resize import resize_bilinear
from ghost_ms.models.anchors import map_size
from ghost_ms.models.backbone import Backbone
from ghost_ms.models.coders import BoxCoder, FCOSCoder, RetinaCoder, SSDCoder
from ghost_ms.models.dense import DenseNetwork
from ghost_ms.models.heads.retinanet import FCOSHead, RetinaNetHead, class_bias
from ghost_ms.models.heads.rows import draw_normal
from ghost_ms.models.heads.ssdlite import ExtraBlock, SSDLiteHead
from ghost_ms.models.necks.fpn import FPN, ConvolvedLevels

#: (pattern, replacement) of names of a detector on a feature pyramid, to torchvision's.
FPN_NAMES = ((r"^backbone[.]", "backbone.body."), (r"^neck[.]((?:inner|layer)_blocks[.]\d+)[.]", r"backbone.fpn.\1.0."),
             (r"^neck[.]extra[.]", "backbone.fpn.extra_blocks."))


class Detector(DenseNetwork):
    """Images (B, C, H, W) to the raw outputs that its `coder` reads: class logits (B, N, columns), box codes (B, N, 4)
    and, of FCOS, logits of the centreness (B, N, 1).

    Args:
        coder: of its outputs.
        strides: of the backbone's maps that it takes; a map that the backbone does not have is resampled bilinearly
            from the one of the nearest stride, the finer of two.
        spare: columns of the logits beside `num_classes`.
        dense: whether the last map is that of the backbone's `forward_dense`.
    """

    def __init__(self, backbone: Backbone, coder: BoxCoder, strides: Sequence[int], spare: int, dense: bool = False):
        super().__init__(backbone, dense)
        self.coder, self.dense, self.spare = coder, dense, spare
        self.wanted = tuple(strides)
        there = [info.stride for info in backbone.feature_info]
        nearest = [min(there, key=lambda own, one=one: (max(own, one) / min(own, one), own)) for one in strides]
        self.sources = tuple(len(there) - 1 - there[::-1].index(own) for own in nearest)
        self.channels = [backbone.feature_info[source].channels for source in self.sources]
        if dense:
            self.channels[-1] = backbone.dense_features

    @property
    def resampled(self) -> Dict[int, int]:
        """Strides of maps that the backbone does not have -> strides of those that they are resampled from."""
        there = [self.backbone.feature_info[source].stride for source in self.sources]
        return {wanted: own for wanted, own in zip(self.wanted, there) if wanted != own}

    def forward_maps(self, x: Tensor) -> Tuple[Tensor, ...]:
        """The backbone's maps, each of the size that its stride says, rounded up."""
        if self.dense:
            maps, last = self.backbone.forward_dense(x)
            maps = maps[:-1] + (last,)
        else:
            maps = self.backbone.forward_stages(x)
        found = ()
        for index in range(len(self.wanted)):
            found += (resize_bilinear(maps[self.sources[index]], map_size(x.shape[2:], self.wanted[index])),)
        return found

    def new_classifier(self, old: nn.Conv2d, num_classes: int) -> nn.Conv2d:
        conv = conv2d(old.in_channels, self.coder.per_cell * (num_classes + self.spare), old.kernel_size, bias=True)
        draw_normal(conv, 0.01)
        return class_bias(conv)

    def reset_classifier(self, num_classes: int) -> None:
        super().reset_classifier(num_classes)
        self.head.classification_head.set_columns(num_classes + self.spare)


class SSDLite(Detector):
    """SSDLite (arXiv 1801.04381, section 6.2) on the maps of strides 16 and 32, and four smaller ones of its own.

    Args:
        background_counted: whether `num_classes` counts the background.
        expanded: take torchvision's maps of a MobileNetV3: inside the last stage's first block, after its expansion,
            and the last one.
    """

    EXTRA = (512, 256, 256, 128)

    def __init__(self, backbone: Backbone, num_classes: int, background_counted: bool = False, expanded: bool = False):
        super().__init__(backbone, SSDCoder(), (16, 32), 0 if background_counted else 1, True)
        self.expanded = expanded
        channels = list(backbone.expanded_channels()) if expanded else list(self.channels)
        extra = []
        for out in self.EXTRA:
            extra.append(ExtraBlock(channels[-1], out))
            channels.append(out)
        self.extra = nn.CellList(extra)
        self.head = SSDLiteHead(channels, self.coder.per_cell, num_classes + self.spare)
        self.classifier_cells = tuple(f"head.classification_head.module_list.{place}.1"
                                      for place in range(len(channels)))
        self.torch_renames += tuple(backbone.ssdlite_names()) if expanded else ()
        self.torch_renames += ((r"^extra[.]", "backbone.extra."),)

    def construct(self, x: Tensor) -> Tuple[Tensor, ...]:
        maps = self.backbone.forward_expanded(x) if self.expanded else self.forward_maps(x)
        for block in self.extra:
            maps += (block(maps[-1]),)
        return self.head(maps)

    def new_classifier(self, old: nn.Conv2d, num_classes: int) -> nn.Conv2d:
        conv = conv2d(old.in_channels, self.coder.per_cell * (num_classes + self.spare), bias=True)
        draw_normal(conv, 0.03)
        return conv


class PyramidDetector(Detector):
    """A head on a feature pyramid of strides 8 to 128, whose coarser two maps are convolved from the others.

    Args:
        head: makes the head of (channels of the pyramid, columns of the logits).
        unused_column: whether `num_classes` counts a first column that no class has, as torchvision's released
            detectors do.
        of_backbone: make the coarser maps of the backbone's last, not the pyramid's.
    """

    CHANNELS = 256
    classifier_cells = ("head.classification_head.cls_logits",)

    def __init__(self, backbone: Backbone, num_classes: int, coder: Callable[[int], BoxCoder],
                 head: Callable[[int, int], nn.Cell], unused_column: bool = False, of_backbone: bool = False):
        super().__init__(backbone, coder(int(unused_column)), (8, 16, 32), 0)
        last = self.channels[-1] if of_backbone else self.CHANNELS
        self.neck = FPN(self.channels, self.CHANNELS, ConvolvedLevels(last, self.CHANNELS, of_backbone))
        self.head = head(self.CHANNELS, num_classes)
        self.torch_renames += FPN_NAMES

    def construct(self, x: Tensor) -> Tuple[Tensor, ...]:
        return self.head(self.neck(self.forward_maps(x)))


def _retinanet(backbone: Backbone, num_classes: int, **options) -> PyramidDetector:
    """RetinaNet (arXiv 1708.02002)."""
    return PyramidDetector(backbone, num_classes, RetinaCoder, lambda channels, columns: RetinaNetHead(
        channels, RetinaCoder.per_cell, columns), **options)


def _retinanet_v2(backbone: Backbone, num_classes: int, **options) -> PyramidDetector:
    """RetinaNet with GroupNorm in its towers and P6 of the backbone's last map (arXiv 1912.02424, as torchvision)."""
    return PyramidDetector(backbone, num_classes, RetinaCoder, lambda channels, columns: RetinaNetHead(
        channels, RetinaCoder.per_cell, columns, True), of_backbone=True, **options)


def _fcos(backbone: Backbone, num_classes: int, **options) -> PyramidDetector:
    """FCOS (arXiv 1904.01355)."""
    return PyramidDetector(backbone, num_classes, FCOSCoder, FCOSHead, **options)


class Kind(NamedTuple):
    """A detector: what makes it of (backbone, number of classes), and what reads its outputs, given the column of the
    first class."""

    build: Callable[..., Detector]
    coder: Callable[[int], BoxCoder]
    usual_first_class: int = 0


#: By the name that recipes call it by.
DETECTORS: Dict[str, Kind] = {
    "ssdlite": Kind(SSDLite, lambda first: SSDCoder(), 1),
    "retinanet": Kind(_retinanet, RetinaCoder),
    "retinanet_v2": Kind(_retinanet_v2, RetinaCoder),
    "fcos": Kind(_fcos, FCOSCoder),
}


def build_detector(name: str, backbone: Backbone, num_classes: int) -> Detector:
    """A detector on a backbone, which is stripped of its head; see `factory.create_detector`."""
    if name not in DETECTORS:
        raise ValueError(f"there is no detector '{printable(name)}'; known are {', '.join(DETECTORS)}")
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; a detector has one class or more")
    return DETECTORS[name].build(backbone, num_classes)
