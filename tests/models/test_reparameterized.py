"""Training and deploy forms of the families that have both: equal outputs, names, counts, training and files."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops
from mindspore.nn.utils import no_init_parameters

from ghost_ms import create_model, model_card
from ghost_ms.weights.convert import BOOKKEEPING, load_torch_state, torch_names
from tests import golden
from tests.layers.test_reparam import assert_close, images, randomise

SMALL = ("ghostnetv3_050", "repghostnet_050", "vanillanet_5")
#: The quickest to compile in every run, the others with --slow.
SLOW_BUT_ONE = ("vanillanet_5", *(pytest.param(name, marks=pytest.mark.slow) for name in SMALL[:2]))
REFERENCES = ("ghostnetv3_100", "repghostnet_100", "vanillanet_5", "vanillanet_8")


def count(net):
    return sum(p.size for n, p in net.parameters_and_names() if "moving_" not in n)


def state_of(net):
    """The network's weights under PyTorch's names."""
    parameters = dict(net.parameters_and_names())
    return {other: parameters[name].asnumpy() for name, other in torch_names(net).items()}


@pytest.mark.parametrize("size", [(224, 224), (64, 64), (96, 160)])
@pytest.mark.parametrize("name", SMALL)
def test_both_forms_agree(name, size):
    net, x = randomise(create_model(name)), images((1, 3) + size)
    before = net(x)
    assert net.reparameterize() is net
    assert_close(net(x), before)
    assert_close(net.reparameterize()(x), before)


@pytest.mark.parametrize("name", REFERENCES)
def test_deploy_form_has_the_golden_logits_count_and_names(name):
    record, arrays, state = golden.load(name)
    net = create_model(name).set_train(False)
    load_torch_state(net, state)
    net.reparameterize()
    assert count(net) == record["deploy_params"] == model_card(name).deploy_params
    assert set(torch_names(net).values()) == {key for key in record["deploy_keys"] if not BOOKKEEPING.search(key)}
    assert [p.name for p in net.get_parameters()] == [n for n, _ in net.parameters_and_names()]
    logits = net(ms.Tensor(golden.image(record["input"]))).asnumpy()
    assert np.abs(logits - arrays["logits"]).max() <= 10 * record["deploy_deviation"] * arrays["logits"].std()


@pytest.mark.parametrize("name", [f"{family}_{width}" for family, widths in (
    ("ghostnetv3", ("050", "130", "160")), ("repghostnet", ("050", "058", "080", "111", "130", "150", "200")),
    ("vanillanet", (6, 7, 9, 10, 11, 12, 13, "13_x1_5", "13_x1_5_ada_pool"))) for width in widths])
def test_deploy_constructor_has_the_published_count(name):
    with no_init_parameters():
        net = create_model(name, deploy=True)
    assert count(net) == model_card(name).deploy_params


@pytest.mark.parametrize("name", SMALL)
def test_deploy_state_loads_into_the_deploy_constructor(name):
    fused = randomise(create_model(name)).reparameterize()
    fresh, x = create_model(name, deploy=True).set_train(False), images((1, 3, 64, 64))
    load_torch_state(fresh, state_of(fused))
    np.testing.assert_array_equal(fresh(x).asnumpy(), fused(x).asnumpy())


@pytest.mark.parametrize("name", SLOW_BUT_ONE)
def test_fused_network_is_fine_tuned_saved_and_reloaded(name, tmp_path, graph):
    """Also the defect of parameters that stay frozen after fusing."""
    net, x = randomise(create_model(name, num_classes=4, drop_rate=0.0)), images((3, 3, 64, 64))
    net(x)
    net.reparameterize().set_train(True)
    weights, labels = net.trainable_params(), ms.Tensor([0, 1, 2], ms.int32)
    assert len(weights) == sum("moving_" not in n for n, _ in net.parameters_and_names())

    def loss(x, labels):
        return ops.cross_entropy(net(x), labels)

    gradients = ops.value_and_grad(loss, None, weights)(x, labels)[1]
    assert not [w.name for w, g in zip(weights, gradients) if not np.any(g.asnumpy())]
    step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.CrossEntropyLoss()), nn.SGD(weights, 1e-3)).set_train()
    before = {w.name: w.asnumpy().copy() for w in weights}
    step(x, labels)
    # A shift in front of another BatchNorm has no gradient but rounding, so only the kernels must move.
    assert not [w.name for w in weights if w.ndim > 1 and np.array_equal(w.asnumpy(), before[w.name])]
    ms.save_checkpoint(net, str(tmp_path / "fused.ckpt"))
    fresh = create_model(name, num_classes=4, deploy=True).set_train(False)
    missing, unused = ms.load_param_into_net(fresh, ms.load_checkpoint(str(tmp_path / "fused.ckpt")))
    assert not missing and not unused
    np.testing.assert_array_equal(fresh(x).asnumpy(), net.set_train(False)(x).asnumpy())


def test_fusing_a_compiled_network_replaces_its_graph(graph):
    net, x = randomise(create_model("repghostnet_050")), images((1, 3, 64, 64))
    net(x)
    net.reparameterize()
    net.classifier.bias.set_data(net.classifier.bias + 7)
    fused = net.blocks[0][0].ghost1.cheap_operation
    before = net(x)
    fused.bias.set_data(fused.bias + 5)
    assert np.abs((net(x) - before).asnumpy()).max() > 1e-3, "the graph of the training form is still running"


@pytest.mark.parametrize("name", ("ghostnetv2_050",) + SMALL)
def test_defect_squeezed_batch_of_one(name):
    """Public GhostNetV3 squeezes its logits: a batch of 1 comes out as (1000,)."""
    net = create_model(name).set_train(False)
    assert net(images((1, 3, 64, 64))).shape == (1, 1000)
    assert net.reparameterize()(images((1, 3, 64, 64))).shape == (1, 1000)


@pytest.mark.parametrize("name", ("ghostnetv2_050",) + SMALL)
def test_defect_dropout_left_out(name):
    """Public GhostNetV3 takes a dropout rate and never applies it."""
    net = create_model(name, drop_rate=0.9)
    for _, cell in net.cells_and_names():
        if isinstance(cell, nn.BatchNorm2d):
            cell.use_batch_statistics = False
    features = ops.abs(images((2, net.num_features, 3, 3)))
    train = [net.set_train(True).forward_head(features).asnumpy() for _ in range(2)]
    still = [net.set_train(False).forward_head(features).asnumpy() for _ in range(2)]
    assert np.abs(train[0] - train[1]).max() > 1e-6
    np.testing.assert_array_equal(still[0], still[1])
