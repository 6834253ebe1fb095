"""The slope that training learns away, and the pools that round up."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms import create_model
from ghost_ms.models.backbones.vanillanet import HalvingMaxPool
from ghost_ms.weights.convert import torch_names
from tests.layers.test_reparam import images, randomise


def build(**kwargs):
    return randomise(create_model("vanillanet_5", num_classes=3, **kwargs))


def by_hand(net, x, slope):
    """The network of the paper, cell by cell, with a leaky ReLU of the slope between each pair."""
    leaky = nn.LeakyReLU(slope)

    def pair(cell, x):
        return cell.conv2(leaky(cell.conv1(x)))

    x = net.stem[1](pair(net.stem[0], x))
    for block in net.stages:
        x = block.act(block.pool(pair(block.conv, x)))
    return pair(net.cls[2], x.mean((2, 3), keep_dims=True)).asnumpy()[:, :, 0, 0]


def test_slope_is_driven_without_a_new_graph(graph):
    net, x = build(), images((2, 3, 64, 64))
    assert net.activation_slope == 1
    outputs = {}
    for slope in (0.0, 0.25, 1.0):
        net.set_activation_slope(slope)
        assert net.activation_slope == slope
        outputs[slope] = net(x).asnumpy()
        assert len(net.compile_cache) == 1
    ms.set_context(mode=ms.PYNATIVE_MODE)
    for slope, output in outputs.items():
        np.testing.assert_allclose(output, by_hand(net, x, slope), rtol=1e-4, atol=1e-5 * np.abs(output).max())
    assert np.abs(outputs[0.0] - outputs[1.0]).max() > 1e-3
    np.testing.assert_allclose(build()(x).asnumpy().shape, outputs[1.0].shape)


def test_slope_moves_inside_a_compiled_training_step(graph):
    net, x, labels = build(), images((4, 3, 64, 64)), ms.Tensor([0, 1, 2, 0], ms.int32)
    net.set_activation_slope(0.0)
    step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.CrossEntropyLoss()), nn.SGD(net.trainable_params(), 0.0))
    step.set_train()
    losses = []
    for slope in (0.0, 0.5, 1.0, 0.0):
        net.set_activation_slope(slope)
        losses.append(float(step(x, labels).asnumpy()))
    assert len(step.compile_cache) == 1
    assert losses[3] == pytest.approx(losses[0], rel=1e-4)
    assert len({round(loss, 4) for loss in losses[:3]}) == 3


def test_slope_is_no_weight(tmp_path):
    net = build()
    names, torch = [n for n, _ in net.parameters_and_names()], torch_names(net)
    net.set_activation_slope(0.5)
    assert [n for n, _ in net.parameters_and_names()] == names and torch_names(net) == torch
    assert "slope" not in "".join(p.name for p in net.get_parameters())


def test_reparameterize_waits_for_slope_one():
    net, x = build(), images((1, 3, 64, 64))
    for slope in (0.0, 0.99):
        net.set_activation_slope(slope)
        with pytest.raises(RuntimeError, match="reached 1"):
            net.reparameterize()
    net.set_activation_slope(1.0)
    before = net(x).asnumpy()
    after = net.reparameterize()(x).asnumpy()
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())
    with pytest.raises(RuntimeError, match="re-parameterised"):
        net.set_activation_slope(0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        build().set_activation_slope(1.5)


def test_classifier_can_be_reset_in_both_forms():
    net, x = build(), images((2, 3, 64, 64))
    net.set_activation_slope(0.0)
    net.reset_classifier(5)
    assert net(x).shape == (2, 5) and net.cls[2].slope is net.stem[0].slope
    net.set_activation_slope(1.0)
    net.reparameterize().reset_classifier(6)
    assert net(x).shape == (2, 6) and type(net.cls[2]) is nn.Conv2d


def test_two_scheduled_networks_meet_in_one_graph(graph):
    class Pair(nn.Cell):
        def __init__(self, first, second):
            super().__init__()
            self.first, self.second = first, second

        def construct(self, x):
            return self.first(x), self.second(x)

    nets, x = [build(), build()], images((1, 3, 64, 64))
    for net, slope in zip(nets, (0.0, 0.5)):
        net.set_activation_slope(slope)
    outputs = Pair(*nets)(x)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    for net, output, slope in zip(nets, outputs, (0.0, 0.5)):
        expected = by_hand(net, x, slope)
        np.testing.assert_allclose(output.asnumpy(), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("size", [(75, 75), (38, 38), (19, 19), (75, 38), (10, 13), (2, 1), (21, 32)])
def test_adaptive_pool_is_pytorchs(size):
    """Window i of PyTorch's adaptive pool is floor(i * in / out) up to ceil((i + 1) * in / out)."""
    x = -1 - np.random.default_rng(0).random((2, 3) + size).astype(np.float32)
    target = tuple(-(-extent // 2) for extent in size)
    expected = np.empty((2, 3) + target, np.float32)
    for row in range(target[0]):
        for column in range(target[1]):
            rows, columns = (slice(i * n // m, -(-(i + 1) * n // m))
                             for i, n, m in zip((row, column), size, target))
            expected[:, :, row, column] = x[:, :, rows, columns].max((2, 3))
    np.testing.assert_array_equal(HalvingMaxPool()(ms.Tensor(x)).asnumpy(), expected)


def test_adaptive_variant_has_the_published_maps_at_224():
    net = create_model("vanillanet_13_x1_5_ada_pool", deploy=True).set_train(False)
    extents, x = [], images((1, 3, 224, 224))
    x = net.stem[0](x)
    extents.append(x.shape[2:])
    tiny = x[:, :4]
    for block in net.stages:
        if not isinstance(block.pool, nn.Identity):
            tiny = block.pool(tiny)
            extents.append(tiny.shape[2:])
    assert extents == [(75, 75), (38, 38), (19, 19), (10, 10)]
    assert [index for index, block in enumerate(net.stages) if not isinstance(block.pool, nn.Identity)] == [1, 2, 9]
