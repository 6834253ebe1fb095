"""ViG and Pyramid ViG: golden logits apart from ties, the choice of neighbours, tables for other input sizes."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms import create_model, list_models
from ghost_ms.layers import graph, resize_table
from ghost_ms.models.backbones.pyramid_vig import relative_positions
from ghost_ms.models.backbones.vig import ViG
from ghost_ms.weights.convert import load_torch_state, torch_names
from tests import golden
from tests.models import vision_graph_numpy

GRAPHS = sorted(list_models("vig_*") + list_models("pvig_*"))


def _loaded(name, state, **kwargs):
    """The network with a state of 224; the record does not hold the tables that a rule makes, a released file does."""
    tables = {parameter.name: parameter.asnumpy() for parameter in create_model(name).get_parameters()
              if parameter.name.endswith("relative_pos")}
    net = create_model(name, **kwargs).set_train(False)
    load_torch_state(net, {**tables, **state})
    return net


@pytest.mark.parametrize("name", ["vig_ti", "pvig_ti"])
def test_logits_and_neighbours(name, monkeypatch):
    """With the neighbours of float64 the logits are exact; and the network's own differ from them in ties only."""
    record, arrays, state = golden.load(name)
    reference = vision_graph_numpy.Reference(state)
    logits = getattr(reference, name)(record["input"])
    np.testing.assert_allclose(logits, arrays["logits"], atol=1e-10, err_msg="the NumPy reference itself")
    choices, own, search = iter(reference.choices), [], graph.nearest_neighbours

    def replayed(*args):
        own.append(search(*args).asnumpy())
        return ms.Tensor(next(choices)[1].astype(np.int32))

    monkeypatch.setattr(graph, "nearest_neighbours", replayed)
    got = _loaded(name, state)(ms.Tensor(golden.image(record["input"]))).asnumpy()
    deviation = np.abs(got - arrays["logits"]).max() / arrays["logits"].std()
    assert deviation <= 10 * record["fp32_deviation"]
    assert len(own) == len(reference.choices) == 12
    for index, (distances, expected) in zip(own, reference.choices):
        assert index.shape == expected.shape
        ours, theirs = (np.take_along_axis(distances, i, 2) for i in (index, expected))
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
        assert np.mean(index != expected) < 2e-3


