"""Building blocks that two families or more share; they need MindSpore and NumPy only."""
from ghost_ms.layers.branch_mix import BranchMix
from ghost_ms.layers.conv import conv2d, depthwise_conv2d, make_divisible
from ghost_ms.layers.drop import DropPath, drop_path_rates
from ghost_ms.layers.ghost import GhostModule
from ghost_ms.layers.group_norm import SingleGroupNorm
from ghost_ms.layers.lif import LeakyIntegrateFire
from ghost_ms.layers.mlp import ConvMlp, Mlp, gelu, layer_norm
from ghost_ms.layers.overlap_patch import OverlapPatchEmbed
from ghost_ms.layers.position import resize_table
from ghost_ms.layers.squeeze_excite import SqueezeExcite

__all__ = [
    "BranchMix", "ConvMlp", "DropPath", "GhostModule", "LeakyIntegrateFire", "Mlp", "OverlapPatchEmbed",
    "SingleGroupNorm", "SqueezeExcite", "conv2d", "depthwise_conv2d", "drop_path_rates", "gelu", "layer_norm",
    "make_divisible", "resize_table",
]
