"""TinyNet: the scaled stages, odd image sizes, repeated construction."""
import mindspore as ms
import numpy as np
import pytest

from ghost_ms import create_model, model_card
from ghost_ms.layers import SqueezeExcite

REPEATS = {"a": (1, 2, 2, 4, 4, 5, 1), "b": (1, 2, 2, 3, 3, 4, 1), "c": (1, 2, 2, 3, 3, 3, 1),
           "d": (1, 1, 1, 2, 2, 3, 1), "e": (1, 1, 1, 2, 2, 2, 1)}
WIDTHS = {"a": (16, 24, 40, 80, 112, 192, 320), "b": (16, 24, 32, 64, 88, 144, 240), "c": (8, 16, 24, 40, 64, 104, 176),
          "d": (8, 16, 24, 40, 64, 104, 176), "e": (8, 16, 24, 40, 56, 96, 160)}


@pytest.mark.parametrize("letter", sorted(REPEATS))
def test_stages_are_rounded_to_the_nearest_not_up(letter):
    net = create_model(f"tinynet_{letter}")
    assert tuple(len(stage) for stage in net.blocks) == REPEATS[letter]
    projections = [stage[0].bn2 if index == 0 else stage[0].bn3 for index, stage in enumerate(net.blocks)]
    assert tuple(norm.num_features for norm in projections) == WIDTHS[letter]
    assert net.conv_stem.out_channels == 32 and net.conv_head.out_channels == 1280


def test_squeeze_is_a_quarter_of_the_block_input():
    gates = [cell for _, cell in create_model("tinynet_e").cells_and_names() if isinstance(cell, SqueezeExcite)]
    assert [gate.conv_reduce.out_channels for gate in gates] == [8, 2, 4, 6, 10, 10, 14, 14, 24, 24]


@pytest.mark.parametrize("name, extents", [("tinynet_b", (94, 47, 24, 12, 6)), ("tinynet_e", (53, 27, 14, 7, 4))])
def test_odd_sizes_round_up(name, extents):
    size = model_card(name).input_size
    maps = create_model(name).set_train(False).forward_pyramid(ms.Tensor(np.zeros((1, 3) + size, np.float32)))
    assert [map_.shape[2:] for map_ in maps] == [(extent, extent) for extent in extents]


def test_second_construction_equals_the_first():
    first, other, second = (create_model(f"tinynet_{letter}") for letter in "eae")
    shapes = [{name: tuple(p.shape) for name, p in net.parameters_and_names()} for net in (first, other, second)]
    assert shapes[0] == shapes[2] != shapes[1]
