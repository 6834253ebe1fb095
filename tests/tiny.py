"""Networks of a few hundred weights, which compile in a second or two, for tests of whole commands and runs."""
import contextlib

import pytest
from mindspore import nn

from ghost_ms.deploy.export import outputs_of
from ghost_ms.layers.drop import DropPath
from ghost_ms.models import registry
from ghost_ms.models.backbone import Backbone, FeatureInfo
from ghost_ms.models.backbones.vanillanet import VanillaNet
from ghost_ms.models.registry import ModelCard
from ghost_ms.runtime import sidecar
from ghost_ms.runtime.signature import ExportSignature


class Tiny(Backbone):
    """Two convolutions; (B, 3, H, W) to logits."""

    feature_info = (FeatureInfo(8, 4, "stem"), FeatureInfo(8, 8, "stage"))
    classifier_cells = ("head",)

    def __init__(self, num_classes=4, in_channels=3, drop_rate=0.0, drop_path_rate=0.0):
        super().__init__()
        self.stem = nn.SequentialCell(nn.Conv2d(in_channels, 8, 4, 4, pad_mode="valid"), nn.BatchNorm2d(8), nn.ReLU())
        self.stage = nn.SequentialCell(nn.Conv2d(8, 8, 2, 2, pad_mode="valid"), nn.BatchNorm2d(8), nn.ReLU())
        self.drop_path, self.dropout = DropPath(drop_path_rate), nn.Dropout(p=drop_rate)
        self.num_features, self.head = 8, nn.Dense(8, num_classes)

    def layer_parts(self):
        return ("stem",), ("stage",), ("head",)

    def forward_features(self, x):
        return self.drop_path(self.stage(self.stem(x)))

    def forward_head(self, x):
        return self.head(self.dropout(x.mean((2, 3))))

    def new_classifier(self, num_classes):
        self.head = nn.Dense(8, num_classes)


@contextlib.contextmanager
def registered():
    """Known as 'tiny' and 'tiny_vanilla' for a while."""
    with pytest.MonkeyPatch.context() as patch:
        for name, make in (("tiny", Tiny), ("tiny_vanilla", lambda **kwargs: VanillaNet((8, 16), (2,), **kwargs))):
            patch.setitem(registry._CARDS, name, ModelCard(params=0, macs=0, paper="", name=name))
            patch.setitem(registry._CONSTRUCTORS, name, make)
        yield


def write_sidecar(path, spec, batch_size, form=ExportSignature()):
    """The sidecar that an export of this network would write."""
    sidecar.write_sidecar(path, spec, batch_size, form, outputs_of(spec, form))
