"""SNN-MLP: patch merging, where the neurons stand, and how an optimizer finds their scalars."""
import re

import mindspore as ms
import numpy as np
import pytest

from ghost_ms import create_model
from ghost_ms.models.backbones.snnmlp import LifModule, PatchMerging


def _map(rows, columns, channels=3):
    return np.random.default_rng(0).standard_normal((2, channels, rows, columns)).astype(np.float32)


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_merged_patches_go_down_the_first_column_first(size):
    x = _map(*size)
    cell = PatchMerging(3)
    seen = []
    cell.norm.construct = lambda y: seen.append(y.asnumpy()) or y
    cell(ms.Tensor(x))
    x = np.pad(x, ((0, 0), (0, 0), (0, size[0] % 2), (0, size[1] % 2)))
    parts = [x[:, :, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
    np.testing.assert_array_equal(seen[0], np.concatenate(parts, 1))


def test_both_neurons_read_the_same_map():
    cell = LifModule(4, 4).set_train(False)
    seen = []
    for name in ("lif1", "lif2"):
        neuron = getattr(cell, name)
        neuron.construct = lambda y, plain=neuron.construct: seen.append(y.asnumpy()) or plain(y)
    cell(ms.Tensor(_map(8, 8, 4)))
    np.testing.assert_array_equal(*seen)
    assert not cell.lif1.horizontal and cell.lif2.horizontal


def test_neurons_are_on_by_default_and_start_as_published():
    net = create_model("snnmlp_t")
    neuron = net.layers[2].blocks[3].attn.lif2
    assert (neuron.length, neuron.tau.asnumpy().tolist(), neuron.Vth.asnumpy().tolist()) == (
        4, [0.25], [np.float32(0.1)])


def test_optimizer_group_holds_the_scalars_of_every_neuron_and_nothing_else():
    net = create_model("snnmlp_t")
    (group, pattern), = net.parameter_groups
    found = [p for p in net.trainable_params() if re.search(pattern, p.name)]
    assert group == "lif" and len(found) == 2 * 2 * (2 + 2 + 6 + 2)
    assert {p.name.rsplit(".", 1)[1] for p in found} == {"tau", "Vth"} and {p.size for p in found} == {1}


def test_inputs_of_odd_sizes():
    net = create_model("snnmlp_t").set_train(False)
    maps = net.forward_pyramid(ms.Tensor(_map(76, 100)))
    assert [m.shape[2:] for m in maps] == [(19, 25), (10, 13), (5, 7), (3, 4)]
