"""ShuffleNetV2: the order of shuffled channels, PyTorch's max pooling, what a unit leaves alone."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms import create_model
from ghost_ms.models.backbones.shufflenetv2 import ShuffleUnit, max_pool, shuffle_channels


def test_shuffle_interleaves_the_halves():
    x = np.arange(2 * 6 * 2 * 3, dtype=np.float32).reshape(2, 6, 2, 3)
    np.testing.assert_array_equal(shuffle_channels(ms.Tensor(x)).asnumpy(), x[:, [0, 3, 1, 4, 2, 5]])
    np.testing.assert_array_equal(shuffle_channels(ms.Tensor(x), 3).asnumpy(), x[:, [0, 2, 4, 1, 3, 5]])


@pytest.mark.parametrize("size", [(8, 8), (7, 7), (6, 9)])
def test_max_pool_pads_all_sides_as_pytorch_does(size):
    x = np.maximum(np.random.default_rng(0).standard_normal((2, 3) + size), 0).astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    rows, columns = ((extent - 1) // 2 + 1 for extent in size)
    expected = np.array([[padded[:, :, 2 * r:2 * r + 3, 2 * c:2 * c + 3].max((2, 3)) for c in range(columns)]
                         for r in range(rows)]).transpose(2, 3, 0, 1)
    np.testing.assert_array_equal(max_pool()(ms.Tensor(x)).asnumpy(), expected)


def test_half_of_the_channels_pass_a_unit_untouched():
    x = np.random.default_rng(0).standard_normal((2, 8, 5, 5)).astype(np.float32)
    got = ShuffleUnit(8).set_train(False)(ms.Tensor(x)).asnumpy()
    np.testing.assert_array_equal(got[:, ::2], x[:, :4])
    assert not np.isin(got[:, 1::2], x).all()


def test_stochastic_depth_drops_the_filtered_half_of_whole_samples():
    unit = ShuffleUnit(8, drop_path=0.5).set_train(True)
    unit.branch2.set_train(False)
    x = np.random.default_rng(0).standard_normal((64, 8, 3, 3)).astype(np.float32)
    got = unit(ms.Tensor(x)).asnumpy()
    np.testing.assert_array_equal(got[:, ::2], x[:, :4])
    dropped = ~got[:, 1::2].any((1, 2, 3))
    assert 10 < dropped.sum() < 54
    kept = unit.branch2(ms.Tensor(x[:, 4:])).asnumpy()[~dropped]
    np.testing.assert_allclose(got[~dropped][:, 1::2], 2 * kept, rtol=1e-5)


def test_no_activation_follows_a_depthwise_convolution():
    net, found = create_model("shufflenetv2_x0_5"), 0
    for _, branch in net.cells_and_names():
        cells = list(branch) if isinstance(branch, nn.SequentialCell) else []
        for index, cell in enumerate(cells):
            if isinstance(cell, nn.Conv2d) and cell.group > 1:
                found += 1
                assert isinstance(cells[index + 1], nn.BatchNorm2d) and isinstance(cells[index + 2], nn.Conv2d)
                assert not cell.has_bias
    assert found == 16 + 3
