"""Model Rubik's Cube: Twisting Resolution, Depth and Width for TinyNets (NeurIPS 2020, arXiv 2010.14819).

Source of the released networks: huawei-noah/Efficient-AI-Backbones, tinynet_pytorch/tinynet.py (Apache-2.0).
A TinyNet is EfficientNet-B0 with other stages. Repeats are rounded to the nearest integer, where EfficientNet rounds
up; stem and head keep EfficientNet-B0's channels. No other difference.
"""
from typing import Tuple

from ghost_ms.layers import make_divisible
from ghost_ms.models.backbones.efficientnet import STAGES, EfficientNet
from ghost_ms.models.registry import ModelCard, register


def scale_stages(width: float, depth: float) -> Tuple[Tuple[int, ...], ...]:
    """EfficientNet-B0's rows with channels times `width` and repeats times `depth` (section 3.3 of the paper)."""
    return tuple((kernel, expansion, make_divisible(out * width, 8), max(1, round(repeats * depth)), stride)
                 for kernel, expansion, out, repeats, stride in STAGES)


def _card(name: str, side: int, params: int, macs: float, top1: float, timm: str) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, source="authors' repository", input_size=(side, side),
                     interpolation="bicubic", paper="2010.14819", weights=name,
                     notes=f"timm evaluates the released weights at {timm} (top-1 / top-5).")


@register(_card("tinynet_a", 192, 6_187_972, 336.87e6, 76.8, "77.666 / 93.532"))
def tinynet_a(**kwargs):
    """TinyNet-A: resolution 0.86, width 1.0, depth 1.2."""
    return EfficientNet(scale_stages(1.0, 1.2), **kwargs)


@register(_card("tinynet_b", 188, 3_730_562, 200.71e6, 75.0, "74.946 / 92.194"))
def tinynet_b(**kwargs):
    """TinyNet-B: resolution 0.84, width 0.75, depth 1.1."""
    return EfficientNet(scale_stages(0.75, 1.1), **kwargs)


@register(_card("tinynet_c", 184, 2_457_234, 99.54e6, 71.2, "71.214 / 89.746"))
def tinynet_c(**kwargs):
    """TinyNet-C: resolution 0.825, width 0.54, depth 0.85."""
    return EfficientNet(scale_stages(0.54, 0.85), **kwargs)


@register(_card("tinynet_d", 152, 2_338_446, 51.58e6, 67.0, "66.936 / 87.078"))
def tinynet_d(**kwargs):
    """TinyNet-D: resolution 0.68, width 0.54, depth 0.695."""
    return EfficientNet(scale_stages(0.54, 0.695), **kwargs)


@register(_card("tinynet_e", 106, 2_042_972, 24.36e6, 59.9, "59.874 / 81.774"))
def tinynet_e(**kwargs):
    """TinyNet-E: resolution 0.475, width 0.51, depth 0.60."""
    return EfficientNet(scale_stages(0.51, 0.60), **kwargs)
