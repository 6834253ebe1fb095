"""G-Ghost RegNet beyond contract and golden logits: which stages are G-Ghost ones, and where they cut."""
import pytest
from mindspore.nn.utils import no_init_parameters

from ghost_ms import create_model
from ghost_ms.models.backbones.g_ghost_regnet import GGhostStage

#: Channels of the inner path of layer2, layer3 and layer4 in the released code; None where the stage is plain.
RAW = {"002": (None, 72, 180), "004": (None, 72, 192), "006": (36, 108, 252), "008": (60, 144, 336),
       "016": (72, 198, None), "032": (72, 216, None), "040": (120, 270, None), "064": (168, 378, None),
       "080": (90, 360, None), "120": (168, 420, None), "160": (192, 384, None), "320": (252, 630, None)}


@pytest.mark.parametrize("size", sorted(RAW))
def test_inner_channels(size):
    with no_init_parameters():
        net = create_model(f"g_ghost_regnetx_{size}")
    stages = (net.layer2, net.layer3, net.layer4)
    assert tuple(s.raw if isinstance(s, GGhostStage) else None for s in stages) == RAW[size]
    assert not isinstance(net.layer1, GGhostStage)


def test_no_convolution_has_a_bias():
    names = [n for n, _ in create_model("g_ghost_regnetx_002").parameters_and_names()]
    assert [n for n in names if n.endswith("bias")] == ["fc.bias"]
