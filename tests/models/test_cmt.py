"""CMT: activation before norm, the two epsilons, head dropout, and sizes that strides do not divide."""
import inspect

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from ghost_ms.models.backbones.cmt import CMT, Block, InvertedResidualFeedForward, PatchEmbed, cmt_b


def _identity(conv):
    conv.weight.set_data(ms.Tensor(np.eye(conv.weight.shape[0], dtype=np.float32)[:, :, None, None]))
    conv.bias.set_data(ops.zeros_like(conv.bias))


def test_activation_comes_before_the_norm():
    """With a unit BatchNorm shifted by -5 the output is gelu(x) - 5; the other order would give about 0."""
    network = InvertedResidualFeedForward(4, 4).set_train(False)
    _identity(network.conv1[0])
    network.conv1[2].beta.set_data(ms.Tensor(np.full(4, -5, np.float32)))
    x = ms.Tensor(np.linspace(-2, 2, 64, dtype=np.float32).reshape(1, 4, 4, 4))
    np.testing.assert_allclose(network.conv1(x).asnumpy(), ops.gelu(x).asnumpy() - 5, atol=1e-3)


def test_stem_norms_end_the_stem():
    net = CMT((8, 16, 32, 64), (1, 1, 1, 1), 8, input_size=(32, 32)).set_train(False)
    net.stem_norm3.beta.set_data(ms.Tensor(np.full(8, -5, np.float32)))
    assert net._stem(ms.Tensor(np.ones((1, 3, 32, 32), np.float32))).asnumpy().max() < -2


def test_epsilons():
    """Two values of 1e-3 apart from their mean: a variance of 1e-6, so the epsilon decides the output."""
    x = ms.Tensor(np.array([[[1e-3, -1e-3]]], np.float32))
    block, embed = Block(2, 1, 1, 2, (1, 1)), PatchEmbed(3, 2, (1, 1))
    for norm, epsilon in ((block.norm1, 1e-6), (block.norm2, 1e-6), (embed.norm, 1e-5)):
        np.testing.assert_allclose(norm(x).asnumpy()[0, 0, 0], 1e-3 / np.sqrt(1e-6 + epsilon), rtol=1e-4)


def test_feed_forward_adds_its_depthwise_input():
    network = InvertedResidualFeedForward(4, 4).set_train(False)
    for parameter in network.proj.get_parameters():
        parameter.set_data(ops.zeros_like(parameter))
    seen = []
    network.proj_act.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].asnumpy()))
    x = ms.Tensor(np.random.default_rng(0).standard_normal((1, 4, 3, 3)).astype(np.float32))
    network(x)
    np.testing.assert_allclose(seen[0], network.conv1(x).asnumpy(), atol=1e-6)


def test_published_head_dropout():
    assert inspect.signature(CMT).parameters["drop_rate"].default == 0.1
    assert inspect.signature(cmt_b).parameters["drop_rate"].default == 0.3
    assert CMT((8, 16, 32, 64), (1, 1, 1, 1), 8, drop_rate=0.2, input_size=(32, 32))._drop.p == 0.2


def test_sizes_that_strides_do_not_divide():
    net = CMT((8, 16, 32, 64), (1, 1, 1, 1), 8, num_classes=3, input_size=(72, 50)).set_train(False)
    x = ms.Tensor(np.random.default_rng(0).standard_normal((2, 3, 72, 50)).astype(np.float32))
    assert [m.shape[2:] for m in net.forward_pyramid(x)] == [(18, 12), (9, 6), (4, 3), (2, 1)]
    assert np.isfinite(net(x).asnumpy()).all()
    with pytest.raises(ValueError, match="64x31 is below the 32 pixels"):
        CMT((8, 16, 32, 64), (1, 1, 1, 1), 8, input_size=(64, 31))
