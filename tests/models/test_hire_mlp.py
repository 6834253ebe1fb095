"""Rearrangements of Hire-MLP at sizes that the regions do not divide."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms import create_model
from ghost_ms.models.backbones.hire_mlp import HireModule, circular_window, join_regions, split_regions


def _map(rows, columns, channels=3):
    return np.random.default_rng(0).standard_normal((2, channels, rows, columns)).astype(np.float32)


def _joined(x, axis, region, step):
    """Roll, circular padding and joining by index arithmetic."""
    x = np.roll(x, step, axis)
    extent = x.shape[axis]
    count = -(-extent // region)
    positions = np.arange(count * region) % extent
    x = np.take(x, positions, axis)
    batch, channels = x.shape[:2]
    shape = list(x.shape)
    shape[1], shape[axis] = channels * region, count
    out = np.zeros(shape, x.dtype)
    for c in range(channels):
        for p in range(region):
            out[:, c * region + p] = np.take(x[:, c], np.arange(count) * region + p, axis - 1)
    return out


class ThereAndBack(nn.Cell):
    """What a module's layers see, and what it would return if they changed nothing."""

    def __init__(self, module, axis):
        super().__init__()
        self.module = module
        self.axis = axis

    def construct(self, x):
        joined = self.module._rearrange(x, self.axis)
        return joined, self.module._restore(joined, self.axis, x.shape[self.axis])


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE])
@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("region, step, size", [
    (4, 0, (8, 12)), (4, 2, (7, 10)), (3, 1, (5, 1)), (3, 2, (1, 2)), (2, 1, (7, 6))])
def test_rearrangement_rolls_forward_then_pads_circularly(region, step, size, axis, mode):
    x = _map(*size, channels=4)
    module = HireModule(4, region, step)
    ms.set_context(mode=mode)
    joined, restored = ThereAndBack(module, axis)(ms.Tensor(x))
    np.testing.assert_array_equal(joined.asnumpy(), _joined(x, axis, region, step))
    np.testing.assert_array_equal(restored.asnumpy(), x)


def test_restoring_cuts_the_padding_before_it_rolls_back():
    module = HireModule(4, 3, 1)
    padded = _map(6, 4, 12)[:, :, :2]
    rows = split_regions(ms.Tensor(padded), 2, 3).asnumpy()
    np.testing.assert_array_equal(module._restore(ms.Tensor(padded), 2, 5).asnumpy(), np.roll(rows[:, :, :5], -1, 2))


@pytest.mark.parametrize("axis", [2, 3])
def test_splitting_undoes_joining(axis):
    x = ms.Tensor(_map(6, 9))
    np.testing.assert_array_equal(split_regions(join_regions(x, axis, 3), axis, 3).asnumpy(), x.asnumpy())


def test_a_window_of_everything_makes_no_slice():
    x = ms.Tensor(_map(4, 4))
    assert circular_window(x, 2, 0, 4, 4) is x


def test_steps_of_each_stage():
    net = create_model("hire_mlp_small")
    steps = [[block.attn.step for block in net.network[index]] for index in (0, 2, 4, 6)]
    assert steps == [[0, 2, 0], [0, 2, 0, 2], [0, 1, 2, 0, 1, 2, 0, 1, 2, 0], [0, 1, 0]]
    assert [net.network[index][0].attn.region for index in (0, 2, 4, 6)] == [4, 3, 3, 2]


def test_fresh_convolutions_follow_the_published_distribution():
    net = create_model("hire_mlp_tiny")
    weight = net.network[4][0].mlp.fc1.weight.asnumpy()
    assert abs(weight.std() - 0.02) < 2e-4 and not net.network[4][0].mlp.fc1.bias.asnumpy().any()


def test_inputs_of_odd_sizes():
    net = create_model("hire_mlp_tiny").set_train(False)
    assert net(ms.Tensor(_map(75, 101))).shape == (2, 1000)
