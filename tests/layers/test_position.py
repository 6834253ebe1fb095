"""Bicubic resampling of position tables."""
import numpy as np

from ghost_ms.layers import resize_table


def test_same_size_is_the_same_table():
    table = np.random.default_rng(0).standard_normal((1, 8, 14, 14)).astype(np.float32)
    assert resize_table(table, (14, 14)) is table


def test_values_of_a_step():
    """Doubling (0, 1): the weights of cubic convolution (a = -0.75) at a quarter and three quarters of a pixel."""
    near, far = np.array([0.87890625, 0.26171875]), np.array([-0.10546875, -0.03515625])
    got = resize_table(np.array([[0.0, 1.0]]), (1, 4))[0]
    # Samples lie at -0.25, 0.25, 0.75 and 1.25; the borders repeat, so a value is the summed weight of the ones.
    np.testing.assert_allclose(got, [far[0], near[1] + far[1], near[0] + far[0], 1 - far[0]], atol=1e-12)


def test_a_constant_stays_constant_on_any_size():
    np.testing.assert_allclose(resize_table(np.full((2, 7, 9), 3.0), (10, 5)), 3.0, atol=1e-12)
