"""Branches and the one convolution they fuse into give the same maps."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from ghost_ms.layers import GhostModuleV3, ReparamConv2d, conv2d, fuse_branches, fuse_cells
from ghost_ms.layers.ghost import GhostModuleV3Dfc
from ghost_ms.layers.reparam import Branch, biased_conv, chain_pointwise, fold_batch_norm, identity_kernel


def randomise(net, seed=0):
    """Give every BatchNorm statistics and weights that an error in the fusion would show in."""
    draw = np.random.default_rng(seed)
    for _, cell in net.cells_and_names():
        if isinstance(cell, nn.BatchNorm2d):
            size = cell.num_features
            for parameter, value in ((cell.gamma, draw.uniform(0.5, 1.5, size)), (cell.beta, draw.normal(size=size)),
                                     (cell.moving_mean, draw.normal(size=size)),
                                     (cell.moving_variance, draw.uniform(0.3, 2.0, size))):
                parameter.set_data(ms.Tensor(value, ms.float32))
    return net.set_train(False)


def images(shape, seed=0):
    return ms.Tensor(np.random.default_rng(seed).standard_normal(shape), ms.float32)


def assert_close(after, before, tolerance=1e-5):
    after, before = after.asnumpy(), before.asnumpy()
    assert after.shape == before.shape
    assert np.abs(after - before).max() <= tolerance * np.abs(before).max()


class Host(nn.Cell):
    """A network around one cell, so that it can be replaced."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def construct(self, x):
        return self.cell(x)


@pytest.mark.parametrize("size", [(24, 24), (9, 14)])
@pytest.mark.parametrize("inputs, outputs, kernel, stride, groups, branches", [
    (8, 8, 3, 1, 1, 1),     # RepVGG: 3x3 + 1x1 + identity
    (8, 8, 3, 1, 4, 1),     # the same in groups
    (8, 8, 3, 1, 8, 3),     # depthwise, as the cheap half of a Ghost module
    (8, 12, 3, 1, 2, 2),    # no identity: channels change
    (8, 8, 5, 2, 8, 3),     # no identity: strided depthwise
    (8, 8, 1, 1, 1, 3),     # pointwise with identity
    (8, 6, 1, 2, 1, 2),
])
def test_sum_of_branches_fuses(inputs, outputs, kernel, stride, groups, branches, size):
    net = randomise(Host(ReparamConv2d(inputs, outputs, kernel, stride, groups, branches)))
    assert net.cell.has_skip == (inputs == outputs and stride == 1) and net.cell.has_scale == (kernel > 1)
    x = images((2, inputs) + size)
    before = net(x)
    assert fuse_cells(net) == 1
    assert type(net.cell) is nn.Conv2d and net.cell.has_bias and net.cell.group == groups
    assert_close(net(x), before)
    assert fuse_cells(net) == 0


def test_defect_wrong_identity_kernel_when_in_equals_init():
    """The public fusion gives the primary skip the kernel and groups of the cheap convolution (#263, #265)."""
    module = GhostModuleV3(8, 16)
    assert module.primary_conv[0].has_skip and module.cheap_operation[0].has_skip
    net, x = randomise(Host(module)), images((2, 8, 7, 10))
    before = net(x)
    fuse_cells(net)
    assert net.cell.primary_conv[0].weight.shape == (8, 8, 1, 1)
    assert net.cell.cheap_operation[0].weight.shape == (8, 1, 3, 3)
    assert_close(net(x), before)


def test_identity_kernel_reads_its_own_channel_within_a_group():
    kernel = identity_kernel(6, 2, (3, 5))
    assert kernel.shape == (6, 3, 3, 5) and kernel.sum() == 6
    assert [int(np.argmax(row[:, 1, 2])) for row in kernel] == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("size", [(16, 16), (7, 11), (1, 1)])
def test_gated_module_fuses_and_leaves_the_attention(size):
    net = randomise(Host(GhostModuleV3Dfc(12, 10)))
    x = images((1, 12) + size)
    before = net(x)
    assert before.shape == (1, 10) + size
    assert fuse_cells(net) == 2
    assert_close(net(x), before)
    names = {name for name, _ in net.cell.parameters_and_names()}
    assert {"primary_conv.0.weight", "primary_conv.0.bias", "cheap_operation.0.weight", "cheap_operation.0.bias",
            "short_conv.0.weight", "short_conv.5.gamma"} <= names and len(names) == 4 + 3 * 5


@pytest.mark.parametrize("pad_mode, padding", [("same", 0), ("valid", 0), ("pad", 2)])
def test_a_single_convolution_keeps_its_padding_stride_and_bias(pad_mode, padding):
    conv = nn.Conv2d(3, 4, (3, 5), 2, pad_mode, padding, has_bias=True)
    net = randomise(nn.SequentialCell(conv, nn.BatchNorm2d(4)))
    x = images((2, 3, 11, 14))
    assert_close(fuse_branches([Branch(*net)])(x), net(x))


def test_convolutions_in_sequence_chain():
    first = nn.SequentialCell(conv2d(3, 8, 4, 4, bias=True, padding=0), nn.BatchNorm2d(8))
    second = conv2d(8, 5, bias=True)
    net = randomise(nn.SequentialCell(first, second))
    x = images((2, 3, 16, 24))
    merged = chain_pointwise(fold_batch_norm(*first), fold_batch_norm(second, None))
    assert_close(biased_conv(*merged, like=first[0])(x), net(x))


@pytest.mark.parametrize("other, sentence", [
    (lambda: Branch(conv2d(8, 8, 1, 2), nn.BatchNorm2d(8)), "cannot be added"),
    (lambda: Branch(conv2d(8, 8, 1, groups=8), nn.BatchNorm2d(8)), "cannot be added"),
    (lambda: Branch(conv2d(8, 8, 1, padding=1), nn.BatchNorm2d(8)), "cannot be added"),
    (lambda: Branch(conv2d(8, 8, 2, padding=0), nn.BatchNorm2d(8)), "cannot be added"),
])
def test_branches_that_do_not_add_up_are_refused(other, sentence):
    with pytest.raises(ValueError, match=sentence):
        fuse_branches([Branch(conv2d(8, 8, 3), nn.BatchNorm2d(8)), other()])


def test_identity_is_refused_where_the_map_changes():
    for conv in (conv2d(8, 8, 3, 2), conv2d(8, 4, 3), conv2d(8, 8, 3, padding=0)):
        with pytest.raises(ValueError, match="identity branch"):
            fuse_branches([Branch(conv), Branch(None, nn.BatchNorm2d(8))])
    with pytest.raises(ValueError, match="no convolution"):
        fuse_branches([Branch(None, nn.BatchNorm2d(8))])


def test_defect_frozen_parameters_after_fusing():
    """Public fusions leave every surviving parameter without gradient; ours all get one."""
    net = Host(nn.SequentialCell(ReparamConv2d(4, 4, 3), nn.ReLU(), ReparamConv2d(4, 6, 1)))
    fuse_cells(net)
    weights, x = net.trainable_params(), images((2, 4, 6, 8))
    assert len(weights) == 4

    def loss(x):
        return ops.square(net(x)).sum()

    gradients = ops.value_and_grad(loss, None, weights)(x)[1]
    assert all(np.any(gradient.asnumpy()) for gradient in gradients)
