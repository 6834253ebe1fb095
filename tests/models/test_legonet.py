"""LegoNet beyond the contract: sparse form, balance, and the end of the choice's training."""
import re
import shutil

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from ghost_ms import create_model, model_card
from ghost_ms.checkpoints.checkpoint import read_checkpoint
from ghost_ms.checkpoints.manager import states_in
from ghost_ms.config import (Config, DataConfig, ModelConfig, OptimizerConfig, RunConfig,
                             TrainConfig)
from ghost_ms.models import registry
from ghost_ms.models.backbones import legonet
from ghost_ms.models.backbones.legonet import LegoVgg
from ghost_ms.models.registry import ModelCard
from ghost_ms.training.fit import fit
from ghost_ms.weights.convert import load_torch_state
from tests import golden
from tests.same import assert_same_runs


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


def _small(**kwargs):
    """Three Lego layers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(legonet, "ROWS", ((4, 4), (8, 8)))
        return LegoVgg(**{"num_classes": 4, **kwargs})


def test_the_switch_changes_nothing_but_the_gradient_of_the_choice():
    ms.set_seed(2)
    plain, switched, x = _small(), _small(choice_epochs=2), _images(size=(16, 16))
    for name, parameter in plain.parameters_dict().items():
        switched.parameters_dict()[name].set_data(parameter.value())
    weights, names = switched.trainable_params(), [p.name for p in switched.trainable_params()]
    assert names == [p.name for p in plain.trainable_params()]

    def gradients(net, epoch):
        net.on_epoch(epoch, 4)
        found = ops.value_and_grad(lambda x: net(x).sum() + 0.1 * net.balance_loss(), None, net.trainable_params())(x)
        return [float(found[0].asnumpy()), *(gradient.asnumpy() for gradient in found[1])]

    expected = gradients(plain, 3)
    for epoch, trained in ((0, True), (1, True), (2, False), (3, False), (1, True)):
        actual = gradients(switched, epoch)
        assert actual[0] == expected[0] and len(actual) == 1 + len(weights)
        for name, one, other in zip(names, actual[1:], expected[1:]):
            if name.endswith("aux_combination") and not trained:
                assert not one.any() and other.any()
            else:
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("wrong", [-1, "ten", [3]])
def test_a_number_of_epochs_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="choice_epochs is .*, but it must be a number of epochs"):
        _small(choice_epochs=wrong)


def _recipe(folder, resume="off", **kwargs):
    """Three epochs of five steps; momentum and decay would go on moving the tables."""
    return Config(
        model=ModelConfig("small_lego", args={"choice_epochs": 1}, training={"balance_weight": 1e-3}),
        data=DataConfig("synthetic", batch_size=8, eval_batch_size=16, input_size=(16, 16), synthetic_size=40,
                        synthetic_classes=4, workers=1, crop_ratio=1.0),
        optimizer=OptimizerConfig("sgd", lr=0.05, weight_decay=5e-4, decay_norms_and_biases=True),
        train=TrainConfig(epochs=3, checkpoint_every=2, keep=9, resume=resume),
        run=RunConfig(dir=str(folder), device="CPU", **kwargs))


@pytest.mark.parametrize("mode", ["graph", pytest.param("pynative", marks=pytest.mark.slow)])
def test_the_choice_is_trained_until_its_epoch_and_a_resumed_run_agrees(mode, tmp_path, monkeypatch):
    monkeypatch.setitem(registry._CARDS, "small_lego", ModelCard(params=0, macs=0, paper="", name="small_lego"))
    monkeypatch.setitem(registry._CONSTRUCTORS, "small_lego", _small)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fit(_recipe(whole, mode=mode))
    steps = states_in(str(whole / "checkpoints"))
    assert list(steps) == [2, 4, 5, 7, 9, 10, 12, 14, 15]
    states = [read_checkpoint(path)[0] for path in steps.values()]
    tables = [name for name in states[0] if re.fullmatch(r"features\.\d+\.aux_combination", name)]
    assert len(tables) == 3


    def moved(name):
        values = [state[name].asnumpy() for state in states]
        return [not np.array_equal(one, other) for one, other in zip(values, values[1:])]

    assert all(moved(name) == [True, True] + [False] * 6 for name in tables)
    assert all(moved("features.3.lego")) and "choice_epochs" in (whole / "config.yaml").read_text()
    # From a state of the middle of the second epoch, where the choice stands still already.
    (broken / "checkpoints").mkdir(parents=True)
    shutil.copyfile(steps[7], broken / "checkpoints" / "step-00000007.ckpt")
    fit(_recipe(broken, "auto", mode=mode))
    assert_same_runs(whole, broken, ("last", "step-00000015"))


def test_freezing_leaves_out_the_choice_only():
    net = create_model("lego_vgg16")
    names = {w.name for w in net.trainable_params()}
    net.freeze_combination()
    gone = names - {w.name for w in net.trainable_params()}
    assert len(gone) == 14 and all(name.endswith("aux_combination") for name in gone)
