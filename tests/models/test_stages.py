"""Stages and layers as the families declare them, against what the networks compute; taps, reported and returned."""
import re

import mindspore as ms
import numpy as np
import pytest

from ghost_ms import create_model, list_models, model_card
from ghost_ms.analysis.explain.saliency import stage_cell
from ghost_ms.models.backbone import Backbone, FeatureInfo
from ghost_ms.models.backbones import legonet, tnt
from ghost_ms.models.backbones.augvit import AugViT
from ghost_ms.models.backbones.cmt import CMT
from ghost_ms.models.backbones.g_ghost_regnet import GGhostRegNet
from ghost_ms.models.backbones.ghostnet import GhostNet
from ghost_ms.models.backbones.hire_mlp import HireMlp
from ghost_ms.models.backbones.legonet import LegoVgg
from ghost_ms.models.backbones.mobilenetv3 import LARGE, MobileNetV3
from ghost_ms.models.backbones.pyramid_tnt import PyramidTNT
from ghost_ms.models.backbones.pyramid_vig import PyramidViG
from ghost_ms.models.backbones.repghost import RepGhostNet
from ghost_ms.models.backbones.shufflenetv2 import ShuffleNetV2
from ghost_ms.models.backbones.snnmlp import SnnMlp
from ghost_ms.models.backbones.tnt import TNT
from ghost_ms.models.backbones.vanillanet import VanillaNet
from ghost_ms.models.backbones.vig import ViG
from ghost_ms.models.backbones.wavemlp import WaveMlp
from ghost_ms.models.stages import layer_of_parameters, stage_of_parameters

#: Families whose layers are declared in another's class, which runs: theirs are looked at with --slow.
HEIRS = ("augvit", "efficientnet", "ghost_resnet", "ghostnet", "ghostnetv2", "ghostnetv3", "hire_mlp", "parameternet",
         "pyramid_vig", "repghost", "resnet", "versatile")


def _with_taps(family, taps):
    return type(f"Other{family.__name__}", (family,), {"taps": taps})


def _shallow_tnt():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tnt, "DEPTH", 3)
        return _with_taps(TNT, (0, 2))(24, 4, 2, input_size=(64, 64))


def _shallow_lego():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(legonet, "ROWS", ((4, 4), (8,), (8, 8)))
        return LegoVgg()


#: Families whose smallest network has many blocks: fewer of them, for an image of 64 pixels.
SHALLOW = {
    "legonet": _shallow_lego,
    "tnt": _shallow_tnt,
    "cmt": lambda: CMT((8, 16, 32, 64), (1, 1, 2, 1), 4, input_size=(64, 64)),
    "pyramid_tnt": lambda: PyramidTNT(16, 2, (2, 1), (1, 1, 2, 1), input_size=(64, 64)),
    "snnmlp": lambda: SnnMlp(8, (1, 1, 2, 1)),
    "vig": lambda: ViG(32, 5, input_size=(64, 64)),
    "wavemlp": lambda: WaveMlp((1, 1, 2, 1), (8, 16, 32, 64)),
}


def _networks():
    """The smallest network of each family, or a shallow one in its place; --slow runs all."""
    cards = {}
    for card in map(model_card, list_models()):
        cards[card.family] = min(card, cards.get(card.family, card), key=lambda card: card.params)
    registered = [pytest.param(lambda name=card.name: create_model(name, input_size=(64, 64)), id=card.name,
                               marks=[pytest.mark.slow] * (family in HEIRS or family in SHALLOW))
                  for family, card in cards.items()]
    return registered + [pytest.param(make, id=f"shallow_{family}") for family, make in SHALLOW.items()]


@pytest.fixture(scope="module", params=_networks())
def net(request):
    return request.param().set_train(False)


def _image():
    return ms.Tensor(np.random.default_rng(0).standard_normal((1, 3, 64, 64)), ms.float32)


def _maps(net):
    return [map_.asnumpy() for map_ in net.forward_stages(_image())]


