"""Upsampling and DFC attention by value."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from ghost_ms.layers import GhostModule, GhostModuleV2, upsample_nearest


class Up(nn.Cell):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def construct(self, x):
        return upsample_nearest(x, self.size)


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE])
@pytest.mark.parametrize("small, large", [((4, 6), (8, 12)), ((3, 5), (7, 11)), ((1, 1), (3, 2)), ((5, 7), (5, 7)),
                                          ((3, 4), (10, 9))])
def test_defect_bilinear_and_square_upsampling(small, large, mode):
    """A public port resizes bilinearly, to (W, W): nearest copies floor(i * in / out), height and width apart."""
    ms.set_context(mode=mode)
    x = np.random.default_rng(0).standard_normal((2, 3) + small).astype(np.float32)
    rows, columns = (np.floor(np.arange(t) * (s / t)).astype(int) for s, t in zip(small, large))
    ups = Up(large)(ms.Tensor(x)).asnumpy()
    np.testing.assert_array_equal(ups, x[:, :, rows][:, :, :, columns])


def test_gradient_of_upsampling_counts_the_copies(graph):
    net, x = Up((7, 4)), ms.Tensor(np.ones((1, 2, 3, 2)), ms.float32)

    def total(x):
        return net(x).sum()

    gradient = ops.grad(total)(x).asnumpy()
    np.testing.assert_array_equal(gradient[0, 1], np.outer([3, 2, 2], [2, 2]))


@pytest.mark.parametrize("outputs", [10, 9])
def test_attention_gates_the_ghost_maps(outputs):
    """(#166) Half resolution, 1x1, 1x5, 5x1, sigmoid, then nearest to the height and width of the maps."""
    net = GhostModuleV2(6, outputs).set_train(False)
    x = ms.Tensor(np.random.default_rng(0).standard_normal((2, 6, 9, 12)), ms.float32)
    plain = GhostModule(6, outputs).set_train(False)
    ms.load_param_into_net(plain, {n: p for n, p in net.parameters_and_names() if not n.startswith("short_conv")})
    gate = x.asnumpy()[:, :, :8].reshape(2, 6, 4, 2, 6, 2).mean((3, 5))
    for cell in net.short_conv:
        gate = cell(ms.Tensor(gate, ms.float32)).asnumpy()
    gate = 1 / (1 + np.exp(-gate))
    rows, columns = np.arange(9) * 4 // 9, np.arange(12) * 6 // 12
    expected = plain(x).asnumpy() * gate[:, :, rows][:, :, :, columns]
    assert expected.shape[1] == outputs
    np.testing.assert_allclose(net(x).asnumpy(), expected, rtol=1e-5, atol=1e-6)
    # One of the kernels lies, the other stands.
    assert net.short_conv[2].weight.shape == (outputs, 1, 1, 5) and net.short_conv[4].weight.shape == (outputs, 1, 5, 1)
