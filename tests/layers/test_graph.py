"""Neighbour search and max-relative convolution against plain NumPy."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from ghost_ms.layers import graph


def _nodes(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _brute_force(x, y, k, dilation, relative_pos=None):
    """Neighbours by a full sort of float64 distances, one node at a time."""
    batch, _, nodes = x.shape
    index = np.zeros((batch, nodes, k), np.int32)
    for image in range(batch):
        for node in range(nodes):
            feature = x[image, :, node].astype(np.float64) / np.linalg.norm(x[image, :, node].astype(np.float64))
            others = y[image].astype(np.float64) / np.linalg.norm(y[image].astype(np.float64), axis=0)
            distance = ((feature[:, None] - others) ** 2).sum(0)
            if relative_pos is not None:
                distance = distance + relative_pos[0, node]
            index[image, node] = np.argsort(distance)[:k * dilation][::dilation]
    return index


def _search(x, y, *args, **kwargs):
    return graph.nearest_neighbours(ms.Tensor(x), ms.Tensor(y), *args, **kwargs).asnumpy()


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE])
@pytest.mark.parametrize("dilation", [1, 3])
def test_neighbours_are_those_of_brute_force(mode, dilation):
    ms.set_context(mode=mode)
    x, y, positions = _nodes(0, 2, 8, 30), _nodes(1, 2, 8, 20), _nodes(2, 1, 30, 20)
    np.testing.assert_array_equal(_search(x, y, 5, dilation), _brute_force(x, y, 5, dilation))
    np.testing.assert_array_equal(_search(x, y, 5, dilation, ms.Tensor(positions)),
                                  _brute_force(x, y, 5, dilation, positions))
    np.testing.assert_array_equal(_search(x, x, 5, dilation), _brute_force(x, x, 5, dilation))


def test_features_are_normalised_before_distances():
    """Along its own direction a long feature is nearest, though a short one of another direction is closer in space."""
    x = np.array([[[1.0], [0.0]]], np.float32)
    y = np.array([[[9.0, 0.5], [0.0, 0.5]]], np.float32)
    assert _search(x, y, 1)[0, 0, 0] == 0


def test_dilation_takes_every_nth_of_the_nearest():
    """Features on a quarter circle, so that the order of the neighbours of the first is their number."""
    angles = np.linspace(0, np.pi / 2, 12)
    x = np.stack((np.cos(angles), np.sin(angles)))[None].astype(np.float32)
    np.testing.assert_array_equal(_search(x, x, 3, 4)[0, 0], [0, 4, 8])
    np.testing.assert_array_equal(_search(x, x, 4, 1)[0, 0], [0, 1, 2, 3])


def test_a_node_without_signal_has_finite_neighbours():
    x = _nodes(0, 1, 4, 10)
    x[:, :, 3] = 0
    index = _search(x, x, 4)
    assert index.min() >= 0 and index.max() < 10
    others = [node for node in range(10) if node != 3]
    # The distance to a zero feature is 1, which lies between those to features less and more than 60 degrees away.
    unit = x[0] / np.maximum(np.linalg.norm(x[0], axis=0), 1e-12)
    distance = (unit ** 2).sum(0)[:, None] + (unit ** 2).sum(0)[None] - 2 * unit.T @ unit
    np.testing.assert_array_equal(index[0, others], np.argsort(distance, 1)[others, :4])


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE])
def test_chunks_give_the_same_neighbours(mode):
    ms.set_context(mode=mode)
    x, y, positions = _nodes(0, 3, 8, 50), _nodes(1, 3, 8, 20), ms.Tensor(_nodes(2, 1, 50, 20))
    whole = _search(x, y, 4, 2, positions)
    for limit in (1, 3 * 20 * 7, 3 * 20 * 49, 3 * 20 * 50):
        np.testing.assert_array_equal(_search(x, y, 4, 2, positions, max_distances=limit), whole)


def test_no_more_distances_than_allowed_exist_at_once(monkeypatch):
    sizes, topk = [], ops.topk

    def counted(values, *args):
        sizes.append(values.size)
        return topk(values, *args)

    monkeypatch.setattr(ops, "topk", counted)
    x = _nodes(0, 4, 8, 30)
    _search(x, x, 3, max_distances=1000)
    assert max(sizes) <= 1000 and sum(sizes) == 4 * 30 * 30


def test_several_images_equal_images_one_at_a_time():
    cell = graph.DynamicGraphConv(8, 5, 2, pool=2).set_train(False)
    x = _nodes(3, 3, 8, 8, 6)
    together = cell(ms.Tensor(x)).asnumpy()
    alone = np.concatenate([cell(ms.Tensor(x[i:i + 1])).asnumpy() for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert not np.allclose(together[0], together[1], atol=1e-2)


def test_too_few_nodes_are_refused():
    with pytest.raises(ValueError, match="number of nodes"):
        _search(_nodes(0, 1, 4, 6), _nodes(0, 1, 4, 6), 4, 2)


@pytest.mark.parametrize("wanted, nodes, expected", [
    ((9, 1), 196, (9, 1)), ((18, 4), 196, (18, 4)), ((9, 5), 49, (9, 5)), ((9, 5), 36, (9, 4)), ((9, 3), 9, (9, 1)),
    ((9, 3), 4, (4, 1)), ((9, 2), 1, (1, 1))])
def test_bounds(wanted, nodes, expected):
    assert graph.bounded_neighbours(*wanted, nodes) == expected


@pytest.mark.parametrize("open_batch", [False, True])
def test_maximum_over_neighbours(open_batch):
    y, index = _nodes(0, 2, 3, 7), np.random.default_rng(1).integers(0, 7, (2, 5, 4)).astype(np.int32)
    expected = np.stack([y[image][:, index[image]].max(2) for image in range(2)])
    got = graph.neighbour_maximum(ms.Tensor(y), ms.Tensor(index), open_batch).asnumpy()
    np.testing.assert_array_equal(got, expected)


def test_channels_are_interleaved():
    x, y = _nodes(0, 2, 3, 4), _nodes(1, 2, 3, 4)
    got = graph.interleave(ms.Tensor(x), ms.Tensor(y)).asnumpy()
    np.testing.assert_array_equal(got[:, 0::2], x)
    np.testing.assert_array_equal(got[:, 1::2], y)


def test_convolution_sees_raw_features_relative_to_the_centre():
    """The first group of four sees x_0, m_0 of two channels, ...: a weight that picks m_0 gives max(x_j) - x_i."""
    cell = graph.MaxRelativeConv(4)
    weight = np.zeros((8, 2, 1, 1), np.float32)
    weight[1, 1] = 1
    cell.nn[0].weight.set_data(ms.Tensor(weight))
    cell.nn[0].bias.set_data(ms.Tensor(np.zeros(8, np.float32)))
    x = 5 * _nodes(0, 1, 4, 2, 3)
    index = np.array([[[0, 1], [1, 2], [2, 5], [3, 4], [4, 5], [5, 0]]], np.int32)
    out = cell.nn[0](graph.interleave(
        ms.Tensor(x.reshape(1, 4, 6)), graph.neighbour_maximum(ms.Tensor(x.reshape(1, 4, 6)), ms.Tensor(index))
        - ms.Tensor(x.reshape(1, 4, 6))).reshape(1, 8, 2, 3)).asnumpy()
    flat = x[0, 0].reshape(-1)
    np.testing.assert_allclose(out[0, 1].reshape(-1), flat[index[0]].max(1) - flat, rtol=1e-6)
    cell.nn = cell.nn[:2].set_train(False)
    whole = cell(ms.Tensor(x), ms.Tensor(x.reshape(1, 4, 6)), ms.Tensor(index)).asnumpy()
    np.testing.assert_allclose(whole[0, 1], out[0, 1] / np.sqrt(1 + 1e-5), rtol=1e-5)


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE])
def test_gradient_goes_to_the_chosen_and_not_through_the_choice(mode):
    """d max(y_j) is 1 for the largest of the neighbours and 0 elsewhere; the search itself gives none."""
    ms.set_context(mode=mode)
    x, y = _nodes(0, 1, 4, 6), _nodes(1, 1, 4, 9)

    def total(x, y):
        return graph.neighbour_maximum(y, graph.nearest_neighbours(x, y, 3)).sum()

    to_x, to_y = (g.asnumpy() for g in ops.grad(total, (0, 1))(ms.Tensor(x), ms.Tensor(y)))
    expected = np.zeros_like(y)
    for node, chosen in enumerate(_brute_force(x, y, 3, 1)[0]):
        for channel in range(4):
            expected[0, channel, chosen[np.argmax(y[0, channel, chosen])]] += 1
    np.testing.assert_array_equal(to_x, 0)
    np.testing.assert_allclose(to_y, expected)


@pytest.mark.parametrize("pool", [1, 2])
def test_gradients_of_nodes_without_signal_are_finite_in_both_modes(pool):
    """The search would divide by the length of such a node."""
    cell = graph.DynamicGraphConv(4, 2, pool=pool).set_train(False)
    x = _nodes(0, 2, 4, 4, 4)
    x[0, :, :2, :2] = 0

    def squares(x):
        return (cell(x) ** 2).sum()

    eager = ops.grad(squares)(ms.Tensor(x)).asnumpy()
    ms.set_context(mode=ms.GRAPH_MODE)
    np.testing.assert_allclose(ops.grad(squares)(ms.Tensor(x)).asnumpy(), eager, rtol=1e-4, atol=1e-5)
    assert np.isfinite(eager).all() and eager.any()


def test_half_precision_chooses_as_single():
    x = _nodes(0, 1, 64, 40).astype(np.float16)
    np.testing.assert_array_equal(_search(x, x, 6), _search(x.astype(np.float32), x.astype(np.float32), 6))


@pytest.mark.parametrize("pool", [1, 2])
def test_grapher_is_the_same_in_both_modes(pool):
    cell = graph.Grapher(8, (6, 8), 5, 2, pool, _nodes(0, 48, 48 // pool ** 2)).set_train(False)
    x = ms.Tensor(_nodes(1, 2, 8, 6, 8))
    eager = cell(x).asnumpy()
    ms.set_context(mode=ms.GRAPH_MODE)
    np.testing.assert_allclose(cell(x).asnumpy(), eager, atol=1e-5)
