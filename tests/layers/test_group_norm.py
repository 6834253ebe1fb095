"""The one-group norm against float64, far from zero too, and against MindSpore's own gradients."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from ghost_ms.layers import SingleGroupNorm


def _set(norm, gamma, beta):
    norm.gamma.set_data(ms.Tensor(gamma))
    norm.beta.set_data(ms.Tensor(beta))
    return norm


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE])
@pytest.mark.parametrize("offset", [0, 30])
def test_values(offset, mode):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((2, 64, 56, 40)) + offset).astype(np.float32)
    gamma, beta = rng.standard_normal((2, 64)).astype(np.float32)
    centred = x.astype(np.float64) - x.astype(np.float64).mean((1, 2, 3), keepdims=True)
    expected = centred / np.sqrt((centred ** 2).mean((1, 2, 3), keepdims=True) + 1e-5)
    expected = expected * gamma[:, None, None] + beta[:, None, None]
    ms.set_context(mode=mode)
    np.testing.assert_allclose(_set(SingleGroupNorm(64), gamma, beta)(ms.Tensor(x)).asnumpy(), expected,
                               atol=1e-5 if offset else 3e-6)


def test_gradients():
    rng = np.random.default_rng(0)
    x, slope = (ms.Tensor(rng.standard_normal((3, 4, 5, 6)).astype(np.float32)) for _ in range(2))
    gamma, beta = rng.standard_normal((2, 4)).astype(np.float32)
    found = []
    for norm in (SingleGroupNorm(4), nn.GroupNorm(1, 4)):
        _set(norm, gamma, beta)

        def weighted(x, slope, norm=norm):
            return (norm(x) * slope).sum()

        dx, weights = ops.grad(weighted, 0, [norm.gamma, norm.beta])(x, slope)
        found.append([dx.asnumpy()] + [g.asnumpy() for g in weights])
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
