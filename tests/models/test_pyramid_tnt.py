"""PyramidTNT: the geometry of merged words, and which blocks have an inner transformer."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms.models.backbones.pyramid_tnt import Attention, Block, PyramidTNT, Stage, WordAggregation


def _merge(values, tap):
    """Merge a map of words (4 h, 4 w), with a 3x3 kernel of a single one at `tap`; back as a map."""
    height, width = values.shape[0] // 4, values.shape[1] // 4
    merge = WordAggregation(1, 1, (height, width))
    merge.norm = nn.Identity()
    kernel = np.zeros((1, 1, 3, 3), np.float32)
    kernel[0, 0, tap[0], tap[1]] = 1
    merge.conv[0].weight.set_data(ms.Tensor(kernel))
    merge.conv[0].bias.set_data(ms.Tensor(np.zeros(1, np.float32)))
    words = values.reshape(height, 4, width, 4).transpose(0, 2, 1, 3).reshape(height * width, 16, 1)
    merged = merge(ms.Tensor(words)).asnumpy()
    height, width = -(-height // 2), -(-width // 2)
    return merged.reshape(height, width, 4, 4).transpose(0, 2, 1, 3).reshape(4 * height, 4 * width)


def test_merged_words_lie_as_in_the_image():
    """The middle tap at stride 2 takes every second word of the whole map; an odd map is padded below and right."""
    values = (100 * np.arange(12)[:, None] + np.arange(20) + 1).astype(np.float32)
    padded = np.pad(values, ((0, 4), (0, 4)))
    np.testing.assert_array_equal(_merge(values, (1, 1)), padded[::2, ::2])


def test_merged_words_pad_at_their_own_border():
    values = (100 * np.arange(16)[:, None] + np.arange(16) + 1).astype(np.float32)
    expected = np.zeros((8, 8), np.float32)
    for row in range(8):
        for column in range(8):
            if row % 4 and column % 4:
                expected[row, column] = values[2 * row - 1, 2 * column - 1]
    np.testing.assert_array_equal(_merge(values, (0, 0)), expected)


@pytest.mark.parametrize("depth, inner", ((6, 1), (7, 2), (2, 1)))
def test_blocks_with_an_inner_transformer(depth, inner):
    stage = Stage(16, 1, (2, 1), (2, 2), 1, (0.0,) * depth)
    assert [isinstance(block, Block) for block in stage.blocks] == [True] * inner + [False] * (depth - inner)


def test_inner_norm_spans_all_words_of_a_patch():
    block = Block(32, 2, (2, 1), (1, 1), 1)
    assert block.inner_norm1.gamma.shape == block.inner_norm2.gamma.shape == (32,)


def test_keys_come_from_the_pooled_map():
    attention = Attention(8, 2, grid=(4, 6), pool=2)
    seen = []
    attention.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].asnumpy()))
    x = np.random.default_rng(0).standard_normal((1, 24, 8)).astype(np.float32)
    attention(ms.Tensor(x))
    pooled = x.reshape(2, 2, 3, 2, 8).mean((1, 3)).reshape(1, 6, 8)
    np.testing.assert_allclose(seen[0], pooled, atol=1e-6)


@pytest.mark.parametrize("size, words", (((24, 64), "below the 32 pixels"), ((64, 60), "whole multiples of 8")))
def test_sizes_it_cannot_take(size, words):
    with pytest.raises(ValueError, match=words):
        PyramidTNT(16, 1, (2, 1), (1, 1, 1, 1), input_size=size)


def test_odd_maps_of_patches():
    """72 x 40 pixels: maps of 9 x 5, 5 x 3, 3 x 2 and 2 x 1 patches."""
    net = PyramidTNT(16, 2, (2, 1), (1, 1, 1, 1), num_classes=3, input_size=(72, 40)).set_train(False)
    x = ms.Tensor(np.random.default_rng(0).standard_normal((2, 3, 72, 40)).astype(np.float32))
    assert [m.shape[2:] for m in net.forward_pyramid(x)] == [(9, 5), (5, 3), (3, 2), (2, 1)]
    assert np.isfinite(net(x).asnumpy()).all()
