"""Bilinear resizing by one rule: half-pixel centres (PyTorch's align_corners=False), no antialiasing."""
from typing import Tuple

from mindspore import Tensor, ops


def resize_bilinear(x: Tensor, size: Tuple[int, int]) -> Tensor:
    """(B, C, h, w) -> (B, C, size[0], size[1]); a map that has the size is returned as it is."""
    if x.shape[2:] == tuple(size):
        return x
    return ops.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
