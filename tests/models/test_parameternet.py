"""ParameterNet: which convolutions are dynamic, its activations, and stochastic depth by stage."""
import numpy as np
from mindspore import nn

from ghost_ms import create_model
from ghost_ms.layers import DropPath, DynamicConv2d, SqueezeExcite


def test_what_is_dynamic_and_what_is_plain():
    cells = dict(create_model("parameternet_300m").cells_and_names())
    plain = [name for name, cell in cells.items() if isinstance(cell, nn.Conv2d)]
    gates = [name for name, cell in cells.items() if isinstance(cell, SqueezeExcite)]
    assert len(gates) == 12
    gated = [name for name in plain if ".se.conv_" in name]
    strided = [f"blocks.{stage}.0.conv_dw" for stage in (1, 3, 5, 7)]
    assert sorted(plain) == sorted(gated + strided + ["conv_head"]) and len(gated) == 24
    dynamic = [name for name, cell in cells.items() if isinstance(cell, DynamicConv2d)]
    # Two ghost modules of two convolutions in each of 19 blocks, two convolutions in each shortcut, stem, blocks.9.
    widening = ("1.0", "3.0", "5.0", "6.3", "7.0")
    shortcuts = [f"blocks.{place}.shortcut.{index}" for place in widening for index in (0, 2)]
    assert [name for name in dynamic if ".shortcut." in name] == shortcuts
    assert len(dynamic) == 4 * 19 + len(shortcuts) + 2


def test_hard_swish_everywhere_also_in_the_gate():
    cells = [cell for _, cell in create_model("parameternet_300m").cells_and_names()]
    assert not any(isinstance(cell, nn.ReLU) for cell in cells)
    assert all(isinstance(cell.act, nn.HSwish) and isinstance(cell.gate, nn.HSigmoid)
               for cell in cells if isinstance(cell, SqueezeExcite))


def test_drop_path_is_constant_in_a_stage():
    net = create_model("parameternet_300m", drop_path_rate=0.8)
    for index, rate in enumerate(np.linspace(0, 0.8, 9)):
        rates = [cell.rate for _, cell in net.blocks[index].cells_and_names() if isinstance(cell, DropPath)]
        np.testing.assert_allclose(rates, rate)
