"""LegoNet beyond the contract: sparse form, balance, and the end of the choice's training."""
import mindspore as ms
import numpy as np
from mindspore import ops

from ghost_ms import create_model, model_card
from ghost_ms.weights.convert import load_torch_state
from tests import golden


def _images(batch=2, size=(32, 48)):
    return ms.Tensor(np.random.default_rng(0).standard_normal((batch, 3) + size).astype(np.float32))


def _trained():
    net = create_model("lego_vgg16")
    load_torch_state(net, golden.load("lego_vgg16")[2])
    return net.set_train(False)


def test_sparse_form_gives_the_same_outputs_with_the_parameters_of_the_card(tmp_path):
    net = _trained()
    expected = net(_images()).asnumpy()
    assert net.reparameterize() is net
    actual = net(_images()).asnumpy()
    np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())
    parameters = dict(net.parameters_and_names())
    assert sum(p.size for n, p in parameters.items() if "moving_" not in n) == model_card("lego_vgg16").deploy_params
    assert all(p.name == n for n, p in parameters.items())

    path = str(tmp_path / "sparse.ckpt")
    ms.save_checkpoint(net, path)
    fresh = create_model("lego_vgg16").reparameterize().set_train(False)
    assert np.abs(fresh(_images()).asnumpy() - expected).max() > 1e-2 * np.abs(expected).max()
    assert ms.load_param_into_net(fresh, ms.load_checkpoint(path), strict_load=True) == ([], [])
    np.testing.assert_array_equal(fresh(_images()).asnumpy(), actual)


def test_sparse_form_can_be_fine_tuned():
    net = create_model("lego_vgg16").reparameterize().set_train(True)
    weights = net.trainable_params()
    assert not any(w.name.endswith("index") for w in weights)

    def loss(images, labels):
        return ops.cross_entropy(net(images), labels)

    gradients = ops.value_and_grad(loss, None, weights)(_images(3), ms.Tensor([0, 1, 2], ms.int32))[1]
    assert all(np.any(g.asnumpy()) for g in gradients)


def test_balance_loss_is_the_sum_over_the_layers():
    net = _trained()
    table = net.features[3].aux_combination
    before = float(net.balance_loss().asnumpy())
    skewed = table.asnumpy().copy()
    old = float(net.features[3].balance_loss().asnumpy())
    skewed[:, :, 0] = 9
    table.set_data(ms.Tensor(skewed))
    # Every one of the 128 uses falls on filter 0 of 32, each of which should have 4.
    new = 0.5 * (124 ** 2 + 31 * 4 ** 2)
    np.testing.assert_allclose(float(net.balance_loss().asnumpy()), before - old + new, rtol=1e-6)


def test_freezing_leaves_out_the_choice_only():
    net = create_model("lego_vgg16")
    names = {w.name for w in net.trainable_params()}
    net.freeze_combination()
    gone = names - {w.name for w in net.trainable_params()}
    assert len(gone) == 14 and all(name.endswith("aux_combination") for name in gone)
