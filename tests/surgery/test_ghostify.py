"""Ghost modules in networks that were not built with them."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms import create_model
from ghost_ms.layers import conv2d
from ghost_ms.surgery.ghostify import GhostConv2d, ghostify


class Bottleneck(nn.Cell):
    def __init__(self, inputs, width, stride):
        super().__init__()
        out = 4 * width
        self.body = nn.SequentialCell(
            conv2d(inputs, width), nn.BatchNorm2d(width), nn.ReLU(),
            conv2d(width, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU(), conv2d(width, out), nn.BatchNorm2d(out))
        self.downsample = nn.SequentialCell(conv2d(inputs, out, 1, stride), nn.BatchNorm2d(out)) \
            if inputs != out or stride > 1 else nn.Identity()
        self.relu = nn.ReLU()

    def construct(self, x):
        return self.relu(self.body(x) + self.downsample(x))


class ResNet50(nn.Cell):
    def __init__(self):
        super().__init__()
        self.stem = nn.SequentialCell(conv2d(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, "same"))
        blocks, inputs = [], 64
        for width, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for index in range(depth):
                blocks.append(Bottleneck(inputs, width, stride if index == 0 else 1))
                inputs = 4 * width
        self.blocks = nn.SequentialCell(*blocks)
        self.fc = nn.Dense(2048, 1000)

    def construct(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


def parameters(net):
    return sum(p.size for n, p in net.parameters_and_names() if "moving_" not in n)


def macs(net, x):
    """Multiply-accumulates of convolutions and dense layers for one input, counted by hooks."""
    counted, handles = [], []

    def count(cell, _, output):
        positions = output.shape[2] * output.shape[3] if output.ndim == 4 else 1
        counted.append(int(np.prod(cell.weight.shape)) * positions)

    for _, cell in net.cells_and_names():
        if isinstance(cell, (nn.Conv2d, nn.Dense)):
            handles.append(cell.register_forward_hook(count))
    net(x)
    for handle in handles:
        handle.remove()
    return sum(counted)


def test_resnet50_meets_the_figures_of_ghost_resnet50():
    """Paper, section 4.2: ResNet-50 25.6M / 4.1B; Ghost-ResNet50 13.0M / 2.2B (ratio 2), 6.5M / 1.2B (ratio 4).

    13,953,512 and 8,151,752 are what its public code comes to with a BatchNorm on each branch.
    """
    x = ms.Tensor(np.zeros((1, 3, 224, 224)), ms.float32)
    net = ResNet50().set_train(False)
    assert parameters(net) == 25_557_032
    assert macs(net, x) == pytest.approx(4089e6, rel=1e-3)
    for ratio, expected, cost in ((2, 13_953_512, 2151.02e6), (4, 8_151_752, 1181.94e6)):
        net = ResNet50().set_train(False)
        result = ghostify(net, ratio=ratio)
        assert result.net is net
        assert len(result.replaced) == 52 and result.kept == {"stem.0": "only 3 inputs"}
        assert parameters(net) == expected
        assert macs(net, x) == pytest.approx(cost, rel=1e-5)


@pytest.mark.parametrize("pad_mode, padding, stride, dilation, kernel", [
    ("same", 0, 2, 1, 3), ("valid", 0, 1, 1, 5), ("pad", 2, 1, 2, 3), ("pad", 1, 2, 1, 4)])
@pytest.mark.parametrize("ratio, outputs", [(2, 31), (3, 32), (2, 32)])
def test_every_map_keeps_its_shape(pad_mode, padding, stride, dilation, kernel, ratio, outputs):
    conv = nn.Conv2d(16, outputs, kernel, stride, pad_mode, padding, dilation, has_bias=True)
    x = ms.Tensor(np.random.default_rng(0).standard_normal((2, 16, 13, 18)), ms.float32)
    assert GhostConv2d(conv, ratio)(x).shape == conv(x).shape


def test_the_ghosts_are_depthwise_images_of_the_primary_maps():
    conv = GhostConv2d(conv2d(16, 9, bias=True), ratio=2)
    x = ms.Tensor(np.random.default_rng(0).standard_normal((1, 16, 6, 7)), ms.float32)
    primary = conv.primary_conv(x)
    maps = conv(x).asnumpy()
    np.testing.assert_array_equal(maps[:, :5], primary.asnumpy())
    np.testing.assert_array_equal(maps[:, 5:], conv.cheap_operation(primary).asnumpy()[:, :4])


def test_what_is_kept_and_why():
    class Special(nn.Conv2d):
        pass

    shared = conv2d(32, 32)
    net = nn.SequentialCell(conv2d(3, 32, 3), conv2d(32, 32, 3, groups=32), Special(32, 32, 1), shared,
                            nn.SequentialCell(shared), conv2d(32, 1), conv2d(32, 32))
    result = ghostify(net, exclude="6")
    assert result.replaced == ("3", "4.0") and net[3] is net[4][0] and isinstance(net[3], GhostConv2d)
    assert result.kept == {"0": "only 3 inputs", "1": "32 groups", "2": "subclass Special", "5": "only 1 outputs",
                           "6": "excluded"}
    assert [p.name for p in net.get_parameters()] == [n for n, _ in net.parameters_and_names()]


def test_squeeze_excite_is_kept_and_a_predicate_excludes():
    net = create_model("ghostnet_050")
    result = ghostify(net, exclude=lambda name, conv: "ghost" in name)
    assert {name for name, why in result.kept.items() if why.startswith("squeeze")} == {
        f"blocks.{block}.se.{conv}" for block in ("3.0", "4.0", "6.3", "6.4", "7.0", "8.1", "8.3")
        for conv in ("conv_reduce", "conv_expand")}
    assert not any("ghost" in name for name in result.replaced) and "blocks.9.0.conv" in result.replaced
    assert net(ms.Tensor(np.zeros((1, 3, 64, 64)), ms.float32)).shape == (1, 1000)


def test_a_compiled_network_is_compiled_anew(graph):
    net = nn.SequentialCell(conv2d(16, 16), nn.ReLU()).set_train(False)
    x = ms.Tensor(np.random.default_rng(0).standard_normal((1, 16, 5, 5)), ms.float32)
    before = net(x).asnumpy()
    ghostify(net)
    after = net(x).asnumpy()
    assert np.abs(after - before).max() > 1e-3
    expected = net[1](net[0](x)).asnumpy()
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)


def test_errors_name_the_remedy():
    with pytest.raises(ValueError, match="ratio of 2"):
        ghostify(nn.SequentialCell(conv2d(32, 32)), ratio=1)
    with pytest.raises(ValueError, match="no convolution to replace"):
        ghostify(nn.SequentialCell(conv2d(3, 32)))
    with pytest.raises(TypeError, match="GhostConv2d"):
        ghostify(conv2d(32, 32))
