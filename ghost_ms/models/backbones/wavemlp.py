"""Wave-MLP: An Image Patch is a Wave, Quantum Inspired Vision MLP (CVPR 2022, arXiv 2111.12294).

Source of the released networks: huawei-noah/Efficient-AI-Backbones, wavemlp_pytorch/models/wavemlp.py (Apache-2.0).
No difference in what is computed. A token is a wave: its amplitude comes of a 1x1 convolution, its phase of another
layer, and waves of neighbouring tokens are added along one axis.
"""
from typing import Callable, Tuple

from mindspore import Tensor, nn, ops

from ghost_ms.layers import BranchMix, Cosine, Sine, SingleGroupNorm, conv2d, depthwise_conv2d
from ghost_ms.models.backbones.mlp_pyramid import MlpPyramid
from ghost_ms.models.registry import ModelCard, register


def phase_by_channel(channels: int) -> nn.SequentialCell:
    """Phase of each token from its own channels (the 'fc' mode); BatchNorm whatever norm the network has."""
    return nn.SequentialCell(conv2d(channels, channels, bias=True), nn.BatchNorm2d(channels), nn.ReLU())


def phase_by_depthwise(channels: int) -> nn.SequentialCell:
    """Phase of each token from its 3x3 neighbourhood (the 'depthwise' mode)."""
    return nn.SequentialCell(depthwise_conv2d(channels, 3), nn.BatchNorm2d(channels), nn.ReLU())


class PhaseAwareTokenMixing(nn.Cell):
    """Phase-aware token mixing (the PATM of the paper): (B, channels, H, W) -> same shape.

    Args:
        phase: makes the layer that estimates the phases.
    """

    takes_input = ("fc_h", "fc_w", "fc_c", "theta_h_conv.0", "theta_w_conv.0")

    def __init__(self, channels: int, phase: Callable[[int], nn.Cell]):
        super().__init__()
        self.fc_h = conv2d(channels, channels)
        self.fc_w = conv2d(channels, channels)
        self.fc_c = conv2d(channels, channels)
        # Output g reads inputs 2g and 2g + 1 of the real parts followed by the imaginary parts. They are no pair of
        # one wave, but the released weights are trained so. Mode 'same' is exact here, and exports to ONNX, which
        # explicit paddings that differ between the axes do not.
        self.tfc_h = nn.Conv2d(2 * channels, channels, (1, 7), pad_mode="same", group=channels)
        self.tfc_w = nn.Conv2d(2 * channels, channels, (7, 1), pad_mode="same", group=channels)
        self.reweight = BranchMix(channels)
        self.proj = conv2d(channels, channels, bias=True)
        self.theta_h_conv = phase(channels)
        self.theta_w_conv = phase(channels)
        self.cosine, self.sine = Cosine(), Sine()

    def construct(self, x: Tensor) -> Tensor:
        h = self.tfc_h(self._wave(self.fc_h(x), self.theta_h_conv(x)))
        w = self.tfc_w(self._wave(self.fc_w(x), self.theta_w_conv(x)))
        return self.proj(self.reweight(h, w, self.fc_c(x)))

    def _wave(self, amplitude: Tensor, phase: Tensor) -> Tensor:
        """Real parts, then imaginary parts: (B, 2 * channels, H, W)."""
        return ops.cat((amplitude * self.cosine(phase), amplitude * self.sine(phase)), 1)


class WaveMlp(MlpPyramid):
    """Wave-MLP, the pyramid of the paper.

    Args:
        depths, widths, mlp_ratios: blocks, channels and MLP ratio of the four stages.
        norm: makes the norms of the blocks and the last one.
        embed_norm: makes the norms behind the patch embedding and each downsampling; None for none.
        phase: makes the phase estimators.
        kwargs: `num_classes`, `in_channels`, `drop_rate`, `drop_path_rate` of `MlpPyramid`.
    """

    def __init__(self, depths: Tuple[int, ...], widths: Tuple[int, ...], mlp_ratios: Tuple[int, ...] = (4, 4, 4, 4),
                 norm: Callable[[int], nn.Cell] = SingleGroupNorm, embed_norm: Callable[[int], nn.Cell] = None,
                 phase: Callable[[int], nn.Cell] = phase_by_channel, **kwargs):
        super().__init__(depths, widths, mlp_ratios, lambda stage, block, width: PhaseAwareTokenMixing(width, phase),
                         norm, embed_norm, **kwargs)


WIDTHS = (64, 128, 320, 512)


def _card(params: int, macs: float, top1: float, **kwargs) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, paper="2111.12294", interpolation="bicubic",
                     **{"source": "authors' repository", "crop_ratio": 0.9, **kwargs})


@register(_card(15_286_472, 2163.07e6, 80.1, weights="wavemlp_t_dw"))
def wavemlp_t_dw(**kwargs):
    """Wave-MLP-T with phases from depthwise convolutions."""
    return WaveMlp((2, 2, 4, 2), WIDTHS, norm=nn.BatchNorm2d, embed_norm=nn.BatchNorm2d, phase=phase_by_depthwise,
                   **kwargs)


@register(_card(17_193_160, 2461.52e6, 80.9, weights="wavemlp_t", notes="The repository's figure shows 80.6."))
def wavemlp_t(**kwargs):
    """Wave-MLP-T."""
    return WaveMlp((2, 2, 4, 2), WIDTHS, norm=nn.BatchNorm2d, embed_norm=nn.BatchNorm2d, **kwargs)


@register(_card(30_708_040, 4522.03e6, 82.9, weights="wavemlp_s", notes="The repository's figure shows 82.6."))
def wavemlp_s(**kwargs):
    """Wave-MLP-S."""
    return WaveMlp((2, 3, 10, 3), WIDTHS, embed_norm=SingleGroupNorm, **kwargs)


@register(_card(44_056_632, 7872.22e6, 83.3, weights="wavemlp_m",
                notes="The paper and the repository's figure give 83.4."))
def wavemlp_m(**kwargs):
    """Wave-MLP-M; no norm behind its patch embedding and downsampling."""
    return WaveMlp((3, 4, 18, 3), WIDTHS, (8, 8, 4, 4), **kwargs)


@register(_card(63_586_360, 10215.31e6, 83.6, crop_ratio=0.875, source="authors' repository, figure"))
def wavemlp_b(**kwargs):
    """Wave-MLP-B; no norm behind its patch embedding and downsampling."""
    return WaveMlp((2, 2, 18, 2), (96, 192, 384, 768), **kwargs)
