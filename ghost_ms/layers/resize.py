"""Bilinear resizing by one rule: half-pixel centres (PyTorch's align_corners=False), no antialiasing."""
from typing import Tuple

from mindspore import Tensor, ops

#: Not `ops.interpolate`, of which a MINDIR with an open batch keeps a call that no runtime resolves.
_resize = ops.ResizeBilinearV2(align_corners=False, half_pixel_centers=True)


def resize_bilinear(x: Tensor, size: Tuple[int, int]) -> Tensor:
    """(B, C, h, w) -> (B, C, size[0], size[1]); a map that has the size is returned as it is."""
    return x if x.shape[2:] == tuple(size) else _resize(x, tuple(size))
