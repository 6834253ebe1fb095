"""Building blocks that two families or more share; they need MindSpore and NumPy only."""
from ghost_ms.layers.attention import ScaledDotProductAttention, resize_attention_bias, split_heads
from ghost_ms.layers.branch_mix import BranchMix
from ghost_ms.layers.conv import conv2d, depthwise_conv2d, make_divisible
from ghost_ms.layers.drop import DropPath, drop_path_rates
from ghost_ms.layers.dynamic_conv import DynamicConv2d
from ghost_ms.layers.ghost import DfcAttention, GhostModule, GhostModuleV2, GhostModuleV3, GhostModuleV3Dfc
from ghost_ms.layers.graph import GraphFeedForward, Grapher, bounded_neighbours, nearest_neighbours
from ghost_ms.layers.group_norm import SingleGroupNorm
from ghost_ms.layers.initialize import init_dense, initialize_convolutions, kaiming_fan_out
from ghost_ms.layers.inverted_residual import ConvBnAct, DepthwiseSeparable, InvertedResidual, same_conv2d
from ghost_ms.layers.lego import LegoConv2d, SparseLegoConv2d
from ghost_ms.layers.lif import LeakyIntegrateFire
from ghost_ms.layers.mlp import ConvMlp, Mlp, gelu, layer_norm
from ghost_ms.layers.overlap_patch import OverlapPatchEmbed
from ghost_ms.layers.patch import SizeGuard, cut_patches, map_to_tokens, patch_grid, tokens_to_map
from ghost_ms.layers.pool import AdaptiveAveragePool
from ghost_ms.layers.position import resize_table, resize_tokens, token_table
from ghost_ms.layers.reparam import ReparamConv2d, fuse_branches, fuse_cells
from ghost_ms.layers.squeeze_excite import SqueezeExcite
from ghost_ms.layers.upsample import upsample_nearest
from ghost_ms.layers.versatile import VConv2d
from ghost_ms.layers.waves import Cosine, Sine

__all__ = [
    "AdaptiveAveragePool", "BranchMix", "ConvBnAct", "ConvMlp", "Cosine", "DepthwiseSeparable", "DfcAttention",
    "DropPath", "DynamicConv2d", "GhostModule", "GhostModuleV2", "GhostModuleV3", "GhostModuleV3Dfc",
    "GraphFeedForward", "Grapher", "InvertedResidual", "LeakyIntegrateFire", "LegoConv2d", "Mlp", "OverlapPatchEmbed",
    "ReparamConv2d", "ScaledDotProductAttention", "Sine", "SingleGroupNorm", "SizeGuard", "SparseLegoConv2d",
    "SqueezeExcite", "VConv2d", "bounded_neighbours", "conv2d", "cut_patches", "depthwise_conv2d", "drop_path_rates",
    "fuse_branches", "fuse_cells", "gelu", "init_dense", "initialize_convolutions", "kaiming_fan_out", "layer_norm",
    "make_divisible", "map_to_tokens", "nearest_neighbours", "patch_grid", "resize_attention_bias", "resize_table",
    "resize_tokens", "same_conv2d", "split_heads", "token_table", "tokens_to_map", "upsample_nearest",
]
