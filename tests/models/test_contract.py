"""Every registered variant keeps the contract of `Backbone`; a new variant is covered by being registered."""
import functools
import re

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops
from mindspore.nn.utils import no_init_parameters

from ghost_ms import create_model, list_models, model_card
from ghost_ms.analysis.measure.verify_worker import randomize_statistics
from ghost_ms.models.stages import layer_of_parameters, stage_of_parameters
from ghost_ms.runtime.compare import compare
from ghost_ms.surgery.fold_norms import count_cells, to_deploy_form
from ghost_ms.training.groups import classifier_names

#: Small sizes keep the suite quick; every network takes them.
SQUARE, WIDE = (64, 64), (64, 96)
#: The smallest of each family keeps the whole contract in every run. The others are the same code with longer tables:
#: they are counted, and those below LARGE are called; --slow keeps the whole contract for all.
LARGE = 30e6
SMALLEST = {}
for _card in map(model_card, list_models()):
    SMALLEST[_card.family] = min(SMALLEST.get(_card.family, _card.params), _card.params)
#: LIF neurons act on groups of 4 positions, so that their scalars matter at stride 32 from 128 pixels on.
GRADIENT_SIZE = {"snnmlp": (128, 128)}


class Variant:
    """A registered variant and its networks, built once for all tests of this file that follow one another."""

    def __init__(self, name):
        self.name, self.card, self.nets = name, model_card(name), {}

    @functools.cached_property
    def blank(self):
        """Without values: names and shapes alone, quickly."""
        with no_init_parameters():
            return create_model(self.name)

    def net(self, size=None):
        """In evaluation mode, for a size; networks without position tables are one for all sizes."""
        size = size if self.card.sized else None
        if size not in self.nets:
            self.nets[size] = create_model(self.name, input_size=size)
        return self.nets[size].set_train(False)


@pytest.fixture(scope="module", params=sorted(list_models(), key=lambda name: model_card(name).params))
def variant(request):
    return Variant(request.param)


@pytest.fixture
def whole(request, variant):
    """Whether the whole contract is looked at."""
    return variant.card.params == SMALLEST[variant.card.family] or request.config.getoption("--slow")


@pytest.fixture
def thorough(whole):
    if not whole:
        pytest.skip("a sibling of the smallest; --slow runs it")


def _images(batch, size, channels=3):
    return ms.Tensor(np.random.default_rng(0).standard_normal((batch, channels) + size).astype(np.float32))


def test_parameter_count_is_the_published_one(variant):
    count = sum(p.size for p in variant.blank.trainable_params())
    assert count + variant.card.unused_params == variant.card.params


def test_layers_are_declared_for_every_parameter(variant):
    """Each in exactly one layer, or `layer_of_parameters` raises; test_stages.py sees that they are the right ones."""
    net = variant.blank
    parts, layers, stages = net.layer_parts(), layer_of_parameters(net), stage_of_parameters(net)
    assert layers.keys() == stages.keys() == net.parameters_dict().keys()
    assert set(layers.values()) == set(range(len(parts))), "a layer without parameters"
    assert {part for layer in parts for part in layer} <= {name for name, _ in net.cells_and_names()} | set(layers)
    by_layer = {layers[name]: stages[name] for name in layers}
    assert all(by_layer[layers[name]] == stages[name] for name in layers)
    assert [by_layer[layer] for layer in sorted(by_layer)] == sorted(by_layer.values())
    assert {layers[name] for name in classifier_names(net)} == {len(parts) - 1}
    assert stages[classifier_names(net)[0]] == len(net.feature_info)


def test_every_pattern_finds_what_it_is_for(variant):
    """Of parameters by our names and PyTorch's, and of the entries that PyTorch's network has beside them."""
    net, names = variant.blank, list(variant.blank.parameters_dict())
    for pattern in (*net.no_weight_decay, *dict(net.parameter_groups).values()):
        assert any(re.search(pattern, name) for name in names), pattern
    for pattern, replacement in net.torch_renames:
        assert any(re.search(pattern, name) for name in names), pattern
        names = [re.sub(pattern, replacement, name) for name in names]
    extras = net.torch_extras()
    assert all(any(re.search(pattern, name) for pattern in net.torch_unused) for name in extras)
    assert not extras or all(any(re.search(pattern, name) for name in extras) for pattern in net.torch_unused)


def test_logits(variant, whole):
    if not whole and variant.card.params > LARGE:
        pytest.skip("a large sibling; --slow runs it")
    for batch, size in ((1, SQUARE), (3, SQUARE), (1, WIDE)) if whole else ((1, WIDE),):
        logits = variant.net(size)(_images(batch, size))
        assert logits.shape == (batch, variant.card.num_classes)
        assert np.isfinite(logits.asnumpy()).all()


