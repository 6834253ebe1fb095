"""Bicubic resampling of position tables."""
import numpy as np
import pytest

from ghost_ms.layers import resize_table, resize_tokens


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


def test_tokens_that_fit_are_the_same_table():
    table = np.random.default_rng(0).standard_normal((1, 1 + 16, 3)).astype(np.float32)
    assert resize_tokens(table, (4, 4), prefix=1) is table
    assert resize_tokens(table[:, :15], (3, 5)).shape == (1, 15, 3)


@pytest.mark.parametrize("grid", ((6, 9), (2, 3), (2, 8)))
def test_tokens_are_resampled_as_a_square_map(grid):
    """Up, down, and to a grid of the same count; the prefix keeps its bits."""
    table = np.random.default_rng(0).standard_normal((1, 1 + 16, 3)).astype(np.float32)
    got = resize_tokens(table, grid, prefix=1)
    np.testing.assert_array_equal(got[:, 0], table[:, 0])
    expected = resize_table(table[:, 1:].reshape(4, 4, 3).transpose(2, 0, 1), grid)
    np.testing.assert_array_equal(got[0, 1:], expected.reshape(3, -1).T)


def test_a_table_of_no_map_is_refused():
    with pytest.raises(ValueError, match="of 15 tokens belongs neither to a square map nor to one of 4x4"):
        resize_tokens(np.zeros((1, 15, 3)), (4, 4))
