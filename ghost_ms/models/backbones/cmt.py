"""CMT: Convolutional Neural Networks Meet Vision Transformers (CVPR 2022, arXiv 2107.06263).

Source of the released network: huawei-noah/Efficient-AI-Backbones, cmt_pytorch/cmt.py (Apache-2.0).
Differences: any input size from 32 pixels on, the relative positions being resampled for it (stages round an extent
that their stride does not divide down, as their convolutions do); any number of input channels; `reset_classifier`,
which the public code gives the wrong width.
"""
from typing import Tuple

import numpy as np
from mindspore import Parameter, Tensor, nn
from mindspore.common.initializer import Normal, initializer

from ghost_ms.layers import (DropPath, ScaledDotProductAttention, SizeGuard, conv2d, depthwise_conv2d,
                             drop_path_rates, gelu, init_dense, initialize_convolutions, layer_norm, map_to_tokens,
                             resize_attention_bias, split_heads, tokens_to_map)
from ghost_ms.models.backbone import Backbone, FeatureInfo, Layers, layers_of, led_into
from ghost_ms.models.registry import ModelCard, register

#: Of the four stages: letter in the released names, heads, and the stride that thins keys and values out.
STAGES = (("a", 1, 8), ("b", 2, 4), ("c", 4, 2), ("d", 8, 1))
HEAD_CHANNELS = 1280
#: Norms of the blocks; those of the patch embeddings keep 1e-5.
BLOCK_EPSILON = 1e-6


class Attention(nn.Cell):
    """Lightweight self-attention (section 3.2): keys and values come from a strided depthwise convolution.

    (B, N, channels) -> same shape; `bias` is (heads, N, N / stride^2). `grid` is the map that N counts.
    """

    def __init__(self, channels: int, heads: int, stride: int, grid: Tuple[int, int]):
        super().__init__()
        self.heads, self.grid, self.strided = heads, grid, stride > 1
        self.q = nn.Dense(channels, channels)
        self.k = nn.Dense(channels, channels)
        self.v = nn.Dense(channels, channels)
        self.attend = ScaledDotProductAttention(heads, channels // heads)
        self.proj = nn.Dense(channels, channels)
        if self.strided:
            self.sr = nn.SequentialCell(depthwise_conv2d(channels, stride, stride, bias=True, padding=0),
                                        nn.BatchNorm2d(channels))

    def construct(self, x: Tensor, bias: Tensor) -> Tensor:
        source = map_to_tokens(self.sr(tokens_to_map(x, self.grid))) if self.strided else x
        query, key, value = (split_heads(self.q(x), self.heads), split_heads(self.k(source), self.heads),
                             split_heads(self.v(source), self.heads))
        return self.proj(self.attend(query, key, value, bias.expand_dims(0)))


class InvertedResidualFeedForward(nn.Cell):
    """Inverted residual feed-forward network (section 3.2): (B, channels, h, w) -> same shape.

    Every activation comes before its BatchNorm. The first of these cannot be folded: the padded convolution behind
    it takes zeros beyond the border, not the shift.
    """

    folds_ahead = (("proj_bn", ("conv2.0",)),)

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.conv1 = nn.SequentialCell(conv2d(channels, hidden, bias=True), gelu(), nn.BatchNorm2d(hidden))
        self.proj = depthwise_conv2d(hidden, 3, bias=True)
        self.proj_act = gelu()
        self.proj_bn = nn.BatchNorm2d(hidden)
        self.conv2 = nn.SequentialCell(conv2d(hidden, channels, bias=True), nn.BatchNorm2d(channels))

    def construct(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return self.conv2(self.proj_bn(self.proj_act(self.proj(x) + x)))


class Block(nn.Cell):
    """CMT block (figure 2c): local perception unit, attention, feed-forward. (B, channels, h, w) -> same shape."""

    def __init__(self, channels: int, heads: int, stride: int, hidden: int, grid: Tuple[int, int],
                 drop_path: float = 0.0):
        super().__init__()
        self.grid = grid
        self.proj = depthwise_conv2d(channels, 3, bias=True)
        self.norm1 = layer_norm(channels, BLOCK_EPSILON)
        self.attn = Attention(channels, heads, stride, grid)
        self.norm2 = layer_norm(channels, BLOCK_EPSILON)
        self.mlp = InvertedResidualFeedForward(channels, hidden)
        self.drop_path = DropPath(drop_path)

    def construct(self, x: Tensor, bias: Tensor) -> Tensor:
        tokens = map_to_tokens(self.proj(x) + x)
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens), bias))
        x = self.mlp(tokens_to_map(self.norm2(tokens), self.grid))
        return tokens_to_map(tokens, self.grid) + self.drop_path(x)


