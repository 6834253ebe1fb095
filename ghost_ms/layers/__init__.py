"""Building blocks that two families or more share; they need MindSpore and NumPy only."""
from ghost_ms.layers.conv import conv2d, depthwise_conv2d, make_divisible
from ghost_ms.layers.drop import DropPath, drop_path_rates
from ghost_ms.layers.ghost import GhostModule
from ghost_ms.layers.squeeze_excite import SqueezeExcite

__all__ = ["DropPath", "GhostModule", "SqueezeExcite", "conv2d", "depthwise_conv2d", "drop_path_rates",
           "make_divisible"]