@pytest.mark.usefixtures("thorough")
def test_without_a_classifier(variant):
    """Pooled features, none of the classifier's weights, and a new one on request."""
    with no_init_parameters():
        net = create_model(variant.name, num_classes=0)
    full, heads = variant.blank.parameters_dict(), set(classifier_names(variant.blank))
    assert net.headless and not variant.blank.headless and net.head_features == variant.blank.head_features
    assert set(net.parameters_dict()) == set(full) - heads and heads
    assert layer_of_parameters(net) == {name: layer for name, layer in layer_of_parameters(variant.blank).items()
                                        if name not in heads}
    with no_init_parameters():
        net.reset_classifier(7)
    shapes = {name: parameter.shape for name, parameter in net.parameters_dict().items()}
    assert not net.headless and set(shapes) == set(full) and {shapes[name][0] for name in heads} == {7}


@pytest.mark.usefixtures("thorough")
def test_the_features_without_a_classifier(variant):
    net = create_model(variant.name, input_size=SQUARE, num_classes=0).set_train(False)
    features = net(_images(2, SQUARE))
    assert features.shape == (2, net.head_features) and np.isfinite(features.asnumpy()).all()


@pytest.mark.usefixtures("thorough")
def test_features_and_head(variant):
    net, x = variant.net(SQUARE), _images(3, SQUARE)
    features = net.forward_features(x)
    assert features.shape[:2] == (3, net.num_features) and features.ndim == 4
    np.testing.assert_allclose(net.forward_head(net.forward_last(x)).asnumpy(), net(x).asnumpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("thorough")
def test_pyramid_matches_feature_info(variant):
    net, x = variant.net(WIDE), _images(1, WIDE)
    maps = net.forward_pyramid(x)
    assert len(maps) == len(net.feature_info) >= 1
    for info, map_ in zip(net.feature_info, maps):
        expected = tuple(-(-extent // info.stride) for extent in WIDE)
        assert map_.shape == (1, info.channels) + expected, info.name
        assert info.name in dict(net.cells_and_names()), f"{info.name} is no module of the network"
    last = net.forward_pyramid(x, out_indices=(len(maps) - 1,))
    np.testing.assert_array_equal(last[0].asnumpy(), maps[-1].asnumpy())


@pytest.mark.usefixtures("thorough")
def test_graph_mode_agrees_with_pynative(variant):
    net, x = variant.net(SQUARE), _images(2, SQUARE)
    eager = net(x).asnumpy()
    ms.set_context(mode=ms.GRAPH_MODE)
    compiled = net(x).asnumpy()
    np.testing.assert_allclose(compiled, eager, atol=1e-5 * max(1.0, np.abs(eager).max()))


@pytest.mark.usefixtures("thorough")
def test_gradients_reach_every_parameter(variant):
    # At stride 64 a square leaves one token, over which a softmax is constant and its logits get no gradient.
    size = GRADIENT_SIZE.get(variant.card.family, WIDE if variant.card.sized else SQUARE)
    net = variant.net(size).set_train(True)
    x, labels = _images(3, size), ms.Tensor([0, 1, 2], ms.int32)

    def loss(x, labels):
        return ops.cross_entropy(net(x), labels)

    weights = net.trainable_params()
    gradients = ops.value_and_grad(loss, None, weights)(x, labels)[1]
    dead = [w.name for w, g in zip(weights, gradients) if not np.any(g.asnumpy())]
    broken = [w.name for w, g in zip(weights, gradients) if not np.isfinite(g.asnumpy()).all()]
    assert not dead and not broken


@pytest.mark.usefixtures("thorough")
def test_deploy_form_gives_the_same_logits(variant):
    """With random running statistics; no dropout is left, and fewer BatchNorms. The last test of the network: it is
    changed in place."""
    net, x = randomize_statistics(variant.net(SQUARE)), _images(2, SQUARE)
    expected = net(x).asnumpy()
    before = count_cells(net, nn.BatchNorm2d)
    deployed = to_deploy_form(net)
    found = compare(deployed(x).asnumpy(), expected, lambda image: deployed(ms.Tensor(image)).asnumpy(), x.asnumpy())
    assert found.same, found
    assert count_cells(deployed, nn.Dropout) == 0
    assert count_cells(deployed, nn.BatchNorm2d) < max(before, 1)


@pytest.mark.usefixtures("thorough")
def test_other_classes_channels_and_rates(variant):
    variant.nets.clear()
    net = create_model(variant.name, input_size=SQUARE, num_classes=7, in_channels=1, drop_rate=0.3,
                       drop_path_rate=0.1).set_train(False)
    assert net(_images(1, SQUARE, channels=1)).shape == (1, 7)
    before, classifier = net.parameters_dict(), classifier_names(net)
    net.reset_classifier(5)
    assert net(_images(2, SQUARE, channels=1)).shape == (2, 5)
    replaced = [name for name, parameter in net.parameters_dict().items() if parameter is not before[name]]
    assert replaced == classifier == classifier_names(net)
    parameters = [p.name for p in net.get_parameters()]
    assert parameters == [n for n, _ in net.parameters_and_names()], "names must be structural after a reset"