def _first_changed(net, parameters, maps):
    """The first tap whose map depends on these parameters; the number of taps where none does."""
    draw, kept = np.random.default_rng(1), [parameter.asnumpy().copy() for parameter in parameters]
    for parameter, value in zip(parameters, kept):
        # Only more, since variances must stay above 0.
        parameter.set_data(ms.Tensor(value + draw.uniform(0.1, 0.5, value.shape).astype(np.float32)))
    changed = [not np.array_equal(new, old) for new, old in zip(_maps(net), maps)]
    for parameter, value in zip(parameters, kept):
        parameter.set_data(ms.Tensor(value))
    return (changed + [True]).index(True)


def test_freezing_stages_holds_their_maps_and_nothing_else(net):
    """What is declared of a stage, changed together, changes its map and no map before it; so for each table, too."""
    stages, maps, parameters = stage_of_parameters(net), _maps(net), net.parameters_dict()
    # The next test sees that nothing of the head is called.
    for stage in set(stages.values()) - {len(maps)}:
        members = [parameters[name] for name in stages if stages[name] == stage]
        assert _first_changed(net, members, maps) == stage
    for name in stages:
        # No cell of its own computes with it, so that the order of the calls says nothing of it.
        if "." not in name:
            assert _first_changed(net, [parameters[name]], maps) == stages[name], name
    assert all(np.array_equal(new, old) for new, old in zip(_maps(net), maps))


def test_layers_compute_in_the_order_that_is_declared(net):
    """Every cell is called after the tap before its stage and before the tap of it; its layer follows those before."""
    called, done, handles = {}, [], []

    def before(name):
        def hook(cell, inputs):
            called.setdefault(name, len(done))
        return hook

    owners = {name.rpartition(".")[0] for name in net.parameters_dict()} - {""}
    for name, cell in net.cells_and_names():
        if name in owners:
            handles.append(cell.register_forward_pre_hook(before(name)))
    for index in range(len(net.feature_info)):
        handles.append(stage_cell(net, index).register_forward_hook(lambda *_, index=index: done.append(index)))
    net.forward_stages(_image())
    for handle in handles:
        handle.remove()
    assert done == list(range(len(net.feature_info)))
    stages, layers = stage_of_parameters(net), layer_of_parameters(net)
    of_cells = {name.rpartition(".")[0]: name for name in stages}
    head = {cell for cell, name in of_cells.items() if stages[name] == len(done)}
    late = {cell: (called.get(cell), stages[name]) for cell, name in of_cells.items()
            if cell and cell not in head and called.get(cell) != stages[name]}
    assert late == {} and not head & set(called)
    numbers = [layers[of_cells[cell]] for cell in called]
    assert numbers == sorted(numbers)


def _declaring(parts, taps=("stem", "stage")):
    """A network of two stages and a head that declares `parts`."""
    class Declaring(Backbone):
        feature_info = tuple(FeatureInfo(2, 2, name) for name in taps)

        def layer_parts(self):
            return parts

    net = Declaring()
    net.stem, net.stage, net.head = ms.nn.Dense(2, 2), ms.nn.Dense(2, 2), ms.nn.Dense(2, 2)
    net.table = ms.Parameter(ms.Tensor([1.0]), name="table")
    return net


def test_what_is_not_declared_or_twice_is_refused():
    whole = (("stem", "table"), ("stage",), ("head",))
    assert stage_of_parameters(_declaring(whole)) == {
        "table": 0, "stem.weight": 0, "stem.bias": 0, "stage.weight": 1, "stage.bias": 1, "head.weight": 2,
        "head.bias": 2}
    with pytest.raises(ValueError, match="one layer that Declaring.layer_parts.. declares, but 'table' belongs to no"):
        stage_of_parameters(_declaring((("stem",), *whole[1:])))
    with pytest.raises(ValueError, match=re.escape("'head.bias' belongs to 2 (head, head.bias)")):
        layer_of_parameters(_declaring((*whole, ("head.bias",))))
    with pytest.raises(ValueError, match="lies in its tap 'stag'"):
        stage_of_parameters(_declaring(whole, taps=("stem", "stag")))
    with pytest.raises(ValueError, match="this Backbone declares no layers.*layer_parts"):
        layer_of_parameters(Backbone())
    with pytest.raises(ValueError, match="this Dense declares no layers"):
        layer_of_parameters(ms.nn.Dense(2, 2))


