"""AugViT: Augmented Shortcuts for Vision Transformers (NeurIPS 2021, arXiv 2106.15941).

Source of the released network: huawei-noah/Efficient-AI-Backbones, augvit_pytorch/models/augvit.py (Apache-2.0).
Differences: any input size that patches of 16 pixels tile, the position embedding being resampled for it; the index
matrices of the circulant projections, buffers in the released state, are constants here.
"""
from typing import Callable, Dict, Optional, Tuple

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Uniform, initializer

from ghost_ms.layers import (DropPath, Mlp, ScaledDotProductAttention, conv2d, drop_path_rates, gelu, init_dense,
                             layer_norm, map_to_tokens, split_heads, token_table, tokens_to_map)
from ghost_ms.models.backbone import ClassTokenBackbone
from ghost_ms.models.registry import HALF_MEAN, HALF_STD, ModelCard, register

PATCH, DEPTH, MLP_RATIO, EPSILON = 16, 12, 4, 1e-6
#: Circulant blocks along each side of a projection's matrix.
CIRCULANT_BLOCKS = 4


def circulant_index(channels: int) -> np.ndarray:
    """(channels, channels) int64: which of a projection's weights stands at each place of its dense matrix.

    Block (i, j) is circulant, its first column weights[(4 i + j) * size :][:size]. This is the buffer `index_matrix`
    of the released state.
    """
    size = channels // CIRCULANT_BLOCKS
    block, offset = np.divmod(np.arange(channels), size)
    return (CIRCULANT_BLOCKS * block[:, None] + block) * size + (offset[:, None] - offset) % size


class Circulant(nn.Cell):
    """Block-circulant projection (efficient implementation in the paper): (B, N, channels) -> same shape.

    y = x W^T + b, where W is written out from its 4 * channels weights at every call. On CPU that is the cheaper form:
    197 tokens of 384 (768) channels took 2.9 (8.2) ms this way, 1.8 (2.8) ms with W stored, and 5.8 (13.2) ms by
    Fourier transforms, which give the same numbers to 7e-7.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        bound = Uniform(channels ** -0.5)
        self.weight_list = Parameter(initializer(bound, (CIRCULANT_BLOCKS * channels,)))
        self.bias = Parameter(initializer(bound, (channels,)))
        self.index = Tensor(circulant_index(channels).astype(np.int32))
        self.project = ops.MatMul(transpose_b=True)

    def construct(self, x: Tensor) -> Tensor:
        y = self.project(x.reshape(-1, self.channels), ops.gather(self.weight_list, self.index, 0)) + self.bias
        return y.reshape(-1, x.shape[1], self.channels)

    def to_dense(self) -> nn.Dense:
        """The same projection with its matrix stored."""
        dense = nn.Dense(self.channels, self.channels)
        dense.weight.set_data(Tensor(self.weight_list.asnumpy()[self.index.asnumpy()]))
        dense.bias.set_data(self.bias)
        return dense


class Attention(nn.Cell):
    """Multi-head self-attention, one projection for queries, keys and values: (B, N, channels) -> same shape."""

    def __init__(self, channels: int, heads: int, drop: float = 0.0):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Dense(channels, 3 * channels)
        self.attend = ScaledDotProductAttention(heads, channels // heads)
        self.proj = nn.Dense(channels, channels)
        self.proj_drop = nn.Dropout(p=drop)

    def construct(self, x: Tensor) -> Tensor:
        query, key, value = ops.split(split_heads(self.qkv(x), self.heads, parts=3), self.heads, 1)
        return self.proj_drop(self.proj(self.attend(query, key, value)))


class Block(nn.Cell):
    """Transformer block of DeiT: (B, N, channels) -> same shape."""

    def __init__(self, channels: int, heads: int, drop: float = 0.0, drop_path: float = 0.0):
        super().__init__()
        self.norm1 = layer_norm(channels, EPSILON)
        self.attn = Attention(channels, heads, drop)
        self.norm2 = layer_norm(channels, EPSILON)
        self.mlp = Mlp(channels, MLP_RATIO * channels, drop=drop)
        self.drop_path = DropPath(drop_path)

    def construct(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class AugmentedBlock(Block):
    """One augmented shortcut, linear and never dropped, beside each sub-layer; it reads the normalised input.

    `projection` makes a cell that maps (B, N, channels) to the same shape.
    """

    def __init__(self, channels: int, heads: int, drop: float, drop_path: float, projection: Callable):
        super().__init__(channels, heads, drop, drop_path)
        self.augs_attn, self.augs = projection(channels), projection(channels)

    def construct(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.drop_path(self.attn(y)) + self.augs_attn(y)
        y = self.norm2(x)
        return x + self.drop_path(self.mlp(y)) + self.augs(y)


class DoublyAugmentedBlock(Block):
    """Two augmented shortcuts with GELU beside each sub-layer; the sum, identity included, is scaled by 3/4."""

    def __init__(self, channels: int, heads: int, drop: float, drop_path: float, projection: Callable):
        super().__init__(channels, heads, drop, drop_path)
        self.augs_attn, self.augs, self.augs_attn2, self.augs2 = (
            nn.SequentialCell(projection(channels), gelu()) for _ in range(4))

    def construct(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = (x + self.drop_path(self.attn(y)) + self.augs_attn(y) + self.augs_attn2(y)) * 0.75
        y = self.norm2(x)
        return (x + self.drop_path(self.mlp(y)) + self.augs(y) + self.augs2(y)) * 0.75


def _dense(channels: int) -> nn.Dense:
    return nn.Dense(channels, channels)


#: By mode: the block, and what makes its projections.
MODES: Dict[str, Tuple[Callable, ...]] = {
    "base": (Block,), "linear": (AugmentedBlock, _dense), "linear2": (DoublyAugmentedBlock, _dense),
    "circulant": (AugmentedBlock, Circulant), "circulant2": (DoublyAugmentedBlock, Circulant)}


class PatchEmbed(nn.Cell):
    """Images (B, C, H, W) to one token per patch, (B, H / 16 * W / 16, channels)."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.proj = conv2d(in_channels, channels, PATCH, PATCH, bias=True, padding=0)

    def construct(self, x: Tensor) -> Tensor:
        return map_to_tokens(self.proj(x))


