"""LegoConv2d against its definition; its gradients against the rules of the released training code."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from ghost_ms.layers import LegoConv2d, conv2d


@pytest.fixture
def layer():
    ms.set_seed(3)
    return LegoConv2d(6, 8, 3, splits=2, lego_ratio=0.5)


def _image():
    return ms.Tensor(np.random.default_rng(0).standard_normal((2, 6, 5, 7)), ms.float32)


def _one_hot(layer):
    return np.eye(layer.legos)[layer.aux_combination.asnumpy()[..., 0, 0].argmax(2)]


def _as_plain(layer):
    """The ordinary convolution that the Lego convolution amounts to."""
    lego, coefficients = layer.lego.asnumpy(), layer.aux_coefficients.asnumpy()[..., 0, 0]
    plain = conv2d(layer.in_channels, layer.out_channels, layer.kernel_size)
    kernels = [np.tensordot(c * choice, lego, (1, 0)) for c, choice in zip(coefficients, _one_hot(layer))]
    plain.weight.set_data(ms.Tensor(np.concatenate(kernels, 1), ms.float32))
    return plain


def test_equals_the_convolution_it_stands_for(layer):
    expected = _as_plain(layer)(_image()).asnumpy()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(layer(_image()).asnumpy(), expected, atol=1e-5 * scale)
    np.testing.assert_allclose(layer.sparse()(_image()).asnumpy(), expected, atol=1e-5 * scale)


def test_choice_is_exactly_one_hot_and_takes_the_first_of_equals(layer):
    np.testing.assert_array_equal(layer.choice().asnumpy()[..., 0, 0], _one_hot(layer))
    table = np.zeros(layer.aux_combination.shape, np.float32)
    table[:, :, 2:] = 5
    layer.aux_combination.set_data(ms.Tensor(table))
    expected = np.zeros_like(table)
    expected[:, :, 2] = 1
    np.testing.assert_array_equal(layer.choice().asnumpy(), expected)


def test_gradient_of_the_choice_reaches_the_table_unchanged(layer):
    x, lego = _image(), layer.lego.asnumpy()
    plain = _as_plain(layer)

    def loss(net):
        return lambda images: (net(images) ** 2).sum()

    gradient = ops.value_and_grad(loss(layer), None, [layer.aux_combination, layer.aux_coefficients])(x)[1]
    kernel = ops.value_and_grad(loss(plain), None, [plain.weight])(x)[1][0].asnumpy()
    splits = np.split(kernel, layer.splits, 1)
    to_product = np.stack([np.tensordot(part, lego, ((1, 2, 3), (1, 2, 3))) for part in splits])
    expected = to_product * layer.aux_coefficients.asnumpy()[..., 0, 0]
    np.testing.assert_allclose(gradient[0].asnumpy()[..., 0, 0], expected, atol=1e-4 * np.abs(expected).max())
    expected = to_product * _one_hot(layer)
    np.testing.assert_allclose(gradient[1].asnumpy()[..., 0, 0], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE])
def test_balance_gradient_is_the_released_rule(mode):
    ms.set_context(mode=mode)
    layer = LegoConv2d(6, 9, 3, splits=2, lego_ratio=0.5)
    table = np.random.default_rng(4).standard_normal(layer.aux_combination.shape).astype(np.float32)
    table[:, :5, 0] = 9
    layer.aux_combination.set_data(ms.Tensor(table))

    def loss():
        return layer.balance_loss()

    value, gradients = ops.value_and_grad(loss, None, [layer.aux_combination])()
    uses, mean = _one_hot(layer).sum((0, 1)), 2 * 9 / 4
    excess = [max(n - np.ceil(mean), 0) - max(np.floor(mean) - n, 0) for n in uses]
    assert max(excess) > 0 > min(excess)
    expected = np.broadcast_to(np.reshape(excess, (1, 1, -1, 1, 1)), table.shape)
    np.testing.assert_array_equal(gradients[0].asnumpy(), expected)
    assert float(value.asnumpy()) == 0.5 * np.square(excess).sum()


def test_refuses_unequal_splits():
    with pytest.raises(ValueError, match="7 input channels"):
        LegoConv2d(7, 8, 3, splits=2)
