"""Building blocks that two families or more share; they need MindSpore and NumPy only."""
from ghost_ms.layers.conv import conv2d, depthwise_conv2d, make_divisible
from ghost_ms.layers.drop import DropPath, drop_path_rates
from ghost_ms.layers.ghost import GhostModule
from ghost_ms.layers.initialize import initialize_convolutions, kaiming_fan_out
from ghost_ms.layers.lego import LegoConv2d, SparseLegoConv2d
from ghost_ms.layers.mlp import ConvMlp, Mlp, gelu, layer_norm
from ghost_ms.layers.pool import AdaptiveAveragePool
from ghost_ms.layers.position import resize_table
from ghost_ms.layers.squeeze_excite import SqueezeExcite
from ghost_ms.layers.versatile import VConv2d

__all__ = [
    "AdaptiveAveragePool", "ConvMlp", "DropPath", "GhostModule", "LegoConv2d", "Mlp", "SparseLegoConv2d",
    "SqueezeExcite", "VConv2d", "conv2d", "depthwise_conv2d", "drop_path_rates", "gelu", "initialize_convolutions",
    "kaiming_fan_out", "layer_norm", "make_divisible", "resize_table",
]