class AugViT(ClassTokenBackbone):
    """Vision transformer (DeiT's shape) with augmented shortcuts.

    Args:
        channels, heads: of the tokens and of their attention.
        mode: one of `MODES`; 'base' is DeiT itself.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout after the position embedding, the attentions and both layers of the perceptrons.
        drop_path_rate: of the last block, rising linearly from 0 at the first.
        input_size: height and width of the images, whole multiples of 16.
    """

    torch_unused = (r"\.index_matrix$",)
    no_weight_decay = (r"^pos_embed$", r"^cls_token$")
    position_table = "pos_embed"
    embedding = ("patch_embed",)

    def __init__(self, channels: int, heads: int, mode: str = "base", num_classes: int = 1000, in_channels: int = 3,
                 drop_rate: float = 0.0, drop_path_rate: float = 0.0, input_size: Tuple[int, int] = (224, 224)):
        if mode not in MODES:
            raise ValueError(f"there is no mode '{mode}' of AugViT; choose one of {', '.join(MODES)}")
        super().__init__(channels, DEPTH, PATCH, input_size, drop_rate)
        self.pos_embed = token_table(1 + self.grid[0] * self.grid[1], channels)
        self.patch_embed = PatchEmbed(in_channels, channels)
        block, *projection = MODES[mode]
        self.blocks = nn.CellList([block(channels, heads, drop_rate, rate, *projection)
                                   for rate in drop_path_rates(drop_path_rate, DEPTH)])
        self.norm = layer_norm(channels, EPSILON)
        self.head = nn.Dense(channels, num_classes)
        init_dense(self)

    def _embed(self, x: Tensor) -> Tensor:
        return self.with_class_token(self.patch_embed(self.guard(x)), self.pos_embed)

    def forward_stages(self, x: Tensor) -> Tuple[Tensor, ...]:
        tokens, maps = self._embed(x), []
        for index, block in enumerate(self.blocks):
            tokens = block(tokens)
            if index in self.taps:
                maps.append(tokens_to_map(tokens[:, 1:], self.grid))
        return tuple(maps)

    def forward_last(self, x: Tensor) -> Tensor:
        tokens = self._embed(x)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def torch_extras(self) -> Dict[str, np.ndarray]:
        cells = [(name, cell) for name, cell in self.cells_and_names() if isinstance(cell, Circulant)]
        return {f"{name}.index_matrix": circulant_index(cell.channels) for name, cell in cells}

    def reparameterize(self) -> "AugViT":
        """Store the matrices of the circulant projections, so that no call writes them out."""
        for block in self.blocks:
            for name, cell in list(block.name_cells().items()):
                if isinstance(cell, Circulant):
                    setattr(block, name, cell.to_dense())
                elif isinstance(cell, nn.SequentialCell) and isinstance(cell[0], Circulant):
                    cell[0] = cell[0].to_dense()
        self.rename_parameters()
        return self


def _card(params: int, macs: float, top1: Optional[float] = None, deploy_params: Optional[int] = None) -> ModelCard:
    return ModelCard(params=params, macs=macs, top1=top1, source="AugViT paper, figure" if top1 else None,
                     mean=HALF_MEAN, std=HALF_STD, crop_ratio=0.9, interpolation="bicubic", paper="2106.15941",
                     sized=True, deploy_params=deploy_params,
                     notes="No weights were released." if not deploy_params else "No weights were released; the paper "
                     "counts products by Fourier transforms, 4.7G for the small network and 17.7G for the base.")


@register(_card(22_050_664, 4598.88e6))
def augvit_small(**kwargs):
    """DeiT-S, without augmented shortcuts."""
    return AugViT(384, 6, **kwargs)


@register(_card(25_598_824, 5296.05e6))
def augvit_small_linear(**kwargs):
    """AugViT-S, one dense augmented shortcut beside every sub-layer."""
    return AugViT(384, 6, "linear", **kwargs)


@register(_card(29_146_984, 5993.23e6))
def augvit_small_linear2(**kwargs):
    """AugViT-S, two dense augmented shortcuts beside every sub-layer."""
    return AugViT(384, 6, "linear2", **kwargs)


@register(_card(22_142_824, 5993.23e6, 80.9, deploy_params=29_146_984))
def augvit_small_circulant2(**kwargs):
    """AugViT-S, two block-circulant augmented shortcuts beside every sub-layer."""
    return AugViT(384, 6, "circulant2", **kwargs)


@register(_card(86_751_976, 23141.20e6, 82.4, deploy_params=114_916_072))
def augvit_base_circulant2(**kwargs):
    """AugViT-B, two block-circulant augmented shortcuts beside every sub-layer."""
    return AugViT(768, 12, "circulant2", **kwargs)
