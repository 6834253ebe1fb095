"""PyramidTNT: Improved Transformer-in-Transformer Baselines with Pyramid Architecture (arXiv 2201.00978).

Source of the released network: huawei-noah/Efficient-AI-Backbones, tnt_pytorch/pyramid_tnt.py (Apache-2.0).
Differences: any input size from 32 pixels on that is a multiple of 8, the position tables being resampled for it, and
any number of input channels.
"""
import re
from typing import Optional, Tuple

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from ghost_ms.layers import (DropPath, Mlp, ScaledDotProductAttention, SizeGuard, conv2d, cut_patches,
                             drop_path_rates, init_dense, initialize_convolutions, layer_norm, map_to_tokens,
                             patch_grid, resize_attention_bias, resize_tokens, split_heads, token_table, tokens_to_map)
from ghost_ms.models.backbone import Backbone, FeatureInfo, Layers, layers_of, led_into
from ghost_ms.models.registry import HALF_MEAN, HALF_STD, ModelCard, register

#: Patches lie 8 pixels apart, each with 4 x 4 words.
PATCH, SIDE, WORDS, MLP_RATIO = 8, 4, 16, 4
#: Of the four stages: multiplier of dimensions and heads, and how far keys and values are pooled.
STAGES = ((1, 4), (2, 2), (4, 1), (4, 1))


