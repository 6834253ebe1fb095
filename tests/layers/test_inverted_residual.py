"""Inverted residual blocks: TensorFlow's padding, where the input is added, what the gate sees."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms.layers import DepthwiseSeparable, InvertedResidual, SqueezeExcite, conv2d, same_conv2d


def _images(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _correlate(image, kernel, stride, before, after):
    """One channel by hand: zeros before and after each axis (rows, columns), then a valid correlation."""
    padded = np.pad(image, tuple(zip(before, after)))
    size = kernel.shape[0]
    rows, columns = ((extent - size) // stride + 1 for extent in padded.shape)
    return np.array([[(padded[r * stride:r * stride + size, c * stride:c * stride + size] * kernel).sum()
                      for c in range(columns)] for r in range(rows)])


@pytest.mark.parametrize("size", [(8, 8), (7, 7), (6, 9)])
@pytest.mark.parametrize("kernel_size, stride", [(3, 2), (5, 2), (3, 1), (5, 1)])
def test_same_padding_puts_the_odd_pixel_at_the_far_end(size, kernel_size, stride):
    conv, x = same_conv2d(1, 1, kernel_size, stride), _images(1, 1, *size)
    before, after = [], []
    for extent in size:
        total = max((-(-extent // stride) - 1) * stride + kernel_size - extent, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    expected = _correlate(x[0, 0], conv.weight.asnumpy()[0, 0], stride, before, after)
    got = conv(ms.Tensor(x)).asnumpy()[0, 0]
    assert got.shape == tuple(-(-extent // stride) for extent in size)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_same_padding_differs_from_symmetric_padding_on_even_sizes_only():
    ours, theirs = same_conv2d(1, 1, 3, 2), conv2d(1, 1, 3, 2)
    theirs.weight.set_data(ours.weight)
    even, odd = ms.Tensor(_images(1, 1, 8, 8)), ms.Tensor(_images(1, 1, 7, 7))
    assert np.abs(ours(even).asnumpy() - theirs(even).asnumpy()).max() > 1e-2
    np.testing.assert_array_equal(ours(odd).asnumpy(), theirs(odd).asnumpy())


@pytest.mark.parametrize("build", [DepthwiseSeparable, lambda i, o, k, s: InvertedResidual(i, 2 * i, o, k, s)])
@pytest.mark.parametrize("out, stride, added", [(8, 1, True), (8, 2, False), (12, 1, False)])
def test_the_input_is_added_where_shapes_agree(build, out, stride, added):
    block = build(8, out, 3, stride).set_train(False)
    last = block.bn3 if hasattr(block, "bn3") else block.bn2
    last.gamma.set_data(ms.Tensor(np.zeros(out, np.float32)))
    x = _images(2, 8, 6, 6)
    got = block(ms.Tensor(x)).asnumpy()
    np.testing.assert_array_equal(got, x if added else np.zeros((2, out, 6 // stride, 6 // stride), np.float32))


def test_the_gate_acts_on_the_expanded_channels_and_nothing_follows_the_projection():
    block = InvertedResidual(4, 24, 6, 3, se=SqueezeExcite(24, 2), act=nn.ReLU6).set_train(False)
    assert block.se.conv_reduce.in_channels == 24
    got = block(ms.Tensor(_images(2, 4, 6, 6))).asnumpy()
    assert got.min() < 0 < got.max()
