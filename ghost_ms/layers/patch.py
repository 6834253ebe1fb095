"""Between maps (B, C, H, W), patches and tokens (B, N, C); N counts a map's positions row by row."""
from typing import Tuple

from mindspore import Tensor, nn


def map_to_tokens(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h * w, C)."""
    _, channels, height, width = x.shape
    return x.reshape(-1, channels, height * width).transpose(0, 2, 1)


def tokens_to_map(x: Tensor, size: Tuple[int, int]) -> Tensor:
    """(B, h * w, C) -> (B, C, h, w)."""
    return x.transpose(0, 2, 1).reshape(-1, x.shape[2], size[0], size[1])


def cut_patches(x: Tensor, size: int) -> Tensor:
    """Cut maps into patches without overlap: (B, C, h * size, w * size) -> (B * h * w, C, size, size)."""
    _, channels, height, width = x.shape
    x = x.reshape(-1, channels, height // size, size, width // size, size)
    return x.transpose(0, 2, 4, 1, 3, 5).reshape(-1, channels, size, size)


class SizeGuard(nn.Cell):
    """Pass images of the size that the network's position tables were built for, and refuse all others by name.

    Holds no parameter. (B, C, H, W) -> the same tensor.
    """

    def __init__(self, input_size: Tuple[int, int]):
        super().__init__()
        self.height, self.width = input_size

    def construct(self, x: Tensor) -> Tensor:
        if x.shape[2] != self.height or x.shape[3] != self.width:
            raise ValueError(f"the network was built for images of {self.height}x{self.width} pixels and got "
                             f"{x.shape[2]}x{x.shape[3]}; build it with the input_size that it will see, or take "
                             "ghost_ms.factory.at_size(net, (height, width))")
        return x


def patch_grid(input_size: Tuple[int, int], patch: int) -> Tuple[int, int]:
    """Rows and columns of patches; ValueError where patches of `patch` pixels do not tile the image."""
    height, width = input_size
    if height < patch or width < patch or height % patch or width % patch:
        raise ValueError(f"input_size {height}x{width} must be whole multiples of {patch} pixels")
    return height // patch, width // patch