class Attention(nn.Cell):
    """Self-attention, its keys and values taken from a pooled map where `pool` > 1.

    (B, N, channels) -> same shape; `bias` is (1, heads, N, N / pool^2). `grid` is the map that N counts; only pooling
    needs it.
    """

    def __init__(self, channels: int, heads: int, drop: float = 0.0, grid: Tuple[int, int] = (), pool: int = 1):
        super().__init__()
        self.heads, self.grid, self.pooled = heads, grid, pool > 1
        self.q = nn.Dense(channels, channels, has_bias=False)
        self.kv = nn.Dense(channels, 2 * channels, has_bias=False)
        self.attend = ScaledDotProductAttention(heads, channels // heads)
        self.proj = nn.Dense(channels, channels)
        self.proj_drop = nn.Dropout(p=drop)
        if self.pooled:
            self.pool = nn.AvgPool2d(pool, pool)
            self.linear = nn.Dense(channels, channels)
            self.norm = layer_norm(channels)

    def construct(self, x: Tensor, bias: Optional[Tensor] = None) -> Tensor:
        source = x
        if self.pooled:
            source = self.norm(self.linear(map_to_tokens(self.pool(tokens_to_map(x, self.grid)))))
        key, value = ops.split(split_heads(self.kv(source), self.heads, parts=2), self.heads, 1)
        return self.proj_drop(self.proj(self.attend(split_heads(self.q(x), self.heads), key, value, bias)))


class OuterBlock(nn.Cell):
    """Transformer block on patches; words pass it untouched.

    Words (B * N, 16, inner), patches (B, N, outer) and the stage's bias -> words, patches.
    """

    def __init__(self, outer: int, inner: int, heads: Tuple[int, int], grid: Tuple[int, int], pool: int,
                 drop: float = 0.0, drop_path: float = 0.0):
        super().__init__()
        self.outer_norm1 = layer_norm(outer)
        self.outer_attn = Attention(outer, heads[0], drop, grid, pool)
        self.outer_norm2 = layer_norm(outer)
        self.outer_mlp = Mlp(outer, MLP_RATIO * outer, drop=drop)
        self.drop_path = DropPath(drop_path)

    def construct(self, words: Tensor, patches: Tensor, bias: Tensor) -> Tuple[Tensor, Tensor]:
        patches = patches + self.drop_path(self.outer_attn(self.outer_norm1(patches), bias))
        return words, patches + self.drop_path(self.outer_mlp(self.outer_norm2(patches)))


class Block(OuterBlock):
    """The same after a transformer on the words of every patch, which are then added to it.

    The inner norms act on all 16 words of a patch as one vector.
    """

    def __init__(self, outer: int, inner: int, heads: Tuple[int, int], grid: Tuple[int, int], pool: int,
                 drop: float = 0.0, drop_path: float = 0.0):
        super().__init__(outer, inner, heads, grid, pool, drop, drop_path)
        self.inner = inner
        self.inner_norm1 = layer_norm(WORDS * inner)
        self.inner_attn = Attention(inner, heads[1], drop)
        self.inner_norm2 = layer_norm(WORDS * inner)
        self.inner_mlp = Mlp(inner, MLP_RATIO * inner, drop=drop)
        self.proj_norm1 = layer_norm(WORDS * inner)
        self.proj = nn.Dense(WORDS * inner, outer, has_bias=False)
        self.proj_norm2 = layer_norm(outer)

    def _words(self, sentences: Tensor) -> Tensor:
        return sentences.reshape(-1, WORDS, self.inner)

    def construct(self, words: Tensor, patches: Tensor, bias: Tensor) -> Tuple[Tensor, Tensor]:
        sentence = WORDS * self.inner
        words = words + self.drop_path(self.inner_attn(self._words(self.inner_norm1(words.reshape(-1, sentence)))))
        words = words + self.drop_path(self.inner_mlp(self._words(self.inner_norm2(words.reshape(-1, sentence)))))
        sentences = words.reshape(-1, patches.shape[1], sentence)
        patches = patches + self.proj_norm2(self.proj(self.proj_norm1(sentences)))
        return super().construct(words, patches, bias)


class Stage(nn.Cell):
    """Blocks that share one bias between all pairs of positions; the first has an inner transformer.

    So has the second where there are more than six.
    """

    def __init__(self, outer: int, inner: int, heads: Tuple[int, int], grid: Tuple[int, int], pool: int,
                 rates: Tuple[float, ...], drop: float = 0.0):
        super().__init__()
        self.grid, self.keys = grid, (grid[0] // pool, grid[1] // pool)
        with_inner = 2 if len(rates) > 6 else 1
        self.relative_pos = Parameter(initializer(
            Normal(1.0), (1, heads[0], grid[0] * grid[1], self.keys[0] * self.keys[1])))
        self.blocks = nn.CellList([(Block if index < with_inner else OuterBlock)(outer, inner, heads, grid, pool,
                                                                                 drop, rate)
                                   for index, rate in enumerate(rates)])

    def layers_within(self) -> Layers:
        return led_into(layers_of("blocks", self.blocks), "relative_pos")

    def construct(self, words: Tensor, patches: Tensor) -> Tuple[Tensor, Tensor]:
        for block in self.blocks:
            words, patches = block(words, patches, self.relative_pos)
        return words, patches


class SentenceAggregation(nn.Cell):
    """Halve the map of patches: (B, h * w, channels) -> (B, ceil(h / 2) * ceil(w / 2), out_channels)."""

    def __init__(self, channels: int, out_channels: int, grid: Tuple[int, int]):
        super().__init__()
        self.grid = grid
        self.norm = layer_norm(channels)
        self.conv = nn.SequentialCell(conv2d(channels, out_channels, 3, 2, bias=True))

    def construct(self, x: Tensor) -> Tensor:
        return map_to_tokens(self.conv(tokens_to_map(self.norm(x), self.grid)))


class WordAggregation(nn.Cell):
    """Join the words of 2 x 2 neighbouring patches into an 8 x 8 map as they lie in the image, and halve it.

    (B * h * w, 16, channels) -> (B * ceil(h / 2) * ceil(w / 2), 16, out_channels); an odd map of patches is first
    padded with zeros below and on the right.
    """

    def __init__(self, channels: int, out_channels: int, grid: Tuple[int, int]):
        super().__init__()
        self.channels, self.out_channels, self.grid = channels, out_channels, grid
        self.norm = layer_norm(channels)
        self.conv = nn.SequentialCell(conv2d(channels, out_channels, 3, 2, bias=True))
        self.odd = grid[0] % 2 == 1 or grid[1] % 2 == 1
        self.pad = ops.Pad(((0, 0), (0, grid[0] % 2), (0, grid[1] % 2), (0, 0)))

    def construct(self, x: Tensor) -> Tensor:
        height, width = self.grid
        sentence = WORDS * self.channels
        x = self.norm(x).reshape(-1, height, width, sentence)
        if self.odd:
            x = self.pad(x)
        # Two transposes of rank 6, since device runtimes take no more axes: first pairs of patches, then words.
        x = x.reshape(-1, (height + 1) // 2, 2, (width + 1) // 2, 2, sentence).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(-1, 2, 2, SIDE, SIDE, self.channels).transpose(0, 5, 1, 3, 2, 4)
        x = self.conv(x.reshape(-1, self.channels, 2 * SIDE, 2 * SIDE))
        return x.reshape(-1, self.out_channels, WORDS).transpose(0, 2, 1)


def _conv_bn_relu(in_channels: int, out_channels: int, stride: int) -> list:
    return [conv2d(in_channels, out_channels, 3, stride, bias=True), nn.BatchNorm2d(out_channels), nn.ReLU()]


class Stem(nn.Cell):
    """Images (B, C, H, W) to words (B * N, 16, inner) and patches (B, N, outer), N = H / 8 * W / 8."""

    def __init__(self, in_channels: int, outer: int, inner: int):
        super().__init__()
        self.common_conv = nn.SequentialCell(*_conv_bn_relu(in_channels, 2 * inner, 2))
        self.inner_convs = nn.SequentialCell(*_conv_bn_relu(2 * inner, inner, 1))
        self.outer_convs = nn.SequentialCell(*_conv_bn_relu(2 * inner, 4 * inner, 2),
                                             *_conv_bn_relu(4 * inner, 8 * inner, 2),
                                             *_conv_bn_relu(8 * inner, outer, 1))

    def construct(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        x = self.common_conv(x)
        words = cut_patches(self.inner_convs(x), SIDE)
        words = words.reshape(-1, words.shape[1], WORDS).transpose(0, 2, 1)
        return words, map_to_tokens(self.outer_convs(x))


class PyramidTNT(Backbone):
    """PyramidTNT (table 1).

    Args:
        outer, inner: dimensions of patches and of words in the first stage.
        heads: of the outer and the inner attention in the first stage.
        depths: blocks of the four stages.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout on the position embedding, the attentions and both layers of the perceptrons.
        drop_path_rate: of the last block, rising linearly from 0 at the first.
        input_size: height and width of the images, multiples of 8 and at least 32.
    """

    no_weight_decay = (r"^outer_pos$", r"^inner_pos$")
    classifier_cells = ("head",)

    def __init__(self, outer: int, inner: int, heads: Tuple[int, int], depths: Tuple[int, ...],
                 num_classes: int = 1000, in_channels: int = 3, drop_rate: float = 0.0, drop_path_rate: float = 0.0,
                 input_size: Tuple[int, int] = (256, 256)):
        super().__init__()
        if len(depths) > len(STAGES):
            raise ValueError(f"depths {tuple(depths)} are more than the {len(STAGES)} stages that there are")
        grid = patch_grid(input_size, PATCH)
        if min(grid) < STAGES[0][1]:
            raise ValueError(f"input_size {input_size[0]}x{input_size[1]} is below the 32 pixels a side that pooling "
                             f"in the first stage needs")
        self.grid = grid
        self.guard = SizeGuard(input_size)
        self.patch_embed = Stem(in_channels, outer, inner)
        self.outer_pos = token_table(grid[0] * grid[1], outer)
        self.inner_pos = token_table(WORDS, inner)
        self.pos_drop = nn.Dropout(p=drop_rate)
        rates = drop_path_rates(drop_path_rate, sum(depths))
        stages, sentence_merges, word_merges, info = [], [], [], []
        for index, ((factor, pool), depth) in enumerate(zip(STAGES, depths)):
            if index:
                last = STAGES[index - 1][0]
                sentence_merges.append(SentenceAggregation(last * outer, factor * outer, grid))
                word_merges.append(WordAggregation(last * inner, factor * inner, grid))
                grid = tuple((extent + 1) // 2 for extent in grid)
            first = sum(depths[:index])
            stages.append(Stage(factor * outer, factor * inner, (factor * heads[0], factor * heads[1]), grid, pool,
                                tuple(rates[first:first + depth]), drop_rate))
            info.append(FeatureInfo(factor * outer, PATCH << index, f"stages.{index}"))
        self.stages = nn.CellList(stages)
        self.sentence_merges, self.word_merges = nn.CellList(sentence_merges), nn.CellList(word_merges)
        self.feature_info, self.num_features = tuple(info), info[-1].channels
        self.norm = layer_norm(self.num_features)
        self.head = nn.Dense(self.num_features, num_classes)
        init_dense(self)
        initialize_convolutions(self)

    def layer_parts(self) -> Layers:
        layers = [("patch_embed", "outer_pos", "inner_pos")]
        for index, stage in enumerate(self.stages):
            before = (f"word_merges.{index - 1}", f"sentence_merges.{index - 1}") if index else ()
            layers += led_into(layers_of(f"stages.{index}", stage), *before)
        return (*layers, ("norm", "head"))

    def _forward_tokens(self, x: Tensor) -> Tuple[Tensor, ...]:
        words, patches = self.patch_embed(self.guard(x))
        words, patches = words + self.inner_pos, patches + self.pos_drop(self.outer_pos)
        outputs = []
        for index, stage in enumerate(self.stages):
            if index:
                words = self.word_merges[index - 1](words)
                patches = self.sentence_merges[index - 1](patches)
            words, patches = stage(words, patches)
            outputs.append(patches)
        return tuple(outputs)

    def forward_stages(self, x: Tensor) -> Tuple[Tensor, ...]:
        return tuple([tokens_to_map(tokens, stage.grid) for tokens, stage in zip(self._forward_tokens(x), self.stages)])

    def forward_features(self, x: Tensor) -> Tensor:
        return tokens_to_map(self.norm(self._forward_tokens(x)[-1]), self.stages[-1].grid)

    def forward_head(self, x: Tensor) -> Tensor:
        return self.head(x.mean((2, 3)))

    def new_classifier(self, num_classes: int) -> None:
        self.head = init_dense(nn.Dense(self.num_features, num_classes))

    def adapt_torch_weight(self, name: str, value: np.ndarray) -> np.ndarray:
        if name == "outer_pos":
            return resize_tokens(value, self.grid)
        stage = re.fullmatch(r"stages\.(\d)\.relative_pos", name)
        if stage:
            stage = self.stages[int(stage.group(1))]
            return resize_attention_bias(value, stage.grid, stage.keys)
        return value


def _card(params: int, macs: float, top1: float, weights: str, size: int = 256) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, source="authors' repository", input_size=(size, size),
                     mean=HALF_MEAN, std=HALF_STD, crop_ratio=0.9, interpolation="bicubic", paper="2201.00978",
                     weights=weights, sized=True)


@register(_card(10_578_529, 586.43e6, 75.2, "ptnt_ti_patch16_192", 192))
def ptnt_ti_patch16_192(input_size=(192, 192), **kwargs):
    """PyramidTNT-Ti."""
    return PyramidTNT(80, 5, (2, 1), (2, 6, 3, 2), input_size=input_size, **kwargs)


@register(_card(31_953_200, 3283.34e6, 82.0, "ptnt_s_patch16_256"))
def ptnt_s_patch16_256(**kwargs):
    """PyramidTNT-S."""
    return PyramidTNT(128, 8, (4, 2), (2, 8, 4, 2), **kwargs)


@register(_card(84_943_572, 8204.63e6, 83.5, "ptnt_m_patch16_256"))
def ptnt_m_patch16_256(**kwargs):
    """PyramidTNT-M."""
    return PyramidTNT(192, 12, (4, 2), (2, 8, 6, 2), **kwargs)


@register(_card(156_990_072, 15966.64e6, 84.1, "ptnt_b_patch16_256"))
def ptnt_b_patch16_256(**kwargs):
    """PyramidTNT-B."""
    return PyramidTNT(256, 16, (4, 2), (2, 10, 6, 2), **kwargs)
