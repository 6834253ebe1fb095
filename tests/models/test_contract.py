"""Every registered variant keeps the contract of `Backbone`; a new variant is covered by being registered."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from ghost_ms import create_model, list_models, model_card

#: Small sizes keep the suite quick; every network takes them.
SQUARE, WIDE = (64, 64), (64, 96)
#: LIF neurons act on groups of 4 positions, so that their scalars matter at stride 32 from 128 pixels on.
GRADIENT_SIZE = {"snnmlp": (128, 128)}


def _build(name, size, **kwargs):
    return create_model(name, input_size=size, **kwargs).set_train(False)


def _images(batch, size, channels=3):
    return ms.Tensor(np.random.default_rng(0).standard_normal((batch, channels) + size).astype(np.float32))


@pytest.mark.parametrize("name", list_models())
def test_parameter_count_is_the_published_one(name):
    net, card = create_model(name), model_card(name)
    count = sum(p.size for p in net.trainable_params())
    assert count + card.unused_params == card.params


@pytest.mark.parametrize("name", list_models())
def test_logits_and_features(name):
    classes = model_card(name).num_classes
    for size in (SQUARE, WIDE):
        net = _build(name, size)
        for batch in (1, 3) if size == SQUARE else (1,):
            x = _images(batch, size)
            features = net.forward_features(x)
            assert features.shape[:2] == (batch, net.num_features) and features.ndim == 4
            logits = net.forward_head(net.forward_last(x))
            assert logits.shape == (batch, classes)
            assert np.isfinite(logits.asnumpy()).all()


@pytest.mark.parametrize("name", list_models())
def test_pyramid_matches_feature_info(name):
    net, x = _build(name, WIDE), _images(1, WIDE)
    maps = net.forward_pyramid(x)
    assert len(maps) == len(net.feature_info) >= 1
    for info, map_ in zip(net.feature_info, maps):
        expected = tuple(-(-extent // info.stride) for extent in WIDE)
        assert map_.shape == (1, info.channels) + expected, info.name
        assert info.name in dict(net.cells_and_names()), f"{info.name} is no module of the network"
    last = net.forward_pyramid(x, out_indices=(len(maps) - 1,))
    np.testing.assert_array_equal(last[0].asnumpy(), maps[-1].asnumpy())


@pytest.mark.parametrize("name", list_models())
def test_other_classes_channels_and_rates(name):
    net = _build(name, SQUARE, num_classes=7, in_channels=1, drop_rate=0.3, drop_path_rate=0.1)
    assert net(_images(1, SQUARE, channels=1)).shape == (1, 7)
    net.reset_classifier(5)
    assert net(_images(2, SQUARE, channels=1)).shape == (2, 5)
    parameters = [p.name for p in net.get_parameters()]
    assert parameters == [n for n, _ in net.parameters_and_names()], "names must be structural after a reset"


@pytest.mark.parametrize("name", list_models())
def test_graph_mode_agrees_with_pynative(name):
    net, x = _build(name, SQUARE), _images(2, SQUARE)
    eager = net(x).asnumpy()
    ms.set_context(mode=ms.GRAPH_MODE)
    compiled = net(x).asnumpy()
    np.testing.assert_allclose(compiled, eager, atol=1e-5 * max(1.0, np.abs(eager).max()))


@pytest.mark.parametrize("name", list_models())
def test_gradients_reach_every_parameter(name):
    # At stride 64 a square leaves one token, over which a softmax is constant and its logits get no gradient.
    card = model_card(name)
    size = GRADIENT_SIZE.get(card.family, WIDE if card.sized else SQUARE)
    net = _build(name, size).set_train(True)
    x, labels = _images(3, size), ms.Tensor([0, 1, 2], ms.int32)

    def loss(x, labels):
        return ops.cross_entropy(net(x), labels)

    weights = net.trainable_params()
    gradients = ops.value_and_grad(loss, None, weights)(x, labels)[1]
    dead = [w.name for w, g in zip(weights, gradients) if not np.any(g.asnumpy())]
    broken = [w.name for w, g in zip(weights, gradients) if not np.isfinite(g.asnumpy()).all()]
    assert not dead and not broken
