"""Semantic segmenters: a backbone, a head, and the logits enlarged to the size of the images."""
from typing import Callable, Dict, Optional, Tuple

from mindspore import Tensor, nn

from ghost_ms.core.text import printable
from ghost_ms.layers.reparam import remove_cells
from ghost_ms.layers.resize import resize_bilinear
from ghost_ms.models.backbone import Backbone, MobileBackbone
from ghost_ms.models.dense import DenseNetwork
from ghost_ms.models.heads.deeplabv3 import DeepLabHead
from ghost_ms.models.heads.fcn import FCNHead
from ghost_ms.models.heads.lraspp import LRASPPHead
from ghost_ms.models.heads.semantic_fpn import SemanticFPNHead
from ghost_ms.models.necks.fpn import FPN


class Segmenter(DenseNetwork):
    """Images (B, C, H, W) to a tuple of logits (B, num_classes, H, W): the main ones, then auxiliary ones if there are.

    The deploy form gives the main ones alone.
    """

    def forward_logits(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Images to logits at the head's own size."""
        raise NotImplementedError

    def construct(self, x: Tensor) -> Tuple[Tensor, ...]:
        found = ()
        for logits in self.forward_logits(x):
            found += (resize_bilinear(logits, x.shape[2:]),)
        return found

    def map_of_stride(self, stride: int) -> int:
        """Index into `feature_info` of the last map of a stride; ValueError where there is none."""
        strides = [info.stride for info in self.backbone.feature_info]
        if stride not in strides:
            raise ValueError(f"a {type(self.backbone).__name__} has no map of stride {stride}, only of {strides}: "
                             "choose another backbone or head")
        return len(strides) - 1 - strides[::-1].index(stride)


class LRASPP(Segmenter):
    """LR-ASPP (arXiv 1905.02244, section 6.4) on the map of stride 8 and the last one."""

    classifier_cells = ("classifier.low_classifier", "classifier.high_classifier")

    def __init__(self, backbone: Backbone, num_classes: int):
        super().__init__(backbone)
        self.low = self.map_of_stride(8)
        self.classifier = LRASPPHead(backbone.feature_info[self.low].channels, backbone.dense_features, num_classes)

    def forward_logits(self, x: Tensor) -> Tuple[Tensor, ...]:
        maps, last = self.backbone.forward_dense(x)
        return (self.classifier(maps[self.low], last),)


class FullyConvolutional(Segmenter):
    """A head on the last map, and an auxiliary FCN head on one before it.

    Args:
        head: makes the head of (channels, num_classes).
        aux: index into `feature_info` of the auxiliary head's map; None for no such head.
    """

    def __init__(self, backbone: Backbone, num_classes: int, head: Callable[[int, int], nn.Cell], aux: Optional[int]):
        super().__init__(backbone)
        self.classifier = head(backbone.dense_features, num_classes)
        self.aux = aux
        self.classifier_cells = (f"classifier.{len(self.classifier) - 1}",)
        if aux is not None:
            self.aux_classifier = FCNHead(backbone.feature_info[aux].channels, num_classes)
            self.classifier_cells += (f"aux_classifier.{len(self.aux_classifier) - 1}",)

    def forward_logits(self, x: Tensor) -> Tuple[Tensor, ...]:
        maps, last = self.backbone.forward_dense(x)
        if self.aux is None:
            return (self.classifier(last),)
        return self.classifier(last), self.aux_classifier(maps[self.aux])

    def reparameterize(self) -> "FullyConvolutional":
        if self.aux is not None:
            self.aux = None
            remove_cells(self, ("aux_classifier",))
        super().reparameterize()
        return self


class SemanticFPN(Segmenter):
    """Semantic FPN (arXiv 1901.02446) on the maps of strides 4 to 32."""

    classifier_cells = ("classifier.conv_seg",)

    def __init__(self, backbone: Backbone, num_classes: int):
        super().__init__(backbone, dense=False)
        strides = (4, 8, 16, 32)
        self.taps = tuple(self.map_of_stride(stride) for stride in strides)
        self.neck = FPN([backbone.feature_info[tap].channels for tap in self.taps])
        self.classifier = SemanticFPNHead(256, strides, num_classes)

    def forward_logits(self, x: Tensor) -> Tuple[Tensor, ...]:
        return (self.classifier(self.neck(self.backbone.forward_pyramid(x, self.taps))),)


#: Name -> (makes one of a backbone, the number of classes, and the auxiliary head's map; stride of the last map).
SEGMENTERS: Dict[str, Tuple[Callable[..., Segmenter], int]] = {
    "lraspp": (lambda backbone, classes, aux: LRASPP(backbone, classes), 16),
    "deeplabv3": (lambda backbone, classes, aux: FullyConvolutional(backbone, classes, DeepLabHead, aux), 16),
    "fcn": (lambda backbone, classes, aux: FullyConvolutional(backbone, classes, FCNHead, aux), 16),
    "semantic_fpn": (lambda backbone, classes, aux: SemanticFPN(backbone, classes), 32),
}
#: Those that can have an auxiliary head.
AUXILIARY = ("deeplabv3", "fcn")


def usual_stride(name: str, aux: Optional[int] = None) -> int:
    """The stride that a segmenter's last map usually has.

    Raises:
        ValueError: there is no such segmenter, or it has no auxiliary head and is asked for one.
    """
    if name not in SEGMENTERS:
        raise ValueError(f"there is no segmenter '{printable(name)}'; known are {', '.join(SEGMENTERS)}")
    if aux is not None and name not in AUXILIARY:
        raise ValueError(f"{name} has no auxiliary head; leave aux out, or take {' or '.join(AUXILIARY)}")
    return SEGMENTERS[name][1]


def build_segmenter(name: str, backbone: Backbone, num_classes: int, aux: Optional[int] = None,
                    early_taps: bool = False) -> Segmenter:
    """A segmenter on a backbone, which is stripped of its head; see `factory.create_segmenter`."""
    usual_stride(name, aux)
    if not isinstance(early_taps, bool):
        raise ValueError(f"early_taps is {printable(early_taps)[:100]}; it is true or false")
    if early_taps and name == "semantic_fpn":
        raise ValueError("semantic_fpn takes the maps at the end of each stage; leave early_taps out")
    if early_taps and not isinstance(backbone, MobileBackbone):
        raise ValueError(f"a {type(backbone).__name__} gives no maps within its stages; leave early_taps out")
    if early_taps:
        backbone.early_taps = True
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; a segmenter has one class or more")
    taps = len(backbone.feature_info)
    if aux is not None and (type(aux) is not int or not 0 <= aux < taps):
        raise ValueError(f"aux is {printable(aux)[:100]}; a {type(backbone).__name__} has the maps 0 to {taps - 1}")
    return SEGMENTERS[name][0](backbone, num_classes, aux)