def test_relative_positions_follow_the_published_rule():
    for channels, side, pool in ((16, 12, 4), (24, 8, 2), (8, 6, 1)):
        ours = relative_positions(channels, side, pool, (side, side))
        assert ours.shape == (side ** 2, (side // pool) ** 2) and ours.dtype == np.float32
        np.testing.assert_allclose(ours, vision_graph_numpy.relative_positions(channels, side, pool), atol=1e-6)


def test_relative_positions_of_another_size_are_resampled_over_the_grid():
    """Each of the four spatial axes is; a resampled flat table would put a node nearest to some other row."""
    table = relative_positions(32, 14, 1, (14, 14)).astype(np.float64)
    rows = resize_table(table.reshape(14, 14, 14, 14), (16, 20)).reshape(196, 320).T
    expected = resize_table(rows.reshape(320, 14, 14), (16, 20)).reshape(320, 320).T
    ours = relative_positions(32, 14, 1, (16, 20))
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    nearest = ours.argmin(1)
    away = np.abs(np.stack(np.unravel_index(nearest, (16, 20))) - np.stack(np.unravel_index(np.arange(320), (16, 20))))
    assert away.max() <= 1


@pytest.mark.parametrize("name, size", [("vig_ti", (256, 256)), ("pvig_ti", (256, 256)), ("pvig_ti", (112, 448))])
def test_weights_of_224_load_for_another_size(name, size):
    """112 x 448 has as many nodes as 224 x 224, so that shapes alone would not tell that the table is another."""
    _, _, state = golden.load(name)
    net = _loaded(name, state, input_size=size)
    stride = 16 if name == "vig_ti" else 4
    expected = resize_table(state["pos_embed"], (size[0] // stride, size[1] // stride))
    np.testing.assert_array_equal(net.pos_embed.asnumpy(), expected)
    if name == "pvig_ti":
        fresh = create_model(name, input_size=size)
        for ours, other in zip(net.get_parameters(), fresh.get_parameters()):
            if ours.name.endswith("relative_pos"):
                np.testing.assert_array_equal(ours.asnumpy(), other.asnumpy())
                assert ours.shape[1] == (size[0] // 4) * (size[1] // 4) or not ours.name.startswith("backbone.0.")


def test_published_size_keeps_the_released_tables_to_the_bit():
    net = create_model("pvig_ti")
    names = torch_names(net)
    state = {other: np.random.default_rng(0).random(p.shape).astype(np.float32)
             for other, (_, p) in zip(names.values(), net.parameters_and_names())}
    load_torch_state(net, state)
    for table in ("pos_embed", "backbone.0.0.relative_pos", "backbone.14.0.relative_pos"):
        np.testing.assert_array_equal(net.parameters_dict()[table].asnumpy(), state[table])


@pytest.mark.parametrize("name", GRAPHS)
def test_neighbours_and_dilation_of_every_block(name):
    def rows(**kwargs):
        net = create_model(name, **kwargs)
        return [(cell.k, cell.dilation) for _, cell in net.cells_and_names()
                if isinstance(cell, graph.DynamicGraphConv)]

    published = rows()
    depth = len(published)
    if name.startswith("vig"):
        table = {12: [9, 9, 10, 11, 12, 13, 13, 14, 15, 16, 17, 18],
                 16: [9, 9, 10, 10, 11, 12, 12, 13, 13, 14, 15, 15, 16, 16, 17, 18]}[depth]
    else:
        table = [9] * depth
    assert published == [(k, min(index // 4 + 1, 5)) for index, k in enumerate(table)]
    if name.endswith("_ti"):
        assert rows(input_size=(256, 320)) == published, "a larger map keeps what the weights were trained with"
        nodes = 16 if name == "vig_ti" else 4
        small = rows(input_size=(64, 64))
        assert all(k * dilation <= 16 for k, dilation in small) and small[-1] == (nodes, 1)


@pytest.mark.parametrize("name", ["vig_ti", "pvig_ti"])
def test_another_size_than_built_for_is_refused(name):
    net = create_model(name, input_size=(64, 64)).set_train(False)
    for mode in (ms.PYNATIVE_MODE, ms.GRAPH_MODE):
        ms.set_context(mode=mode)
        with pytest.raises(ValueError, match="input_size"):
            net(ms.Tensor(np.zeros((1, 3, 96, 64), np.float32)))


def test_position_tables_are_frozen_and_the_rest_is_not():
    net = create_model("pvig_ti", input_size=(64, 64))
    frozen = [p.name for p in net.get_parameters() if not p.requires_grad and "moving" not in p.name]
    assert len(frozen) == 12 and all(name.endswith(".relative_pos") for name in frozen)
    assert net.pos_embed.requires_grad and not net.pos_embed.asnumpy().any()


def test_too_small_an_image_is_refused():
    with pytest.raises(ValueError, match="input_size"):
        create_model("pvig_ti", input_size=(8, 8))


def test_a_deep_network_of_nodes_that_are_their_own_neighbours_trains():
    """Twelve blocks: with fewer, MindSpore compiled also what it did not compile in ViG-Ti."""
    ms.set_context(mode=ms.GRAPH_MODE)
    net = ViG(16, 12, num_classes=4, input_size=(64, 64))
    before = net.prediction[4].weight.asnumpy().copy()
    step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.CrossEntropyLoss()), nn.SGD(net.trainable_params(), 0.1))
    images = ms.Tensor(np.random.default_rng(0).standard_normal((2, 3, 64, 64)), ms.float32)
    assert np.isfinite(float(step.set_train()(images, ms.Tensor([0, 1], ms.int32))))
    assert not np.array_equal(net.prediction[4].weight.asnumpy(), before)
