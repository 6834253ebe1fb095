"""ResNet-50 and what is built of it, beyond the contract."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms import create_model
from ghost_ms.layers import GhostModule, VConv2d
from ghost_ms.models.backbones.resnet import MaxPool


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (9, 5)])
def test_max_pool_has_a_border_that_never_wins(size):
    x = np.maximum(np.random.default_rng(0).standard_normal((2, 3) + size), 0).astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    rows, columns = ((extent - 1) // 2 + 1 for extent in size)
    expected = np.array([[padded[:, :, 2 * i:2 * i + 3, 2 * j:2 * j + 3].max((2, 3)) for j in range(columns)]
                         for i in range(rows)]).transpose((2, 3, 0, 1))
    np.testing.assert_array_equal(MaxPool()(ms.Tensor(x)).asnumpy(), expected)


def test_names_are_those_of_torchvision():
    names = [n for n, _ in create_model("resnet50").parameters_and_names()]
    assert names[0] == "conv1.weight" and names[-2:] == ["fc.weight", "fc.bias"] and len(names) == 267
    assert {"layer1.0.downsample.0.weight", "layer4.2.conv3.weight", "layer2.0.downsample.1.gamma"} < set(names)
    assert "layer1.1.downsample.0.weight" not in names


@pytest.mark.parametrize("name, ratio", [("ghost_resnet50", 2), ("ghost_resnet50_s4", 4)])
def test_ghost_resnet_has_a_norm_after_each_branch_and_no_other_convolution(name, ratio):
    net = create_model(name)
    modules = [cell for _, cell in net.cells_and_names() if isinstance(cell, GhostModule)]
    convolutions = [cell for _, cell in net.cells_and_names() if isinstance(cell, nn.Conv2d)]
    assert len(modules) == 3 * 16 + 4 and len(convolutions) == 2 * len(modules) + 1
    assert not any(c.has_bias for c in convolutions)
    for module in modules:
        for branch in (module.primary_conv, module.cheap_operation):
            convolution, norm = branch
            assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        assert module.primary_conv[0].out_channels * ratio == module.out_channels


def test_versatile_resnet_replaces_the_stem_and_the_3x3_convolutions():
    net = create_model("versatile_resnet50")
    kernels = [cell.weight.shape[2] for _, cell in net.cells_and_names() if isinstance(cell, VConv2d)]
    assert kernels == [7] + [3] * 16
    plain = [cell.kernel_size for _, cell in net.cells_and_names() if isinstance(cell, nn.Conv2d)]
    assert set(plain) == {(1, 1)}
