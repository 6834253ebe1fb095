"""The first convolution of a file for images of another number of channels."""
from typing import Optional, Sequence

import numpy as np


def other_channels(value: np.ndarray, shape: Sequence[int]) -> Optional[np.ndarray]:
    """A stem's weight (O, I, h, w) for `shape` (O, C, h, w), float32, or None where it differs in more than I.

    As timm does it (`adapt_input_conv`): for one channel the weights are summed, which is what three equal channels
    gave; for more they are repeated and scaled by I / C, so that equal channels give what one did.
    """
    shape = tuple(shape)
    if value.ndim != 4 or len(shape) != 4 or value.shape == shape or value.shape[1] not in (1, 3):
        return None
    if (value.shape[0], *value.shape[2:]) != (shape[0], *shape[2:]):
        return None
    value, channels = value.astype(np.float32), shape[1]
    if channels == 1:
        return value.sum(1, keepdims=True)
    repeated = np.tile(value, (1, -(-channels // value.shape[1]), 1, 1))[:, :channels]
    return repeated * np.float32(value.shape[1] / channels)


def said(name: str, was: int, channels: int) -> str:
    """What became of it, in words."""
    how = "summed into one" if channels == 1 else f"repeated for {channels} and scaled by {was}/{channels}"
    return f"{name} takes {was} channel{'s' if was > 1 else ''} in the file: {how}"
