"""VConv2d against its definition, written as loops."""
import mindspore as ms
import numpy as np
import pytest

from ghost_ms.layers import VConv2d


def _convolve(x, kernel, stride, padding):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    size = kernel.shape[-1]
    rows, columns = ((extent - size) // stride + 1 for extent in x.shape[2:])
    out = np.zeros((x.shape[0], kernel.shape[0], rows, columns))
    for i in range(rows):
        for j in range(columns):
            patch = x[:, :, i * stride:i * stride + size, j * stride:j * stride + size]
            out[:, :, i, j] = np.tensordot(patch, kernel, ((1, 2, 3), (1, 2, 3)))
    return out


def _expected(x, weight, bias, stride, padding, delta, g):
    """Maps by size, then window, then filter; the n-th map of the result has the n-th bias."""
    size, maps = weight.shape[-1], []
    for trim in range((size + 1) // 2):
        kernel = weight[:, :weight.shape[1] - delta, trim:size - trim, trim:size - trim]
        cut = max(0, trim - padding)
        for start in range(0, delta + 1, g):
            window = x[:, start:start + x.shape[1] - delta, cut:x.shape[2] - cut, cut:x.shape[3] - cut]
            maps.append(_convolve(window, kernel, stride, max(0, padding - trim)))
    return np.concatenate(maps, 1) + bias[:, None, None]


@pytest.mark.parametrize("size, out, kernel, stride, padding, delta, g", [
    ((6, 9), 8, 3, 1, None, 0, 1),
    ((9, 14), 8, 7, 2, None, 0, 1),
    ((5, 7), 6, 4, 1, 1, 0, 1),
    ((7, 7), 8, 7, 1, 0, 0, 1),
    ((7, 10), 8, 7, 1, 0, 0, 1),
    ((10, 8), 8, 7, 1, 1, 0, 1),
    ((6, 5), 12, 3, 1, None, 2, 1),
    ((6, 5), 12, 3, 1, None, 4, 2),
    ((5, 6), 6, 1, 1, None, 4, 2),
])
def test_equals_its_definition(size, out, kernel, stride, padding, delta, g):
    generator = np.random.default_rng(0)
    layer = VConv2d(6, out, kernel, stride, padding, delta=delta, g=g)
    uses = (kernel + 1) // 2 * (delta // g + 1)
    assert layer.weight.shape == (out // uses, 6, kernel, kernel) and layer.bias.shape == (out,)
    for parameter in (layer.weight, layer.bias):
        parameter.set_data(ms.Tensor(generator.standard_normal(parameter.shape), ms.float32))
    x = generator.standard_normal((2, 6) + size).astype(np.float32)
    expected = _expected(x, layer.weight.asnumpy(), layer.bias.asnumpy(), stride,
                         (kernel - 1) // 2 if padding is None else padding, delta, g)
    np.testing.assert_allclose(layer(ms.Tensor(x)).asnumpy(), expected, rtol=1e-4, atol=1e-4)
    scale, shift = generator.standard_normal((2, out))
    absorbed = layer.absorb_affine(scale, shift)
    np.testing.assert_allclose(absorbed(ms.Tensor(x)).asnumpy(),
                               scale[:, None, None] * expected + shift[:, None, None], rtol=1e-4, atol=2e-4)


def test_refuses_what_does_not_divide():
    with pytest.raises(ValueError, match="10 outputs"):
        VConv2d(8, 10, 7)
    with pytest.raises(ValueError, match="multiple of g = 2"):
        VConv2d(8, 8, 3, delta=3, g=2)
    with pytest.raises(ValueError, match="below 8"):
        VConv2d(8, 8, 3, delta=8, g=8)
