"""Adaptive average pooling against PyTorch's definition."""
import mindspore as ms
import numpy as np
import pytest

from ghost_ms.layers import AdaptiveAveragePool


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE])
@pytest.mark.parametrize("size", [(2, 3), (9, 14), (7, 8)])
def test_means_of_the_windows(size, mode):
    ms.set_context(mode=mode)
    x = np.random.default_rng(0).standard_normal((2, 3) + size).astype(np.float32)
    bounds = [[(i * extent // 7, -(-(i + 1) * extent // 7)) for i in range(7)] for extent in size]
    expected = np.array([[x[:, :, a:b, c:d].mean((2, 3)) for c, d in bounds[1]] for a, b in bounds[0]])
    actual = AdaptiveAveragePool(7)(ms.Tensor(x)).asnumpy()
    np.testing.assert_allclose(actual, expected.transpose((2, 3, 0, 1)), atol=1e-6)


def test_the_right_size_passes_untouched():
    x = np.random.default_rng(0).standard_normal((1, 2, 7, 7)).astype(np.float32)
    np.testing.assert_array_equal(AdaptiveAveragePool(7)(ms.Tensor(x)).asnumpy(), x)
