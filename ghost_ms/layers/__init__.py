"""Building blocks that two families or more share; they need MindSpore and NumPy only."""
from ghost_ms.layers.conv import conv2d, depthwise_conv2d, make_divisible
from ghost_ms.layers.drop import DropPath, drop_path_rates
from ghost_ms.layers.dynamic_conv import DynamicConv2d
from ghost_ms.layers.ghost import GhostModule
from ghost_ms.layers.inverted_residual import ConvBnAct, DepthwiseSeparable, InvertedResidual, same_conv2d
from ghost_ms.layers.mlp import ConvMlp, Mlp, gelu, layer_norm
from ghost_ms.layers.position import resize_table
from ghost_ms.layers.squeeze_excite import SqueezeExcite

__all__ = [
    "ConvBnAct", "ConvMlp", "DepthwiseSeparable", "DropPath", "DynamicConv2d", "GhostModule", "InvertedResidual", "Mlp",
    "SqueezeExcite", "conv2d", "depthwise_conv2d", "drop_path_rates", "gelu", "layer_norm", "make_divisible",
    "resize_table", "same_conv2d",
]