@pytest.mark.parametrize("make,strides", [
    (lambda: _with_taps(GhostNet, (4, 6, 8))(0.5), [8, 16, 32]),
    (lambda: _with_taps(RepGhostNet, (-1, 0, 1, 7))(0.5, stem_stride=1), [1, 1, 2, 16]),
    (lambda: MobileNetV3(LARGE, (-1, 0, 3, 4), 64), [2, 2, 16, 16]),
    (lambda: _with_taps(TNT, (0, 11))(24, 4, 2, input_size=(32, 64)), [16, 16]),
    (lambda: _with_taps(AugViT, (5,))(24, 2, input_size=(32, 64)), [16]),
    (lambda: ViG(64, 5, input_size=(32, 64)), [16] * 4),
    (lambda: PyramidViG((48, 64), (1, 1), input_size=(32, 64)), [4, 8]),
    (lambda: VanillaNet((8, 8, 16, 16), (1, 4, 2)), [4, 16, 32]),
], ids=["ghostnet", "repghost", "mobilenetv3", "tnt", "augvit", "vig", "pyramid_vig", "vanillanet"])
def test_other_taps_are_reported_and_returned_alike(make, strides):
    net = make().set_train(False)
    maps = net.forward_pyramid(ms.Tensor(np.zeros((1, 3, 32, 64), np.float32)))
    assert [info.stride for info in net.feature_info] == strides and len(maps) == len(strides)
    for info, map_ in zip(net.feature_info, maps):
        assert map_.shape == (1, info.channels, 32 // info.stride, 64 // info.stride), info
    assert sorted(set(stage_of_parameters(net).values())) == list(range(len(strides) + 1))


@pytest.mark.parametrize("make,said", [
    (lambda: _with_taps(GhostNet, (0, 2, 9))(), "taps are (0, 2, 9), but they must be rising numbers from -1 to 8"),
    (lambda: _with_taps(GhostNet, (4, 2))(), "taps are (4, 2)"),
    (lambda: MobileNetV3(LARGE, (0, 0, 1), 64), "taps are (0, 0, 1)"),
    (lambda: MobileNetV3(LARGE, (), 64), "taps are ()"),
    (lambda: MobileNetV3(LARGE, (-2, 1), 64), "taps are (-2, 1)"),
    (lambda: _with_taps(TNT, (2, 12))(24, 4, 2), "rising numbers from 0 to 11"),
    (lambda: _with_taps(AugViT, (-1, 2))(24, 2), "rising numbers from 0 to 11"),
    (lambda: ViG(64, 3), "depth is 3, but a ViG has 4 blocks"),
    (lambda: PyramidViG((48, 96, 240, 384), (2, 2, 6)), "same stages"),
    (lambda: HireMlp((2, 2, 4)), "must be those of the same stages"),
    (lambda: CMT((46, 92, 184), (2, 2, 10), 16), "must be those of 4 stages"),
    (lambda: PyramidTNT(80, 5, (2, 1), (2, 6, 3, 2, 2)), "more than the 4 stages"),
    (lambda: GGhostRegNet((1, 1, 4), (24, 56, 152), 8), "must be those of four stages"),
    (lambda: ShuffleNetV2((48, 96, 192)), "stage2, stage3, stage4 and conv5"),
    (lambda: VanillaNet((8, 8, 16), (2,)), "of the stem and of each stage, which do not go with strides (2,)"),
])
def test_taps_and_stages_that_do_not_fit_are_refused(make, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        make()
