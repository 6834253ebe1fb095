"""Networks that compute by the kernels: the same numbers up to rounding, the same parameters, nothing in a file."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms import create_model
from ghost_ms.analysis.measure.verify_worker import randomize_statistics
from ghost_ms.checkpoints.checkpoint import save_checkpoint
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.deploy import export
from ghost_ms.kernels import build, cells, swap
from ghost_ms.layers import (Cosine, ScaledDotProductAttention, Sine, SqueezeExcite, depthwise_conv2d,
                             split_heads)
from ghost_ms.layers.conv import DepthwiseConv2d
from ghost_ms.layers.graph import LargestIndices, largest_indices
from ghost_ms.models import list_models, model_card
from ghost_ms.surgery.fold_norms import to_deploy_form
from tests.training.test_fit import preprocessing_of_size

#: One of each family, the smallest; the rest with --slow.
FAMILIES = {}
for _name in sorted(list_models(), key=lambda name: model_card(name).macs):
    FAMILIES.setdefault(model_card(_name).family, _name)
CASES = [pytest.param(name, marks=() if name in FAMILIES.values() else pytest.mark.slow) for name in list_models()]


pytestmark = pytest.mark.usefixtures("cpu_kernels")


def built(name):
    """A small network of a kind, always with the same weights."""
    ms.set_seed(3)
    size = model_card(name).input_size if model_card(name).sized else (64, 64)
    return randomize_statistics(create_model(name, num_classes=5, input_size=size)), size


def close(found, expected, tolerance):
    scale = np.abs(expected).max()
    assert np.isfinite(found).all() and np.abs(found - expected).max() <= tolerance * scale


@pytest.fixture
def same_neighbours(monkeypatch):
    """Rounding exchanges neighbours that are equally near, and all behind them: the first network's serve all."""
    found, again = [], []

    def kept(self, x, k):
        found.append(largest_indices(x, k))
        return found[-1]

    def taken(self, x, k):
        again[:] = again or found
        mine = self.kernel(x, ms.ops.zeros((k,), ms.float32))
        # Nearly always they are the same.
        assert (mine == again[0]).astype(ms.float32).mean() > 0.9
        return again.pop(0)

    monkeypatch.setattr(LargestIndices, "construct", kept)
    monkeypatch.setattr(cells.LargestIndicesKernel, "construct", taken)


