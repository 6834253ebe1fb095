"""AugViT: circulant projections in three forms, and what the augmented shortcuts read and add."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms import create_model, model_card
from ghost_ms.models.backbones.augvit import (AugViT, AugmentedBlock, Block, Circulant, DoublyAugmentedBlock,
                                              circulant_index)


def _draw(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _by_fourier(x, weights, bias):
    """The block-circulant product as convolutions of blocks, in the frequency domain."""
    size = x.shape[-1] // 4
    signal = np.fft.rfft(x.reshape(*x.shape[:-1], 4, size).astype(np.float64))
    response = np.fft.rfft(weights.reshape(4, 4, size).astype(np.float64))
    product = (signal[..., None, :, :] * response).sum(-2)
    return np.fft.irfft(product, n=size).reshape(x.shape) + bias


def _by_definition(x, weights, bias):
    size = x.shape[-1] // 4
    matrix = np.zeros((4 * size, 4 * size))
    for row in range(4 * size):
        for column in range(4 * size):
            first = (4 * (row // size) + column // size) * size
            matrix[row, column] = weights[first + (row % size - column % size) % size]
    return x @ matrix.T + bias


@pytest.mark.parametrize("channels", (24, 20))
def test_circulant_forms_give_the_same_numbers(channels):
    cell, x = Circulant(channels), _draw(2, 5, channels)
    weights, bias = cell.weight_list.asnumpy(), cell.bias.asnumpy()
    assert weights.shape == (4 * channels,)
    got = cell(ms.Tensor(x)).asnumpy()
    np.testing.assert_allclose(got, _by_definition(x, weights, bias), atol=1e-5)
    np.testing.assert_allclose(got, _by_fourier(x, weights, bias), atol=1e-5)
    np.testing.assert_allclose(got, cell.to_dense()(ms.Tensor(x)).asnumpy(), atol=1e-6)


def test_initial_circulant_weights():
    weights = Circulant(384).weight_list.asnumpy()
    assert 0.95 * 384 ** -0.5 < np.abs(weights).max() <= 384 ** -0.5
    assert circulant_index(384).shape == (384, 384)


def _silence(block):
    """Make attention and perceptron add nothing."""
    for layer in (block.attn.proj, block.mlp.fc2):
        for parameter in layer.get_parameters():
            parameter.set_data(ms.Tensor(np.zeros(parameter.shape, np.float32)))


def test_single_shortcuts_are_linear_and_read_the_normalised_input():
    block = AugmentedBlock(8, 2, 0.0, 0.0, Circulant)
    _silence(block)
    x = ms.Tensor(_draw(1, 3, 8))
    middle = x + block.augs_attn(block.norm1(x))
    expected = middle + block.augs(block.norm2(middle))
    np.testing.assert_allclose(block(x).asnumpy(), expected.asnumpy(), atol=1e-6)


def test_double_shortcuts_are_scaled_with_the_identity():
    block = DoublyAugmentedBlock(8, 2, 0.0, 0.0, Circulant)
    _silence(block)
    x = ms.Tensor(_draw(1, 3, 8))
    y = block.norm1(x)
    middle = (x + block.augs_attn(y) + block.augs_attn2(y)) * 3 / 4
    y = block.norm2(middle)
    expected = (middle + block.augs(y) + block.augs2(y)) * 3 / 4
    np.testing.assert_allclose(block(x).asnumpy(), expected.asnumpy(), atol=1e-6)


def test_drop_path_spares_the_shortcuts():
    block = AugmentedBlock(8, 2, 0.0, 1 - 1e-6, Circulant).set_train()
    x = ms.Tensor(_draw(1, 3, 8))
    middle = x + block.augs_attn(block.norm1(x))
    expected = middle + block.augs(block.norm2(middle))
    np.testing.assert_allclose(block(x).asnumpy(), expected.asnumpy(), atol=1e-6)


def test_norms_have_epsilon_1e_6():
    x = ms.Tensor(np.array([[[1e-3, -1e-3]]], np.float32))
    block = Block(2, 1)
    for norm in (block.norm1, block.norm2):
        np.testing.assert_allclose(norm(x).asnumpy()[0, 0, 0], 1 / np.sqrt(2), rtol=1e-4)


def test_deploy_form_gives_the_same_logits():
    net = AugViT(24, 2, "circulant2", num_classes=5, input_size=(32, 48)).set_train(False)
    x = ms.Tensor(_draw(2, 3, 32, 48))
    before = net(x).asnumpy()
    np.testing.assert_allclose(net.reparameterize()(x).asnumpy(), before, atol=1e-5)
    assert not any(isinstance(cell, Circulant) for _, cell in net.cells_and_names())


def test_deploy_form_has_the_parameters_of_its_card():
    net = create_model("augvit_small_circulant2").reparameterize()
    assert sum(p.size for p in net.get_parameters()) == model_card(net.card.name).deploy_params
    assert [p.name for p in net.get_parameters()] == [n for n, _ in net.parameters_and_names()]


def test_released_index_matrix_is_the_rule():
    """Rows walk down the columns of a circulant block: entry (r, c) holds weight (r - c) mod size."""
    index = circulant_index(12)
    np.testing.assert_array_equal(index[:3, :3], [[0, 2, 1], [1, 0, 2], [2, 1, 0]])
    np.testing.assert_array_equal(index[3:6, 6:9], [[18, 20, 19], [19, 18, 20], [20, 19, 18]])
    assert index.dtype == np.int64


def test_unknown_mode():
    with pytest.raises(ValueError, match="no mode 'circular'.*circulant2"):
        AugViT(8, 2, "circular")
    assert isinstance(AugViT(8, 2, "circulant", input_size=(16, 16)).blocks[0].augs, nn.Cell)
