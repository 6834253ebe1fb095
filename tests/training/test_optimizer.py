"""Optimizers against stored updates of PyTorch and the papers' formulas; groups, frozen parts and stages."""
import json
import pathlib

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from ghost_ms.models import create_model
from ghost_ms.models.backbone import FeatureInfo
from ghost_ms.config import OptimizerConfig
from ghost_ms.training import flat
from ghost_ms.training import optimizer as optimizer_module
from ghost_ms.training.groups import classifier_names, freeze, parameter_groups, stage_of_parameters
from ghost_ms.training.optimizer import create_optimizer

STORED = json.loads(pathlib.Path(__file__).with_name("optimizer_updates.json").read_text())
RECIPES = {
    "momentum": dict(name="sgd"), "nesterov": dict(name="sgd", nesterov=True), "rmsprop": dict(name="rmsprop"),
    "adamw": dict(name="adamw"), "lamb": dict(name="lamb"), "lion": dict(name="lion"),
}


def test_parts_of_a_group(monkeypatch):
    monkeypatch.setattr(optimizer_module, "LONGEST", 5)
    parameters = [Parameter(np.zeros(size, np.float32), name=f"p{index}") for index, size in enumerate((2, 3, 1, 9, 5))]
    parts = optimizer_module._in_parts(parameters)
    assert [[p.size for p in part] for part in parts] == [[2, 3], [1], [9], [5]]
    assert [p for part in parts for p in part] == parameters


class Part(nn.Cell):
    def __init__(self, name):
        super().__init__()
        self.weight = Parameter(Tensor(STORED["start"][f"{name}.weight"], ms.float32))
        if f"{name}.bias" in STORED["start"]:
            self.bias = Parameter(Tensor(STORED["start"][f"{name}.bias"], ms.float32))


class Net(nn.Cell):
    """The stored parameters: a stage 'slow', then a head."""

    feature_info = (FeatureInfo(2, 2, "slow"),)

    def __init__(self):
        super().__init__()
        self.slow = Part("slow")
        self.head = Part("head")


class Update(nn.Cell):
    def __init__(self, optimizer):
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer

    def construct(self, *gradients):
        return self.optimizer(gradients)


@pytest.mark.parametrize("name", list(RECIPES))
@pytest.mark.parametrize("longest", [2 ** 25, 4])
def test_five_updates_equal_the_reference(longest, name, graph, monkeypatch):
    """With weight decay, one parameter without it, and one at a tenth of the learning rate; a group in parts, too."""
    monkeypatch.setattr(optimizer_module, "LONGEST", longest)
    net = Net()
    options = OptimizerConfig(weight_decay=STORED["decay"], layer_decay=STORED["slow"], **RECIPES[name])
    update = Update(create_optimizer(net, options, STORED["rates"]))
    for gradients, wanted in zip(STORED["gradients"], STORED["updates"][name]):
        update(*[Tensor(gradients[p.name], ms.float32) for p in update.optimizer.parameters])
        for parameter in net.get_parameters():
            np.testing.assert_allclose(parameter.asnumpy(), np.array(wanted[parameter.name]), rtol=1e-6, atol=1e-6,
                                       err_msg=parameter.name)


def test_the_rates_are_no_part_of_the_state():
    """A table of a rate for each of half a million updates must not lie in every checkpoint."""
    optimizer = create_optimizer(Net(), OptimizerConfig(layer_decay=0.5), [0.1] * 100)
    assert {p.name.split(".")[0] for p in optimizer.get_parameters() if p.name not in STORED["start"]} == {
        "global_step", "momentum", "accum", "stat"}


def _factors(net, **options):
    return {p.name: (group["weight_decay"], group["factor"])
            for group in parameter_groups(net, OptimizerConfig(weight_decay=0.05, **options)) for p in group["params"]}


def test_what_decays():
    net = create_model("tnt_s_patch16_224", num_classes=2, input_size=(32, 32))
    decays = {name: decay for name, (decay, _) in _factors(net).items()}
    for name in ("cls_token", "outer_pos", "inner_pos", "head.bias", "norm.gamma"):
        assert decays[name] == 0
    for name in ("head.weight", "patch_embed.proj.weight", "blocks.0.outer_attn.qk.weight"):
        assert decays[name] == 0.05
    assert len(decays) == len(net.trainable_params())
    assert {name_decay[0] for name_decay in _factors(net, decay_norms_and_biases=True).values()} == {0.05}