def left_behind(net):
    """Cells with a kernel that still compute by MindSpore's operators, but for what docs/speed.md says."""
    known = (*swap.ACTIVATIONS, nn.BatchNorm2d, nn.Dense, nn.LayerNorm, nn.Softmax, nn.Conv2d, DepthwiseConv2d,
             ScaledDotProductAttention, SqueezeExcite, LargestIndices)
    left = [(name, cell) for name, cell in net.cells_and_names() if type(cell) in known]
    return [name for name, cell in left if not isinstance(cell, nn.Conv2d)
            or cell.pad_mode != "same" and not 1 < cell.out_channels // cell.group < 4]


@pytest.mark.parametrize("name", CASES)
def test_a_network_gives_the_same(name, same_neighbours):
    """In evaluation, and in its deploy form; parameters keep their names and values."""
    net, size = built(name)
    images = ms.Tensor(np.random.default_rng(1).standard_normal((2, 3, *size)), ms.float32)
    expected = net.set_train(False)(images).asnumpy()
    before = {p.name: p.asnumpy() for p in net.get_parameters()}
    assert swap.accelerate(net).startswith("CPU kernels on, for ") and swap.accelerated(net)
    assert not left_behind(net)
    close(net(images).asnumpy(), expected, 2e-5)
    after = {p.name: p.asnumpy() for p in net.get_parameters()}
    assert list(before) == list(after) and all(np.array_equal(before[key], after[key]) for key in before)
    folded = to_deploy_form(built(name)[0])
    swap.accelerate(folded)
    assert not left_behind(folded)
    close(folded(images).asnumpy(), expected, 5e-5)


class Loss(nn.Cell):
    """A sum that every output has another part in."""

    def __init__(self, net):
        super().__init__(auto_prefix=False)
        self.net = net

    def construct(self, images, weight):
        return (self.net(images) * weight).sum()


def gradients(net, images, draw=5):
    """(loss, gradients by parameter name, moved statistics), in training mode."""
    net.set_train()
    weights = ms.ParameterTuple(net.trainable_params())
    shape = net(images).shape
    weight = ms.Tensor(np.random.default_rng(draw).standard_normal(shape), ms.float32)
    loss, found = ms.value_and_grad(Loss(net), None, weights)(images, weight)
    moved = {p.name: p.asnumpy() for p in net.get_parameters() if not p.requires_grad}
    return float(loss.asnumpy()), {p.name: g.asnumpy() for p, g in zip(weights, found)}, moved


TRAINED = ["ghostnet_050", "mobilenetv3_small_100", "repghostnet_050", "shufflenetv2_x0_5"]


@pytest.mark.parametrize("name", TRAINED)
def test_a_network_trains_the_same(name):
    """Loss, every gradient and the moving statistics, beside MindSpore's operators."""
    for draw in (2, 3, 4):
        images = ms.Tensor(np.random.default_rng(draw).standard_normal((4, 3, 64, 64)), ms.float32)
        net = built(name)[0]
        loss, expected, moved = gradients(net, images)
        fast = built(name)[0]
        swap.accelerate(fast)
        found_loss, found, found_moved = gradients(fast, images)
        assert abs(found_loss - loss) <= 1e-4 * max(1, abs(loss))
        assert set(found) == set(expected)
        for key, value in moved.items():
            close(found_moved[key], value, 1e-4)
        largest = max(np.abs(value).max() for value in expected.values())
        far = [key for key, value in expected.items()
               if np.abs(found[key] - value).max() > 2e-3 * np.abs(value).max() + 1e-5 * largest]
        for key in far:
            # Never further than what one ReLU explains whose input is zero but for the last bit, where a position's
            # gradient comes or goes; which images have such a one depends on the processor.
            assert np.linalg.norm(found[key] - expected[key]) <= 1e-2 * np.linalg.norm(expected[key]) + 1e-5 * largest
        if not far:
            return
    raise AssertionError(f"of three draws none gives the same gradients: {far}")


class Parts(nn.Cell):
    """Every cell that has a kernel, on small maps: (B, 6, H, W) to (B, 4)."""

    def __init__(self):
        super().__init__()
        self.first = nn.SequentialCell(nn.Conv2d(6, 8, 3, pad_mode="pad", padding=1, group=2), nn.BatchNorm2d(8),
                                       nn.Conv2d(8, 8, 1, has_bias=True), nn.BatchNorm2d(8), nn.ReLU6())
        self.second = nn.SequentialCell(depthwise_conv2d(8, 3, bias=True), nn.HSwish())
        self.third = nn.SequentialCell(depthwise_conv2d(8, (1, 5), stride=1), nn.BatchNorm2d(8), nn.SiLU())
        self.strided = depthwise_conv2d(8, 5, 2)
        self.se = SqueezeExcite(8, 4)
        self.act, self.gate, self.sine, self.cosine = nn.GELU(approximate=False), nn.Sigmoid(), Sine(), Cosine()
        self.norm, self.softmax = nn.LayerNorm((8,), epsilon=1e-5), nn.Softmax(axis=-1)
        self.attend, self.plain_bias = ScaledDotProductAttention(2, 4), ms.Parameter(ms.Tensor(
            np.random.default_rng(5).standard_normal((1, 2, 20, 20)), ms.float32), name="bias")
        self.search, self.dense, self.plain = LargestIndices(), nn.Dense(8, 4), nn.Dense(8, 8, has_bias=False)

    def construct(self, x):
        x = self.se(self.strided(self.third(self.second(self.first(x)))))
        x = self.act(x) * self.gate(x) + self.sine(x) + self.cosine(x)
        batch, channels, height, width = x.shape
        rows = self.norm(x.reshape(batch, channels, height * width).transpose(0, 2, 1))
        rows = self.plain(rows) * self.softmax(rows)
        heads = split_heads(rows, 2)
        rows = rows + self.attend(heads, heads * 2, heads) + self.attend(heads, heads, heads + 1, self.plain_bias)
        index = self.search(rows, 3).astype(ms.float32)
        return self.dense(rows).sum(1) + index.sum((1, 2)).expand_dims(1)


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])
@pytest.mark.parametrize("train", [True, False])
def test_every_kernel_in_both_modes(mode, train):
    """Results and all gradients, in training and with fixed statistics."""
    ms.set_context(mode=mode)
    images = ms.Tensor(np.random.default_rng(4).standard_normal((3, 6, 9, 7)), ms.float32)

    def everything(accelerate):
        ms.set_seed(7)
        net = randomize_statistics(Parts())
        if accelerate:
            swap.accelerate(net)
            kinds = {type(cell) for _, cell in net.cells_and_names()}
            assert {kind for _, kind in swap.KINDS} <= kinds, "a kernel is not in this test"
            assert not left_behind(net)
        net.set_train(train)
        weights = ms.ParameterTuple(net.trainable_params())
        weight = ms.Tensor(np.random.default_rng(6).standard_normal((3, 4)), ms.float32)
        loss, (dx, found) = ms.value_and_grad(Loss(net), 0, weights)(images, weight)
        moved = [p.asnumpy() for p in net.get_parameters() if not p.requires_grad]
        return [net(images).asnumpy(), loss.asnumpy(), dx.asnumpy(), *(g.asnumpy() for g in found), *moved]

    found, expected = everything(True), everything(False)
    # The gradient of a bias before a BatchNorm is 0 but for rounding: gradients are held to the largest of all.
    largest = max(np.abs(value).max() for value in expected[2:])
    for index, (one, other) in enumerate(zip(found, expected)):
        assert one.shape == other.shape and np.isfinite(one).all()
        assert np.abs(one - other).max() <= 1e-5 * (largest if index > 1 else np.abs(other).max())


