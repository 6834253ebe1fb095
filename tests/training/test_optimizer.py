"""Optimizers against stored updates of PyTorch and the papers' formulas; groups, frozen parts and stages."""
import json
import pathlib

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn
from mindspore.nn.utils import no_init_parameters

from ghost_ms import create_model, create_segmenter
from ghost_ms.config import OptimizerConfig
from ghost_ms.models.backbone import FeatureInfo
from ghost_ms.models.stages import stage_of_parameters
from ghost_ms.training import flat
from ghost_ms.training import optimizer as optimizer_module
from ghost_ms.training.clip import create_clip
from ghost_ms.training.groups import classifier_names, freeze, freeze_norms, parameter_groups
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
    """The stored parameters: a layer 'slow', then a head."""

    feature_info = (FeatureInfo(2, 2, "slow"),)

    def __init__(self):
        super().__init__()
        self.slow = Part("slow")
        self.head = Part("head")

    def layer_parts(self):
        return ("slow",), ("head",)


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


#: Of each network the number of its head, by layers from the stem on, and the layers of some of its parameters.
LAYERS = {
    "ghostnet_050": (17, {"conv_stem.weight": 0, "blocks.0.0.ghost1.primary_conv.0.weight": 1,
                          "blocks.1.0.conv_dw.weight": 2, "blocks.6.0.ghost1.primary_conv.0.weight": 7,
                          "blocks.6.4.se.conv_reduce.weight": 11, "blocks.8.3.ghost2.cheap_operation.1.beta": 16,
                          "blocks.9.0.conv.weight": 17, "conv_head.weight": 17, "classifier.bias": 17}),
    # As BEiT and timm count a transformer's: tokens and tables 0, 12 blocks, norm and head 13.
    "augvit_small": (13, {"cls_token": 0, "pos_embed": 0, "patch_embed.proj.weight": 0, "blocks.0.attn.qkv.weight": 1,
                          "blocks.11.mlp.fc2.weight": 12, "norm.gamma": 13, "head.weight": 13}),
    "tnt_s_patch16_224": (13, {"inner_pos": 0, "proj_norm2.beta": 0, "blocks.5.inner_attn.qk.weight": 6,
                               "head.bias": 13}),
    "cmt_ti": (17, {"stem_conv3.weight": 0, "relative_pos_a": 1, "patch_embed_a.proj.weight": 1, "relative_pos_c": 5,
                    "patch_embed_c.norm.gamma": 5, "blocks_c.9.attn.q.weight": 14, "relative_pos_d": 15,
                    "_bn.gamma": 17, "head.weight": 17}),
    "ptnt_ti_patch16_192": (14, {"outer_pos": 0, "stages.0.relative_pos": 1, "stages.0.blocks.1.outer_attn.q.weight": 2,
                                 "word_merges.0.norm.gamma": 3, "sentence_merges.0.conv.0.weight": 3,
                                 "stages.3.blocks.1.outer_norm1.beta": 13, "norm.beta": 14}),
    # The released recipe counts so: the stem 0, four stages of a block each, the classifier 5.
    "vanillanet_6": (5, {"stem.0.conv1.0.weight": 0, "stages.0.conv.conv1.0.weight": 1, "stages.3.act.bn.gamma": 4,
                         "cls.2.conv1.0.weight": 5}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_decay_goes_block_by_block(name):
    with no_init_parameters():
        net = create_model(name)
    head, layers = LAYERS[name]
    factors = {name: factor for name, (_, factor) in _factors(net, layer_decay=0.5).items()}
    assert factors.keys() == {p.name for p in net.trainable_params()}
    assert {name: factors[name] for name in layers} == {name: 0.5 ** (head - layer) for name, layer in layers.items()}
    assert set(factors.values()) == {0.5 ** power for power in range(head + 1)}
    ordered = [max(factor for name, factor in factors.items()
                   if any(f"{name}.".startswith(f"{part}.") for part in parts)) for parts in net.layer_parts()]
    assert ordered == sorted(ordered) and ordered[-1] == 1


@pytest.mark.parametrize("name,classifier", [
    ("ghostnet_050", {"classifier"}), ("vanillanet_5", {"cls.2.conv1.0", "cls.2.conv1.1", "cls.2.conv2.0"}),
    ("wavemlp_t_dw", {"head"}), ("cmt_ti", {"head"}), ("vig_ti", {"prediction.4"}), ("hire_mlp_tiny", {"head"}),
    ("shufflenetv2_x0_5", {"fc"}), ("resnet50", {"fc"}), ("versatile_vgg16", {"classifier.5"})])
def test_families_tell_their_stages_and_classifier(name, classifier):
    with no_init_parameters():
        net = create_model(name, num_classes=7)
    stages = stage_of_parameters(net)
    assert min(stages.values()) == 0 and max(stages.values()) == len(net.feature_info)
    assert {entry.rpartition(".")[0] for entry in classifier_names(net)} == classifier
    assert all(stages[entry] == len(net.feature_info) for entry in classifier_names(net))


def test_a_frozen_classifier_lets_adaptive_clipping_spare_nothing_else():
    net = create_model("ghostnet_050", num_classes=2)
    freeze(net, ["classifier"])
    parameters, options = net.trainable_params(), OptimizerConfig(clip_agc=0.01)
    clip = create_clip(options, parameters, classifier_names(net))
    assert not any(clip.spared) and clip.spared == (False,) * len(parameters)
    head = next(index for index, parameter in enumerate(parameters) if parameter.name == "conv_head.weight")
    gradients = tuple(Tensor(np.ones(parameter.shape), ms.float32) for parameter in parameters)
    clipped, weights = clip(gradients)[head].asnumpy(), parameters[head].asnumpy()
    limits = 0.01 * np.maximum(np.sqrt((weights ** 2).sum((1, 2, 3))), 1e-3)
    np.testing.assert_allclose(np.sqrt((clipped ** 2).sum((1, 2, 3))), limits, rtol=1e-4)
    net = create_model("ghostnet_050", num_classes=2)
    clip = create_clip(options, net.trainable_params(), classifier_names(net))
    assert [p.name for p, spared in zip(net.trainable_params(), clip.spared) if spared] == [
        "classifier.weight", "classifier.bias"]
    with pytest.raises(ValueError, match="this Net declares no classifier, which optimizer.clip_agc spares"):
        classifier_names(Net())


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


def test_norms_alone_are_frozen_of_a_segmenter_those_of_its_backbone():
    net = create_segmenter("deeplabv3", "ghostnet_050", 2)
    count = freeze_norms(net)
    means = {p.name for p in net.get_parameters() if p.name.endswith("moving_mean")}
    inside = {name for name in means if name.startswith("backbone.")}
    assert count == 4 * len(inside) and means > inside
    trained = {p.name for p in net.trainable_params()}
    assert "backbone.conv_stem.weight" in trained and "classifier.1.weight" in trained
    held = {name for name, cell in net.cells_and_names() if getattr(cell, "use_batch_statistics", None) is False}
    assert {f"{name}.moving_mean" for name in held} == inside and not any(f"{name}.gamma" in trained for name in held)
    with pytest.raises(ValueError, match="model.freeze_norms is true, and this SequentialCell has no BatchNorm"):
        freeze_norms(nn.SequentialCell(nn.Dense(2, 2)))


class Statistics(nn.Cell):
    """A norm of no kind that MindSpore has."""

    def __init__(self):
        super().__init__()
        self.running_mean = Parameter(Tensor(np.zeros(3), ms.float32), requires_grad=False)


@pytest.mark.parametrize("kind,shape", [(nn.BatchNorm1d, (4, 3)), (nn.BatchNorm2d, (4, 3, 2, 2)),
                                        (nn.BatchNorm3d, (4, 3, 2, 2, 2))])
def test_frozen_norms_of_every_kind_keep_their_statistics(kind, shape):
    net = nn.SequentialCell(kind(3), kind(3)).set_train()
    freeze(net, ["0"])
    net(Tensor(np.random.default_rng(0).standard_normal(shape), ms.float32))
    means = {p.name: p.asnumpy() for p in net.get_parameters() if p.name.endswith("moving_mean")}
    frozen = {name: not value.any() for name, value in means.items()}
    assert list(frozen.values()) == [True, False] and not any(p.name.startswith("0.") for p in net.trainable_params())


def test_statistics_that_cannot_be_held_are_not_frozen_in_name_alone():
    with pytest.raises(ValueError, match="covers '0', a Statistics, whose running statistics cannot be held"):
        freeze(nn.SequentialCell(Statistics()), ["0"])


def test_frozen_dropout_goes_on():
    net = nn.SequentialCell(nn.SequentialCell(nn.Dense(2, 2), nn.Dropout(p=0.5)), nn.Dense(2, 2)).set_train()
    freeze(net, ["0"])
    dropped = net[0](Tensor(np.ones((64, 2)), ms.float32)).asnumpy()
    assert 32 < (dropped == 0).sum() < 96


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE])
@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adamw", "lamb", "lion"])
def test_a_switch_holds_its_parameters_whatever_has_gathered(mode, name):
    """At 0 they stay to the bit, against momentum and decay, without a new graph; at 1 they move on."""
    ms.set_context(mode=mode)
    net, switch = Net(), Parameter(Tensor(1.0, ms.float32), name="switch", requires_grad=False)
    net.update_switches = lambda: {r"^slow\.": switch}
    optimizer = create_optimizer(net, OptimizerConfig(name, weight_decay=0.1, decay_norms_and_biases=True), [0.1] * 9)
    update = Update(optimizer)
    slow, moved = [], []
    for value in (1.0, 1.0, 0.0, 0.0, 1.0):
        switch.set_data(Tensor(value, ms.float32))
        before = {p.name: p.asnumpy().copy() for p in net.get_parameters()}
        update(*[Tensor(np.ones(p.shape), ms.float32) for p in optimizer.parameters])
        changed = {p.name: not np.array_equal(p.asnumpy(), before[p.name]) for p in net.get_parameters()}
        slow.append({changed[entry] for entry in changed if entry.startswith("slow.")})
        moved.append({changed[entry] for entry in changed if entry.startswith("head.")})
    assert slow == [{True}, {True}, {False}, {False}, {True}] and moved == [{True}] * 5
    assert "switch" not in {p.name for p in optimizer.get_parameters()}


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "nesterov"])
def test_weights_that_are_set_between_updates_are_trained_on(name):
    """In PyNative mode a compiled optimizer goes on with the old memory: `set_data`, of running means say, ended it."""
    net = Net()
    optimizer = create_optimizer(net, OptimizerConfig(**RECIPES[name]), [0.1] * 9)
    gradients = tuple(Tensor(np.ones(p.shape), ms.float32) for p in optimizer.parameters)
    optimizer(gradients)
    for parameter in net.get_parameters():
        parameter.set_data(Tensor(np.full(parameter.shape, 5.0), ms.float32))
    optimizer(gradients)
    assert all((parameter.asnumpy() < 5).all() for parameter in net.get_parameters())


@pytest.mark.parametrize("splits", [True, False], ids=["", "sliced"])
@pytest.mark.parametrize("count", [1, flat.CHUNK, flat.CHUNK + 1])
def test_a_group_of_any_number_of_tensors(count, splits, graph, capfd, monkeypatch):
    """One more than whole chunks leaves a chunk of one, which is not to be split; MindSpore 2.7 cannot split on CPU."""
    if splits and not flat.can_split():
        pytest.skip("this MindSpore has no split on CPU")
    monkeypatch.setattr(flat, "can_split", lambda: splits)
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
