"""Patches and tokens keep the geometry of the image."""
import mindspore as ms
import numpy as np
import pytest

from ghost_ms.layers import SizeGuard, cut_patches, map_to_tokens, patch_grid, tokens_to_map


def test_patches_of_a_wide_map():
    x = np.arange(2 * 3 * 4 * 6, dtype=np.float32).reshape(2, 3, 4, 6)
    patches = cut_patches(ms.Tensor(x), 2).asnumpy().reshape(2, 2, 3, 3, 2, 2)
    for row in range(2):
        for column in range(3):
            np.testing.assert_array_equal(patches[:, row, column],
                                          x[:, :, 2 * row:2 * row + 2, 2 * column:2 * column + 2])


def test_tokens_count_row_by_row_and_back():
    x = np.arange(2 * 5 * 2 * 3, dtype=np.float32).reshape(2, 5, 2, 3)
    tokens = map_to_tokens(ms.Tensor(x))
    np.testing.assert_array_equal(tokens.asnumpy()[:, 4], x[:, :, 1, 1])
    np.testing.assert_array_equal(tokens_to_map(tokens, (2, 3)).asnumpy(), x)


@pytest.mark.parametrize("mode", (ms.PYNATIVE_MODE, ms.GRAPH_MODE))
def test_another_size_is_refused_by_name(mode):
    ms.set_context(mode=mode)
    guard = SizeGuard((4, 6))
    x = ms.Tensor(np.ones((1, 3, 4, 6), np.float32))
    np.testing.assert_array_equal(guard(x).asnumpy(), x.asnumpy())
    with pytest.raises(ValueError, match="4x6 pixels and got 6x4"):
        guard(x.reshape(1, 3, 6, 4))


@pytest.mark.parametrize("size", ((16, 40), (8, 16), (0, 16)))
def test_patches_must_tile_the_image(size):
    assert patch_grid((32, 48), 16) == (2, 3)
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} must be whole multiples of 16"):
        patch_grid(size, 16)
