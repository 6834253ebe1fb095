"""A backbone of a few hundred weights whose maps a segmenter can take."""
import contextlib

import pytest
from mindspore import nn

from ghost_ms.models import registry
from ghost_ms.models.registry import ModelCard
from tests.tiny import FeatureInfo, Tiny


class TinyDense(Tiny):
    """Maps of strides 8 and 16."""

    feature_info = (FeatureInfo(8, 8, "stem"), FeatureInfo(8, 16, "stage"))

    def __init__(self, num_classes=4, in_channels=3, **kwargs):
        super().__init__(num_classes, in_channels, **kwargs)
        self.stem = nn.SequentialCell(nn.Conv2d(in_channels, 8, 8, 8, pad_mode="valid"), nn.BatchNorm2d(8), nn.ReLU())

    def forward_stages(self, x):
        low = self.stem(x)
        return low, self.stage(low)


@contextlib.contextmanager
def registered():
    """Known as 'tiny_dense' for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._CARDS, "tiny_dense", ModelCard(params=0, macs=0, paper="", name="tiny_dense"))
        patch.setitem(registry._CONSTRUCTORS, "tiny_dense", TinyDense)
        yield
