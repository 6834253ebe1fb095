"""LIF neurons against a plain loop over positions, which also carries the gradients by hand."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from ghost_ms.layers import LeakyIntegrateFire

TAU, THRESHOLD = 0.35, 0.2


def _loop(x, slope, length):
    """Outputs of neurons along the last axis, and the gradients of sum(outputs * slope) for x, tau and Vth."""
    out, dx, dtau, dthreshold = x.copy(), slope.copy(), 0.0, 0.0
    for start in range(0, x.shape[-1] - length + 1, length):
        for line in np.ndindex(x.shape[:-1]):
            kept, seen = 0.0, []
            for j in range(start, start + length):
                u = TAU * kept + x[line][j]
                fires = u > THRESHOLD
                seen.append((kept, fires))
                out[line][j] = u if fires else THRESHOLD
                kept = 0.0 if fires else u
            from_next = 0.0
            for j in reversed(range(start, start + length)):
                before, fires = seen[j - start]
                du = slope[line][j] if fires else from_next
                dthreshold += 0.0 if fires else slope[line][j]
                dx[line][j] = du
                dtau += du * before
                from_next = TAU * du
    return out, dx, dtau, dthreshold


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE])
@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("shape, length", [
    ((2, 3, 8, 8), 4), ((2, 3, 7, 10), 4), ((1, 2, 5, 3), 4), ((1, 2, 14, 7), 3)])
def test_values_and_gradients_are_those_of_the_loop(shape, length, axis, mode):
    rng = np.random.default_rng(0)
    x, slope = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    lif = LeakyIntegrateFire(axis, length, TAU, THRESHOLD)
    ms.set_context(mode=mode)

    def weighted(x, slope):
        return (lif(x) * slope).sum()

    gradient = ops.grad(weighted, 0, [lif.tau, lif.Vth])(ms.Tensor(x), ms.Tensor(slope))
    turned = [np.swapaxes(array, axis, 3).astype(np.float64) for array in (x, slope)]
    out, dx, dtau, dthreshold = _loop(*turned, length)
    np.testing.assert_allclose(lif(ms.Tensor(x)).asnumpy(), np.swapaxes(out, axis, 3), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gradient[0].asnumpy(), np.swapaxes(dx, axis, 3), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gradient[1][0].asnumpy(), [dtau], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradient[1][1].asnumpy(), [dthreshold], rtol=1e-5, atol=1e-5)


def test_a_potential_at_the_threshold_is_quiet_and_kept():
    lif = LeakyIntegrateFire(3, 4, tau=0.5, threshold=1.0)
    out = lif(ms.Tensor(np.array([[[[1.0, 1.0, 0.25, 8.0, -3.0]]]], np.float32))).asnumpy()
    np.testing.assert_array_equal(out.ravel(), [1.0, 1.5, 1.0, 8.125, -3.0])


def test_another_axis_is_refused():
    with pytest.raises(ValueError, match="axis 1"):
        LeakyIntegrateFire(1)
