"""MobileNetV3: squeezed channels, where each activation stands, a head without BatchNorm."""
import pytest
from mindspore import nn

from ghost_ms import create_model
from ghost_ms.layers import SqueezeExcite

SQUEEZED = {"mobilenetv3_large_100": [24, 32, 32, 120, 168, 168, 240, 240],
            "mobilenetv3_small_100": [8, 24, 64, 64, 32, 40, 72, 144, 144]}


@pytest.mark.parametrize("name", sorted(SQUEEZED))
def test_squeeze_is_a_quarter_of_the_expanded_channels(name):
    gates = [cell for _, cell in create_model(name).cells_and_names() if isinstance(cell, SqueezeExcite)]
    assert [gate.conv_reduce.out_channels for gate in gates] == SQUEEZED[name]
    assert all(isinstance(gate.act, nn.ReLU) and isinstance(gate.gate, nn.HSigmoid) for gate in gates)


@pytest.mark.parametrize("name, relu_stages", [("mobilenetv3_large_100", 3), ("mobilenetv3_small_100", 2)])
def test_hard_swish_starts_deeper_in_the_network(name, relu_stages):
    net = create_model(name)
    kinds = [{type(block.act1) for block in stage} for stage in net.blocks]
    assert kinds == [{nn.ReLU}] * relu_stages + [{nn.HSwish}] * (len(net.blocks) - relu_stages)
    assert isinstance(net.act1, nn.HSwish) and isinstance(net.act2, nn.HSwish)


@pytest.mark.parametrize("name", sorted(SQUEEZED))
def test_maps_have_strides_2_to_32_and_the_head_a_bias_without_norm(name):
    net = create_model(name)
    assert [info.stride for info in net.feature_info] == [2, 4, 8, 16, 32]
    assert net.conv_head.has_bias and not hasattr(net, "bn2")
