"""Building blocks that two families or more share; they need MindSpore and NumPy only."""
from ghost_ms.layers.conv import conv2d, depthwise_conv2d, make_divisible
from ghost_ms.layers.drop import DropPath, drop_path_rates
from ghost_ms.layers.ghost import DfcAttention, GhostModule, GhostModuleV2, GhostModuleV3, GhostModuleV3Dfc
from ghost_ms.layers.ghostify import GhostConv2d, ghostify
from ghost_ms.layers.mlp import ConvMlp, Mlp, gelu, layer_norm
from ghost_ms.layers.position import resize_table
from ghost_ms.layers.reparam import ReparamConv2d, fuse_branches, fuse_cells
from ghost_ms.layers.squeeze_excite import SqueezeExcite
from ghost_ms.layers.upsample import upsample_nearest

__all__ = [
    "ConvMlp", "DfcAttention", "DropPath", "GhostConv2d", "GhostModule", "GhostModuleV2", "GhostModuleV3",
    "GhostModuleV3Dfc", "Mlp", "ReparamConv2d", "SqueezeExcite", "conv2d", "depthwise_conv2d", "drop_path_rates",
    "fuse_branches", "fuse_cells", "gelu", "ghostify", "layer_norm", "make_divisible", "resize_table",
    "upsample_nearest",
]
