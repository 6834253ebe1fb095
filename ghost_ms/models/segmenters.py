"""Segmenters under torchvision's names, with its parameters, maps and BatchNorms.

Figures are torchvision's: mIoU on the images of COCO's val2017 that hold VOC's classes, and multiply-accumulates at 520
pixels. Its released files were trained on COCO's images with VOC's 21 labels.
"""
from typing import Any, Dict, Optional

from ghost_ms.models.registry import ModelCard, build_model, register
from ghost_ms.models.segmenter import Segmenter, build_segmenter

#: Of torchvision's MobileNetV3, which timm's has otherwise; MindSpore's momentum keeps 0.99.
_MOBILE: Dict[str, Any] = {"output_stride": 16, "norm_eps": 1e-3, "norm_momentum": 0.99}
_SOURCE = "torchvision model documentation"


def _card(params: int, macs: float, miou: float, paper: str, weights: str) -> ModelCard:
    return ModelCard(params=params, macs=macs, paper=paper, weights=weights, num_classes=21, input_size=(520, 520),
                     crop_ratio=1.0, task="segmentation", published={"mIoU": miou}, source=_SOURCE)


def _built(head: str, backbone: str, usual: Dict[str, Any], arguments: Dict[str, Any], aux: Optional[int] = None,
           early_taps: bool = False) -> Segmenter:
    num_classes = arguments.pop("num_classes", 21)
    net = build_model(backbone, num_classes=0, **{**usual, **arguments})
    return build_segmenter(head, net, num_classes, aux, early_taps)


@register(_card(3_221_538, 2.086e9, 57.9, "1905.02244", "lraspp_mobilenet_v3_large"))
def lraspp_mobilenet_v3_large(**kwargs) -> Segmenter:
    """LR-ASPP on MobileNetV3-Large."""
    return _built("lraspp", "mobilenetv3_large_100", _MOBILE, kwargs, early_taps=True)


@register(_card(11_029_328, 10.452e9, 60.3, "1706.05587", "deeplabv3_mobilenet_v3_large"))
def deeplabv3_mobilenet_v3_large(aux_loss: bool = True, **kwargs) -> Segmenter:
    """DeepLabV3 on MobileNetV3-Large; `aux_loss` for an auxiliary FCN head, which its released file has."""
    return _built("deeplabv3", "mobilenetv3_large_100", _MOBILE, kwargs, 2 if aux_loss else None, True)


@register(_card(42_004_074, 178.722e9, 66.4, "1706.05587", "deeplabv3_resnet50"))
def deeplabv3_resnet50(aux_loss: bool = True, **kwargs) -> Segmenter:
    """DeepLabV3 on ResNet-50; `aux_loss` as above."""
    return _built("deeplabv3", "resnet50", {"output_stride": 8}, kwargs, 3 if aux_loss else None)


@register(_card(35_322_218, 152.717e9, 60.5, "1411.4038", "fcn_resnet50"))
def fcn_resnet50(aux_loss: bool = True, **kwargs) -> Segmenter:
    """FCN on ResNet-50; `aux_loss` as above."""
    return _built("fcn", "resnet50", {"output_stride": 8}, kwargs, 3 if aux_loss else None)
