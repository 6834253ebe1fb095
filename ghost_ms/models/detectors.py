"""Detectors under torchvision's names, with its parameters, maps, anchors and BatchNorms.

As there, `num_classes` counts a first column of the logits that is the background or that no class has: 91 for COCO,
whose ids go to 90. Figures are torchvision's, box AP on COCO's val2017; parameters are counted with those of frozen
norms, multiply-accumulates at the size of the input.
"""
from typing import Any, Dict

from ghost_ms.models.detector import DETECTORS, Detector, SSDLite
from ghost_ms.models.norms import set_batch_norms
from ghost_ms.models.registry import HALF_MEAN, HALF_STD, ModelCard, build_model, register

#: Registered name -> name of the detector in `DETECTORS`.
HEADS: Dict[str, str] = {}
_SOURCE = "torchvision model documentation"
#: Size of images in whose frame torchvision's smallest side is 800 pixels and the largest 1333.
_LARGE = (800, 1344)


def _card(params: int, macs: float, ap: float, paper: str, **facts: Any) -> ModelCard:
    facts = {"input_size": _LARGE, **facts}
    return ModelCard(params=params, macs=macs, paper=paper, num_classes=91, crop_ratio=1.0, task="detection",
                     published={"box AP": ap}, source=_SOURCE, **facts)


def _detector(head: str, card: ModelCard):
    """Register a detector that `DETECTORS` calls `head`."""
    def wrap(function):
        HEADS[function.__name__] = head
        return register(card)(function)

    return wrap


def _on_resnet(head: str, arguments: Dict[str, Any]) -> Detector:
    num_classes = arguments.pop("num_classes", 91)
    return DETECTORS[head].build(build_model("resnet50", num_classes=0, **arguments), num_classes, unused_column=True)


@_detector("ssdlite", _card(3_440_060, 0.583e9, 21.3, "1801.04381", input_size=(320, 320), mean=HALF_MEAN,
                            std=HALF_STD, weights="ssdlite320_mobilenet_v3_large"))
def ssdlite320_mobilenet_v3_large(norm_eps: float = 1e-3, norm_momentum: float = 0.97, **kwargs) -> Detector:
    """SSDLite on MobileNetV3-Large whose last stage has half the channels, for images of 320 pixels."""
    num_classes = kwargs.pop("num_classes", 91)
    net = SSDLite(build_model("mobilenetv3_large_100", num_classes=0, reduced_tail=True, **kwargs), num_classes, True,
                  True)
    set_batch_norms(net, norm_eps, norm_momentum)
    return net


@_detector("retinanet", _card(34_068_119, 254.47e9, 36.4, "1708.02002",
                              weights="retinanet_resnet50_fpn"))
def retinanet_resnet50_fpn(**kwargs) -> Detector:
    """RetinaNet on ResNet-50."""
    return _on_resnet("retinanet", kwargs)


@_detector("retinanet_v2", _card(38_198_935, 255.597e9, 41.5, "1912.02424",
                                 weights="retinanet_resnet50_fpn_v2"))
def retinanet_resnet50_fpn_v2(**kwargs) -> Detector:
    """RetinaNet on ResNet-50 with GroupNorm in its head."""
    return _on_resnet("retinanet_v2", kwargs)


@_detector("fcos", _card(32_322_720, 215.298e9, 39.2, "1904.01355", weights="fcos_resnet50_fpn"))
def fcos_resnet50_fpn(**kwargs) -> Detector:
    """FCOS on ResNet-50."""
    return _on_resnet("fcos", kwargs)