def test_an_activation_that_stands_elsewhere_too_is_kept():
    """In one place behind a BatchNorm, in another alone: computed with the first it would be missing in the second."""
    class Shared(nn.Cell):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()
            self.chain = nn.SequentialCell(nn.BatchNorm2d(3), self.act)

        def construct(self, x):
            return self.act(self.chain(x) - 1)

    net = Shared().set_train(False)
    x = ms.Tensor(np.random.default_rng(8).standard_normal((2, 3, 4, 4)), ms.float32)
    expected = net(x).asnumpy()
    swap.accelerate(net)
    assert not any(isinstance(cell, cells.Passed) for _, cell in net.cells_and_names())
    close(net(x).asnumpy(), expected, 1e-6)


def test_relatives_of_a_cell_are_left_alone():
    """Whoever inherits from a cell computes something else."""
    class Doubled(nn.BatchNorm2d):
        def construct(self, x):
            return 2 * super().construct(x)

    kept = (Doubled(3), nn.GELU(approximate=True), nn.Conv2d(3, 3, 3, 2, pad_mode="same", group=3),
            nn.Conv2d(6, 9, 1, group=3), nn.BatchNorm1d(3), nn.Softmax(axis=1), nn.Dense(3, 4, activation="relu"))
    net = nn.SequentialCell(*kept, nn.ReLU())
    kinds = [type(cell) for cell in kept]
    swap.accelerate(net)
    assert [type(cell) for cell in net.cell_list] == [*kinds, cells.ActivationKernel]


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])
def test_convolutions_of_other_strides_have_their_own_shapes(mode):
    """In PyNative mode the second was given the first one's."""
    ms.set_context(mode=mode)
    net = nn.SequentialCell(*(depthwise_conv2d(4, *pair) for pair in ((3, 1), (3, 2), (5, 2), (5, 1))))
    x = ms.Tensor(np.random.default_rng(9).standard_normal((1, 4, 16, 16)), ms.float32)
    expected = net(x).asnumpy()
    swap.accelerate(net)
    assert expected.shape == (1, 4, 4, 4)
    close(net(x).asnumpy(), expected, 1e-5)


def test_off_and_what_is_said():
    net = built("ghostnet_050")[0]
    assert "as asked" in swap.accelerate(net, "off") and not swap.accelerated(net)
    assert "float32" in swap.accelerate(net, float32=False) and not swap.accelerated(net)


def test_without_the_library_the_cells_stay(monkeypatch):
    def none():
        raise build.Unavailable("there is no C++ compiler (c++): install g++")

    monkeypatch.setattr(swap, "library", none)
    net = built("ghostnet_050")[0]
    said = swap.accelerate(net)
    assert said.startswith("CPU kernels off") and said.endswith("install g++") and not swap.accelerated(net)


def test_a_command_that_uses_a_network_says_only_that_it_has_to_do_without(monkeypatch):
    assert swap.fallback(built("ghostnet_050")[0], "auto") == [] == swap.fallback(built("ghostnet_050")[0], "off")

    def none():
        raise build.Unavailable("there is no C++ compiler (c++): install g++")

    monkeypatch.setattr(swap, "library", none)
    said, = swap.fallback(built("ghostnet_050")[0], "auto")
    assert said.endswith("install g++")


def test_accelerators_never_see_them(monkeypatch):
    monkeypatch.setattr(ms, "get_context", lambda key: "Ascend")
    net = nn.SequentialCell(nn.ReLU())
    assert swap.accelerate(net) == "" and not swap.accelerated(net)


def test_an_export_refuses_them(tmp_path):
    """MindSpore writes a MINDIR that names the library of this machine, without a word."""
    pytest.importorskip("onnx")
    net, size = built("ghostnet_050")
    swap.accelerate(net)
    spec = ModelSpec("ghostnet_050", {"num_classes": 5}, [str(i) for i in range(5)], preprocessing_of_size((64, 64)))
    for write in (export.export_mindir, export.export_onnx):
        with pytest.raises(ValueError, match="CPU kernels of this machine"):
            write(net, spec, str(tmp_path / "net"))
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_is_the_same(tmp_path):
    net = built("ghostnet_050")[0]
    spec = ModelSpec("ghostnet_050", {"num_classes": 5}, [str(i) for i in range(5)], preprocessing_of_size((64, 64)))
    plain, fast = str(tmp_path / "plain.ckpt"), str(tmp_path / "fast.ckpt")
    save_checkpoint(net, plain, spec)
    swap.accelerate(net)
    save_checkpoint(net, fast, spec)
    with open(plain, "rb") as one, open(fast, "rb") as other:
        assert one.read() == other.read()
