"""Rounding of channels, and the two forms of a depthwise convolution."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import amp, nn, ops

from ghost_ms.layers import conv2d, depthwise_conv2d, make_divisible


@pytest.mark.parametrize("value,expected", [(8, 8), (20.8, 20), (18, 20), (22, 24), (67.2, 68), (1, 4)])
def test_make_divisible(value, expected):
    assert make_divisible(value, 4) == expected


def test_make_divisible_never_loses_more_than_a_tenth():
    assert make_divisible(11, 8) == 16


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE])
@pytest.mark.parametrize("height,width,kernel,stride", [(2, 2, 3, 1), (7, 5, 5, 2), (4, 6, (1, 5), 1), (1, 3, 3, 2)])
def test_depthwise_matrix_form_equals_the_convolution(mode, height, width, kernel, stride):
    ms.set_context(mode=mode)
    conv = depthwise_conv2d(6, kernel, stride, bias=True)
    x = ms.Tensor(np.random.default_rng(0).standard_normal((3, 6, height, width)).astype(np.float32))

    def squares(x):
        return (conv(x) ** 2).sum()

    results = {}
    for training in (False, True):
        conv.set_train(training)
        gradients = ops.value_and_grad(squares, 0, conv.trainable_params())(x)[1]
        results[training] = [conv(x), gradients[0], *gradients[1]]
    for plain, matrix in zip(results[False], results[True]):
        np.testing.assert_allclose(matrix.asnumpy(), plain.asnumpy(), rtol=1e-4, atol=1e-5)


def test_depthwise_matrix_form_in_half_precision():
    ms.set_context(mode=ms.GRAPH_MODE)
    conv = depthwise_conv2d(6, 3, bias=True).set_train()
    x = ms.Tensor(np.random.default_rng(0).standard_normal((3, 6, 4, 4)).astype(np.float32))
    single = conv(x).asnumpy()
    half = amp.auto_mixed_precision(nn.SequentialCell(conv), "O2").set_train()

    def squares(x):
        return (half(x).astype(ms.float32) ** 2).sum()

    ops.value_and_grad(squares, None, conv.trainable_params())(x)
    assert not np.array_equal(half(x).asnumpy(), single), "computed in half precision"
    np.testing.assert_allclose(half(x).asnumpy(), single, rtol=1e-2, atol=1e-2)


def test_matrix_form_is_taken_only_by_depthwise_convolutions_in_training():
    conv = depthwise_conv2d(4, 3)
    taken = []
    conv._matrix_product = lambda x: taken.append(x.shape) or x
    small, large = ms.Tensor(np.ones((1, 4, 7, 7), np.float32)), ms.Tensor(np.ones((1, 4, 8, 7), np.float32))
    conv.set_train(False)(small)
    conv.set_train(True)(large)
    assert taken == []
    conv(small)
    assert taken == [(1, 4, 7, 7)]
    assert not hasattr(conv2d(4, 8, 3), "as_matrix")
