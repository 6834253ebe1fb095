"""TNT: Transformer in Transformer (NeurIPS 2021, arXiv 2103.00112).

Source of the released network: huawei-noah/Efficient-AI-Backbones, tnt_pytorch/tnt.py (Apache-2.0).
Differences: any input size that patches of 16 pixels tile, the position embedding being resampled for it; any number
of input channels; the frozen tensor `outer_tokens` of the released state, which nothing reads, is left out.
"""
from typing import Dict, Tuple

import numpy as np
from mindspore import Tensor, nn, ops

from ghost_ms.layers import (DropPath, Mlp, ScaledDotProductAttention, conv2d, cut_patches, drop_path_rates,
                             init_dense, layer_norm, split_heads, token_table, tokens_to_map)
from ghost_ms.models.backbone import ClassTokenBackbone
from ghost_ms.models.registry import HALF_MEAN, HALF_STD, ModelCard, register

PATCH, WORD_STRIDE, WORDS = 16, 4, 16
DEPTH, INNER_HEADS, MLP_RATIO = 12, 4, 4


class Attention(nn.Cell):
    """Self-attention whose queries and keys share one projection: (B, N, channels) -> same shape."""

    def __init__(self, channels: int, heads: int, drop: float = 0.0):
        super().__init__()
        self.heads = heads
        self.qk = nn.Dense(channels, 2 * channels, has_bias=False)
        self.v = nn.Dense(channels, channels, has_bias=False)
        self.attend = ScaledDotProductAttention(heads, channels // heads)
        self.proj = nn.Dense(channels, channels)
        self.proj_drop = nn.Dropout(p=drop)

    def construct(self, x: Tensor) -> Tensor:
        query, key = ops.split(split_heads(self.qk(x), self.heads, parts=2), self.heads, 1)
        return self.proj_drop(self.proj(self.attend(query, key, split_heads(self.v(x), self.heads))))


class Block(nn.Cell):
    """TNT block (section 2.2).

    Words (B * N, 16, inner) pass the inner transformer and are added to their patches; tokens (B, 1 + N, outer), the
    class token first, pass the outer one. Both come back in their shapes.
    """

    def __init__(self, outer: int, inner: int, heads: int, drop: float = 0.0, drop_path: float = 0.0):
        super().__init__()
        self.inner_norm1 = layer_norm(inner)
        self.inner_attn = Attention(inner, INNER_HEADS, drop)
        self.inner_norm2 = layer_norm(inner)
        self.inner_mlp = Mlp(inner, MLP_RATIO * inner, drop=drop)
        self.proj_norm1 = layer_norm(WORDS * inner)
        self.proj = nn.Dense(WORDS * inner, outer, has_bias=False)
        self.proj_norm2 = layer_norm(outer)
        self.outer_norm1 = layer_norm(outer)
        self.outer_attn = Attention(outer, heads, drop)
        self.outer_norm2 = layer_norm(outer)
        self.outer_mlp = Mlp(outer, MLP_RATIO * outer, drop=drop)
        self.drop_path = DropPath(drop_path)

    def construct(self, words: Tensor, tokens: Tensor) -> Tuple[Tensor, Tensor]:
        words = words + self.drop_path(self.inner_attn(self.inner_norm1(words)))
        words = words + self.drop_path(self.inner_mlp(self.inner_norm2(words)))
        # The class token has no words: it is set aside while the patches take theirs up.
        _, count, channels = tokens.shape
        sentences = words.reshape(-1, count - 1, WORDS * words.shape[2])
        patches = tokens[:, 1:] + self.proj_norm2(self.proj(self.proj_norm1(sentences)))
        tokens = ops.cat((tokens[:, :1], patches), 1)
        tokens = tokens + self.drop_path(self.outer_attn(self.outer_norm1(tokens)))
        tokens = tokens + self.drop_path(self.outer_mlp(self.outer_norm2(tokens)))
        return words, tokens


class WordEmbedding(nn.Cell):
    """Images (B, C, H, W) to words (B * N, 16, inner): one convolution on every patch by itself.

    The image is cut first, so the convolution pads each patch with zeros and sees nothing of its neighbours.
    """

    def __init__(self, in_channels: int, inner: int):
        super().__init__()
        self.proj = conv2d(in_channels, inner, 7, WORD_STRIDE, bias=True)

    def construct(self, x: Tensor) -> Tensor:
        x = self.proj(cut_patches(x, PATCH))
        return x.reshape(-1, x.shape[1], WORDS).transpose(0, 2, 1)


class TNT(ClassTokenBackbone):
    """Transformer in Transformer (table 1).

    Args:
        outer, inner: dimensions of patches and of words.
        heads: of the outer attention.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout after the position embedding, the attentions and both layers of the perceptrons.
        drop_path_rate: of the last block, rising linearly from 0 at the first.
        input_size: height and width of the images, whole multiples of 16.
    """

    torch_unused = (r"^outer_tokens$",)
    no_weight_decay = (r"^outer_pos$", r"^inner_pos$", r"^cls_token$")
    position_table = "outer_pos"
    embedding = ("inner_pos", "patch_embed", "proj_norm1", "proj", "proj_norm2")

    def __init__(self, outer: int, inner: int, heads: int, num_classes: int = 1000, in_channels: int = 3,
                 drop_rate: float = 0.0, drop_path_rate: float = 0.0, input_size: Tuple[int, int] = (224, 224)):
        super().__init__(outer, DEPTH, PATCH, input_size, drop_rate)
        self.outer_pos = token_table(1 + self.grid[0] * self.grid[1], outer)
        self.inner_pos = token_table(WORDS, inner)
        self.patch_embed = WordEmbedding(in_channels, inner)
        self.proj_norm1 = layer_norm(WORDS * inner)
        self.proj = nn.Dense(WORDS * inner, outer)
        self.proj_norm2 = layer_norm(outer)
        self.blocks = nn.CellList([Block(outer, inner, heads, drop_rate, rate)
                                   for rate in drop_path_rates(drop_path_rate, DEPTH)])
        self.norm = layer_norm(outer)
        self.head = nn.Dense(outer, num_classes)
        init_dense(self)

    def torch_extras(self) -> Dict[str, np.ndarray]:
        count = self.grid[0] * self.grid[1]
        return {"outer_tokens": np.zeros((1, count, self.num_features), np.float32)}

    def _embed(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        words = self.patch_embed(self.guard(x)) + self.inner_pos
        sentences = words.reshape(-1, self.grid[0] * self.grid[1], WORDS * words.shape[2])
        patches = self.proj_norm2(self.proj(self.proj_norm1(sentences)))
        return words, self.with_class_token(patches, self.outer_pos)

    def forward_stages(self, x: Tensor) -> Tuple[Tensor, ...]:
        words, tokens = self._embed(x)
        maps = []
        for index, block in enumerate(self.blocks):
            words, tokens = block(words, tokens)
            if index in self.taps:
                maps.append(tokens_to_map(tokens[:, 1:], self.grid))
        return tuple(maps)

    def forward_last(self, x: Tensor) -> Tensor:
        words, tokens = self._embed(x)
        for block in self.blocks:
            words, tokens = block(words, tokens)
        return self.norm(tokens)


def _card(params: int, macs: float, top1: float, top5: float, weights: str, unused_params: int) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, top5=top5, source="authors' repository", mean=HALF_MEAN,
                     std=HALF_STD, crop_ratio=0.9, interpolation="bicubic", paper="2103.00112", weights=weights,
                     sized=True, unused_params=unused_params)


@register(_card(23_843_848, 5216.88e6, 81.5, 95.7, "tnt_s_patch16_224", 75_264))
def tnt_s_patch16_224(**kwargs):
    """TNT-S."""
    return TNT(outer=384, inner=24, heads=6, **kwargs)


@register(_card(65_554_120, 14049.08e6, 82.9, 96.3, "tnt_b_patch16_224", 125_440))
def tnt_b_patch16_224(**kwargs):
    """TNT-B."""
    return TNT(outer=640, inner=40, heads=10, **kwargs)
