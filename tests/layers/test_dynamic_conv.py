"""Dynamic convolution: a kernel a sample."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from ghost_ms.layers import DynamicConv2d, conv2d

CASES = [dict(), dict(kernel_size=3), dict(kernel_size=3, stride=2), dict(kernel_size=5, stride=2, groups=8)]


def _layer(**options):
    layer = DynamicConv2d(8, 8, **options)
    # Routing far from a half, and different from sample to sample.
    layer.routing.weight.set_data(ms.Tensor(np.random.default_rng(1).standard_normal((4, 8)).astype(np.float32) * 5))
    return layer


def _images(batch):
    return np.random.default_rng(0).standard_normal((batch, 8, 6, 10)).astype(np.float32)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_every_sample_gets_its_own_unnormalised_mixture(options):
    layer, x = _layer(**options), _images(3)
    routed = x.mean((2, 3)) @ layer.routing.weight.asnumpy().T + layer.routing.bias.asnumpy()
    mixture = 1 / (1 + np.exp(-routed.astype(np.float64)))
    assert np.abs(mixture.sum(1) - 1).max() > 0.1
    kernels = mixture @ layer.cond_conv.weight.asnumpy()
    plain = conv2d(8, 8, options.get("kernel_size", 1), options.get("stride", 1), options.get("groups", 1))
    got = layer(ms.Tensor(x)).asnumpy()
    for sample in range(3):
        plain.weight.set_data(ms.Tensor(kernels[sample].reshape(plain.weight.shape), ms.float32))
        expected = plain(ms.Tensor(x[sample:sample + 1])).asnumpy()[0]
        np.testing.assert_allclose(got[sample], expected, atol=2e-5)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_a_sample_alone_equals_itself_in_a_batch_in_graph_mode(options, graph):
    layer, x = _layer(**options), _images(3)
    batch = layer(ms.Tensor(x)).asnumpy()
    for sample in range(3):
        np.testing.assert_allclose(layer(ms.Tensor(x[sample:sample + 1])).asnumpy()[0], batch[sample], atol=2e-5)


def test_routing_is_the_sigmoid_to_the_last_bit_or_two_and_has_a_gradient_everywhere():
    routing = DynamicConv2d(1, 1).routing
    routing.weight.set_data(ms.Tensor([[1.0], [-1.0], [10.0], [0.1]], ms.float32))
    routing.bias.set_data(ms.Tensor(np.zeros(4, np.float32)))
    x = np.linspace(-30, 30, 1201, dtype=np.float32)[:, None]
    exact = 1 / (1 + np.exp(-(x * np.float32([1, -1, 10, 0.1])).astype(np.float64)))
    np.testing.assert_allclose(routing(ms.Tensor(x)).asnumpy(), exact, atol=2e-7)
    gradient = ops.grad(lambda value: routing(value).sum())(ms.Tensor(x)).asnumpy()
    assert np.isfinite(gradient).all()


def test_experts_start_uniform_in_the_bound_of_their_own_shape():
    weight = DynamicConv2d(64, 64, 3, groups=4).cond_conv.weight.asnumpy()
    assert weight.shape == (4, 64 * 16 * 9)
    bound = 1 / np.sqrt(16 * 9)
    assert 0.99 * bound < np.abs(weight).max() <= bound
    np.testing.assert_allclose(weight.std(1), bound / np.sqrt(3), rtol=0.02)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_mixing_outputs_for_an_open_batch_equals_mixing_kernels(options):
    layer, x = _layer(**options), ms.Tensor(_images(3))
    expected = layer(x).asnumpy()
    layer.open_batch = True
    np.testing.assert_allclose(layer(x).asnumpy(), expected, atol=2e-5)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_absorbed_affine_maps_act_on_the_outputs(options):
    layer, x = _layer(**options), ms.Tensor(_images(2))
    scale, shift = np.linspace(-1, 2, 8), np.linspace(3, -1, 8)
    expected = layer(x).asnumpy()
    for _ in range(2):
        layer.absorb_affine(scale, shift)
        expected = expected * scale[:, None, None] + shift[:, None, None]
    for layer.open_batch in (False, True):
        np.testing.assert_allclose(layer(x).asnumpy(), expected, atol=1e-4)