class PatchEmbed(nn.Cell):
    """Stage entry: 2x2 convolution of stride 2, then LayerNorm. (B, C, H, W) -> (B, channels, H / 2, W / 2)."""

    def __init__(self, in_channels: int, channels: int, grid: Tuple[int, int]):
        super().__init__()
        self.grid = grid
        self.proj = conv2d(in_channels, channels, 2, 2, bias=True, padding=0)
        self.norm = layer_norm(channels)

    def construct(self, x: Tensor) -> Tensor:
        return tokens_to_map(self.norm(map_to_tokens(self.proj(x))), self.grid)


class CMT(Backbone):
    """CMT (table 1).

    Args:
        channels, depths: of the four stages.
        stem: channels of the stem.
        mlp_ratio: hidden channels of a feed-forward network by its own, rounded down.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout before the classifier.
        drop_path_rate: of the last block, rising linearly from 0 at the first.
        input_size: height and width of the images, at least 32.
    """

    folds = (("_fc", "_bn"),)
    folds_ahead = (("stem_norm3", ("patch_embed_a.proj",)),)
    classifier_cells = ("head",)

    def __init__(self, channels: Tuple[int, ...], depths: Tuple[int, ...], stem: int, mlp_ratio: float = 4.0,
                 num_classes: int = 1000, in_channels: int = 3, drop_rate: float = 0.1, drop_path_rate: float = 0.0,
                 input_size: Tuple[int, int] = (224, 224)):
        super().__init__()
        if not len(channels) == len(depths) == len(STAGES):
            raise ValueError(f"channels {tuple(channels)} and depths {tuple(depths)} must be those of {len(STAGES)} "
                             "stages")
        if min(input_size) < 32:
            raise ValueError(f"input_size {input_size[0]}x{input_size[1]} is below the 32 pixels a side that the four "
                             f"stages need")
        self.guard = SizeGuard(input_size)
        self.stem_conv1 = conv2d(in_channels, stem, 3, 2, bias=True)
        self.stem_conv2 = conv2d(stem, stem, 3, bias=True)
        self.stem_conv3 = conv2d(stem, stem, 3, bias=True)
        self.stem_norm1, self.stem_norm2, self.stem_norm3 = (nn.BatchNorm2d(stem) for _ in range(3))
        self.act = gelu()
        rates = drop_path_rates(drop_path_rate, sum(depths))
        grid, before, info = tuple((extent + 1) // 2 for extent in input_size), stem, []
        self.grids = {}
        for index, ((letter, heads, stride), width, depth) in enumerate(zip(STAGES, channels, depths)):
            grid = (grid[0] // 2, grid[1] // 2)
            keys = (grid[0] // stride, grid[1] // stride)
            self.grids[f"relative_pos_{letter}"] = (grid, keys)
            first = sum(depths[:index])
            setattr(self, f"relative_pos_{letter}", Parameter(
                initializer(Normal(1.0), (heads, grid[0] * grid[1], keys[0] * keys[1]))))
            setattr(self, f"patch_embed_{letter}", PatchEmbed(before, width, grid))
            setattr(self, f"blocks_{letter}", nn.CellList([
                Block(width, heads, stride, int(width * mlp_ratio), grid, rate)
                for rate in rates[first:first + depth]]))
            info.append(FeatureInfo(width, 4 << index, f"blocks_{letter}"))
            before = width
        self.feature_info, self.num_features = tuple(info), before
        self._fc = conv2d(before, HEAD_CHANNELS, bias=True)
        self._bn = nn.BatchNorm2d(HEAD_CHANNELS)
        self._swish = nn.SiLU()
        self._drop = nn.Dropout(p=drop_rate)
        self.head = nn.Dense(HEAD_CHANNELS, num_classes)
        init_dense(self)
        initialize_convolutions(self)

    def layer_parts(self) -> Layers:
        layers = [tuple(f"stem_{kind}{index}" for index in (1, 2, 3) for kind in ("conv", "norm"))]
        for letter, _, _ in STAGES:
            blocks = layers_of(f"blocks_{letter}", getattr(self, f"blocks_{letter}"))
            layers += led_into(blocks, f"patch_embed_{letter}", f"relative_pos_{letter}")
        return (*layers, ("_fc", "_bn", "head"))

    def _stem(self, x: Tensor) -> Tensor:
        x = self.stem_norm1(self.act(self.stem_conv1(self.guard(x))))
        x = self.stem_norm2(self.act(self.stem_conv2(x)))
        return self.stem_norm3(self.act(self.stem_conv3(x)))

    def forward_stages(self, x: Tensor) -> Tuple[Tensor, ...]:
        x = self.patch_embed_a(self._stem(x))
        for block in self.blocks_a:
            x = block(x, self.relative_pos_a)
        maps = (x,)
        x = self.patch_embed_b(x)
        for block in self.blocks_b:
            x = block(x, self.relative_pos_b)
        maps = maps + (x,)
        x = self.patch_embed_c(x)
        for block in self.blocks_c:
            x = block(x, self.relative_pos_c)
        maps = maps + (x,)
        x = self.patch_embed_d(x)
        for block in self.blocks_d:
            x = block(x, self.relative_pos_d)
        return maps + (x,)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.forward_stages(x)[-1]

    def forward_head(self, x: Tensor) -> Tensor:
        x = self._swish(self._bn(self._fc(x))).mean((2, 3))
        return self.head(self._drop(x))

    def new_classifier(self, num_classes: int) -> None:
        self.head = init_dense(nn.Dense(HEAD_CHANNELS, num_classes))

    def adapt_torch_weight(self, name: str, value: np.ndarray) -> np.ndarray:
        return resize_attention_bias(value, *self.grids[name]) if name in self.grids else value


def _card(params: int, macs: float, top1: float, size: int, weights: str) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, source="authors' repository", input_size=(size, size),
                     interpolation="bicubic", paper="2107.06263", weights=weights, sized=True)


@register(_card(9_492_426, 638.90e6, 79.0, 160, "cmt_ti"))
def cmt_ti(input_size=(160, 160), **kwargs):
    """CMT-Ti."""
    return CMT((46, 92, 184, 368), (2, 2, 10, 2), 16, 3.6, input_size=input_size, **kwargs)


@register(_card(15_247_208, 1546.87e6, 81.8, 192, "cmt_xs"))
def cmt_xs(input_size=(192, 192), **kwargs):
    """CMT-XS."""
    return CMT((52, 104, 208, 416), (3, 3, 12, 3), 16, 3.77, input_size=input_size, **kwargs)


@register(_card(26_256_160, 4031.74e6, 83.5, 224, "cmt_s"))
def cmt_s(**kwargs):
    """CMT-S."""
    return CMT((64, 128, 256, 512), (3, 3, 16, 3), 32, **kwargs)


@register(_card(45_715_076, 9317.12e6, 84.5, 256, "cmt_b"))
def cmt_b(input_size=(256, 256), drop_rate=0.3, **kwargs):
    """CMT-B."""
    return CMT((76, 152, 304, 608), (4, 4, 20, 4), 38, input_size=input_size, drop_rate=drop_rate, **kwargs)
