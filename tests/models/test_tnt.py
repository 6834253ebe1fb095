"""TNT: words of a patch stay within it, and the class token takes no part in the inner transformer."""
import mindspore as ms
import numpy as np
from mindspore import ops

from ghost_ms.models.backbones.tnt import Block, WordEmbedding


def _draw(*shape):
    return ms.Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def test_class_token_takes_no_words():
    block = Block(32, 8, 2).set_train(False)
    for layer in (block.outer_attn.proj, block.outer_mlp.fc2):
        for parameter in layer.get_parameters():
            parameter.set_data(ops.zeros_like(parameter))
    words, tokens = _draw(2 * 6, 16, 8), _draw(2, 7, 32)
    after, got = (x.asnumpy() for x in block(words, tokens))
    # With the outer branches silent only the words of each patch are added, patch by patch.
    added = block.proj_norm2(block.proj(block.proj_norm1(ms.Tensor(after.reshape(2, 6, 128))))).asnumpy()
    np.testing.assert_array_equal(got[:, 0], tokens.asnumpy()[:, 0])
    np.testing.assert_allclose(got[:, 1:], tokens.asnumpy()[:, 1:] + added, atol=1e-6)
    assert np.abs(added).min(axis=-1).max() > 0


def test_words_see_their_own_patch_only():
    embed, x = WordEmbedding(3, 8), _draw(1, 3, 32, 48)
    words = embed(x).asnumpy().reshape(2, 3, 16, 8)
    for row, column in ((0, 1), (1, 2)):
        patch = x.asnumpy()[:, :, 16 * row:16 * row + 16, 16 * column:16 * column + 16]
        alone = embed.proj(ms.Tensor(np.ascontiguousarray(patch))).asnumpy().reshape(8, 16).T
        np.testing.assert_allclose(words[row, column], alone, atol=1e-5)
