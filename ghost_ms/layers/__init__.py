"""Building blocks that two families or more share; they need MindSpore and NumPy only."""
from ghost_ms.layers.attention import ScaledDotProductAttention, resize_attention_bias, split_heads
from ghost_ms.layers.conv import conv2d, depthwise_conv2d, make_divisible
from ghost_ms.layers.drop import DropPath, drop_path_rates
from ghost_ms.layers.ghost import GhostModule
from ghost_ms.layers.initial import init_dense
from ghost_ms.layers.mlp import ConvMlp, Mlp, gelu, layer_norm
from ghost_ms.layers.patch import SizeGuard, cut_patches, map_to_tokens, patch_grid, tokens_to_map
from ghost_ms.layers.position import resize_table, resize_tokens
from ghost_ms.layers.squeeze_excite import SqueezeExcite

__all__ = [
    "ConvMlp", "DropPath", "GhostModule", "Mlp", "ScaledDotProductAttention", "SizeGuard", "SqueezeExcite", "conv2d",
    "cut_patches", "depthwise_conv2d", "drop_path_rates", "gelu", "init_dense", "layer_norm", "make_divisible",
    "map_to_tokens", "patch_grid", "resize_attention_bias", "resize_table", "resize_tokens", "split_heads",
    "tokens_to_map",
]