def test_lif_scalars_have_their_own_rate():
    net = create_model("snnmlp_t", num_classes=2)
    groups = _factors(net, decay_norms_and_biases=True, group_lr={"lif": 0.1})
    lif = {name for name, group in groups.items() if group == (0.0, 0.1)}
    assert lif == {name for name in groups if name.endswith((".tau", ".Vth"))} and lif
    assert {group for name, group in groups.items() if name not in lif} == {(0.05, 1.0)}
    with pytest.raises(ValueError, match="group 'lyf'; the groups of this SnnMlp are: lif"):
        _factors(net, group_lr={"lyf": 1.0})


def test_layer_decay_follows_the_stages():
    net = create_model("ghostnet_050", num_classes=2)
    factors = {name: factor for name, (_, factor) in _factors(net, layer_decay=0.5).items()}
    assert len(net.feature_info) == 5
    for name, power in (("conv_stem.weight", 5), ("blocks.0.0.ghost1.primary_conv.0.weight", 5),
                        ("blocks.1.0.conv_dw.weight", 4), ("blocks.2.0.ghost1.primary_conv.0.weight", 4),
                        ("blocks.8.0.ghost1.primary_conv.0.weight", 1), ("blocks.9.0.conv.weight", 0),
                        ("classifier.bias", 0)):
        assert factors[name] == 0.5 ** power, name


@pytest.mark.parametrize("name,classifier", [
    ("ghostnet_050", "classifier"), ("vanillanet_5", "cls.2.conv2.0"), ("wavemlp_t_dw", "head"), ("cmt_ti", "head"),
    ("vig_ti", "prediction.4"), ("hire_mlp_tiny", "head"), ("shufflenetv2_x0_5", "fc"), ("resnet50", "fc")])
def test_families_tell_their_stages_and_classifier(name, classifier):
    net = create_model(name, num_classes=7)
    stages = stage_of_parameters(net)
    assert min(stages.values()) == 0 and max(stages.values()) == len(net.feature_info)
    assert {entry.rpartition(".")[0] for entry in classifier_names(net)} == {classifier}
    assert all(stages[entry] == len(net.feature_info) for entry in classifier_names(net))


def test_freezing_stages_and_cells():
    net = create_model("ghostnet_050", num_classes=2)
    freeze(net, 1)
    names = {p.name for p in net.trainable_params()}
    assert "blocks.1.0.conv_dw.weight" in names and "classifier.weight" in names
    assert not any(name.startswith(("conv_stem", "bn1.", "blocks.0.")) for name in names)
    assert net.bn1.use_batch_statistics is False and net.blocks[1][0].bn_dw.use_batch_statistics is None
    assert freeze(net, ["blocks.1", "conv_head"]) > 0
    names = {p.name for p in net.trainable_params()}
    assert "conv_head.weight" not in names and "blocks.2.0.ghost1.primary_conv.0.weight" in names
    with pytest.raises(ValueError, match="names 'block', which no parameter .* parts are conv_stem, bn1, blocks"):
        freeze(net, ["block"])
    with pytest.raises(ValueError, match="has 5 stages"):
        freeze(net, 6)
    freeze(net, ["conv_stem", "bn1", "blocks", "conv_head", "classifier"])
    with pytest.raises(ValueError, match="nothing is left to train"):
        parameter_groups(net, OptimizerConfig())


@pytest.mark.parametrize("count", [1, flat.CHUNK, flat.CHUNK + 1])
def test_a_group_of_any_number_of_tensors(count, graph, capfd):
    """One more than whole chunks leaves a chunk of one, which is not to be split."""
    draw = np.random.default_rng(count)
    values = [draw.standard_normal((2, index % 3 + 1)).astype(np.float32) for index in range(count)]
    group = flat.Group([Parameter(Tensor(value), name=f"p{index}") for index, value in enumerate(values)])
    moves, scales = (draw.standard_normal(size).astype(np.float32) for size in (group.length, count))

    class Step(nn.Cell):
        def __init__(self):
            super().__init__()
            self.group = group

        def construct(self, moves, scales):
            lengths = self.group.square_lengths(moves.reshape(1, -1))
            return lengths, self.group.subtract(moves), self.group.subtract_scaled(moves, scales)

    lengths, *_ = Step()(Tensor(moves), Tensor(scales))
    parts = [part.reshape(value.shape) for part, value in zip(
        np.split(moves, np.cumsum([value.size for value in values])[:-1]), values)]
    np.testing.assert_allclose(lengths.asnumpy(), [[np.sum(part * part) for part in parts]], rtol=1e-5)
    for parameter, value, part, scale in zip(group.parameters, values, parts, scales):
        np.testing.assert_allclose(parameter.asnumpy(), value - part - scale * part, rtol=1e-4, atol=1e-5)
    assert "WARNING" not in capfd.readouterr().err
