"""Weights of classes: what they come to, and the losses that they weigh, against figures worked out in NumPy."""
import mindspore as ms
import numpy as np
import pytest

from ghost_ms import config as recipes
from ghost_ms.config import LossConfig
from ghost_ms.data.datasets import Dataset
from ghost_ms.tasks.classification.class_weights import class_weights
from ghost_ms.tasks.classification.loss import create_loss

LOGITS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32) * 3
LABELS = np.array([0, 2, 2, 1, 0], np.int32)
SHARES = np.random.default_rng(1).dirichlet(np.ones(3), 5).astype(np.float32)
WEIGHTS = np.array([0.5, 4.0, 1.5], np.float32)


def _source(labels, classes=("ant", "bee", "cat")):
    return Dataset(list(classes), np.asarray(labels), 1, False, lambda sample: None)


def _loss(labels, weights=WEIGHTS, **keys):
    return float(create_loss(LossConfig(**keys), weights)(ms.Tensor(LOGITS), ms.Tensor(labels)).asnumpy())


def _logs():
    shifted = LOGITS.astype(np.float64) - LOGITS.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


@pytest.mark.parametrize("given, weights", [
    (None, None), ("balanced", [12 / (3 * 6), 12 / (3 * 4), 12 / (3 * 2), 1]), ([2, 3, 0.5], [2, 3, 0.5, 1]),
    ({"bee": 7}, [1, 7, 1, 1]), ({"Cat": 7.0, "ant": 2.0}, [2, 1, 7, 1])])
def test_what_the_recipe_asks_for(given, weights):
    """Of four outputs, one more than there are classes."""
    config = LossConfig(class_weights=given)
    config.validate()
    found = class_weights(config, _source(np.repeat([0, 1, 2], [6, 4, 2])), 4)
    if weights is None:
        assert found is None
    else:
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, weights, rtol=1e-6)


def test_balanced_where_a_class_is_absent_or_images_have_several():
    assert class_weights(LossConfig(class_weights="balanced"), _source([0, 0, 0, 2]), 3).tolist() == \
        pytest.approx([4 / (2 * 3), 1, 4 / (2 * 1)])
    hot = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]], np.uint8)
    assert class_weights(LossConfig(class_weights="balanced"), _source(hot), 3).tolist() == pytest.approx([4 / 6, 2, 1])


@pytest.mark.parametrize("given, words", [
    ([1.0, 2.0], "has 2 values, and the data 3 classes"), ({"dog": 2.0}, "names classes of other data: .*'dog', wh")])
def test_weights_of_other_data(given, words):
    with pytest.raises(ValueError, match=words):
        class_weights(LossConfig(class_weights=given), _source([0, 1, 2]), 3)


@pytest.mark.parametrize("given", ["balance", [], [1, 0], [1, -2], [float("nan")], {"a": 0}, {"a": float("inf")}])
def test_weights_that_cannot_be(given):
    with pytest.raises(ValueError, match="loss.class_weights is"):
        LossConfig(class_weights=given).validate()


def test_the_recipe_takes_all_three_forms(tmp_path):
    for text, value in (("balanced", "balanced"), ("[1, 2.5]", [1, 2.5]), ("{cat: 2, b: 0.5}", {"cat": 2, "b": 0.5})):
        path = tmp_path / "recipe.yaml"
        path.write_text(f"loss: {{class_weights: {text}}}\ndata: {{classes: [a, b], sampler: balanced}}")
        recipe = recipes.load(str(path))
        recipe.save(str(tmp_path / "again.yaml"))
        again = recipes.load(str(tmp_path / "again.yaml"))
        words = [f"--loss.class_weights={text}", "--data.classes", "[a, b]"]
        typed, _ = recipes.parse(recipes.build_parser("x", ""), words)
        assert [r.loss.class_weights for r in (recipe, again, typed)] == [value] * 3
        assert recipe.data.classes == again.data.classes == typed.data.classes == ["a", "b"]
        assert again.data.sampler == "balanced"


def test_cross_entropy_is_the_weighted_mean():
    """As torch.nn.CrossEntropyLoss(weight=...): sum of w l over sum of w."""
    losses, weights = -_logs()[np.arange(5), LABELS], WEIGHTS[LABELS]
    assert _loss(LABELS) == pytest.approx((weights * losses).sum() / weights.sum(), rel=1e-5)
    assert _loss(LABELS, np.full(3, 7, np.float32)) == pytest.approx(_loss(LABELS, None), rel=1e-5)


def test_label_smoothing_as_pytorch_weighs_it():
    losses, weights = -_logs()[np.arange(5), LABELS], WEIGHTS[LABELS]
    smooth = (-_logs() * WEIGHTS).sum() / weights.sum()
    expected = 0.8 * (weights * losses).sum() / weights.sum() + 0.2 / 3 * smooth
    assert _loss(LABELS, label_smoothing=0.2) == pytest.approx(expected, rel=1e-5)
    assert _loss(LABELS, np.ones(3, np.float32), label_smoothing=0.2) == pytest.approx(
        _loss(LABELS, None, label_smoothing=0.2), rel=1e-5)


def test_shares_are_weighted_class_by_class():
    """Mixed images: a share of 1 gives what the label gives."""
    weighted = SHARES * WEIGHTS
    assert _loss(SHARES) == pytest.approx((weighted * -_logs()).sum() / weighted.sum(), rel=1e-5)
    assert _loss(np.eye(3, dtype=np.float32)[LABELS]) == pytest.approx(_loss(LABELS), rel=1e-6)
    assert _loss(SHARES, np.ones(3, np.float32)) == pytest.approx(_loss(SHARES, None), rel=1e-5)


@pytest.mark.parametrize("labels", [LABELS, SHARES], ids=["labels", "shares"])
@pytest.mark.parametrize("sum_classes", [False, True])
def test_binary_cross_entropy_weighs_its_yes(labels, sum_classes):
    """As torch.nn.BCEWithLogitsLoss(pos_weight=...)."""
    targets = np.eye(3)[labels] if labels.ndim == 1 else labels.astype(np.float64)
    shares = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    losses = -(WEIGHTS * targets * np.log(shares) + (1 - targets) * np.log(1 - shares))
    keys = dict(name="binary_cross_entropy", sum_classes=sum_classes)
    assert _loss(labels, **keys) == pytest.approx(losses.sum(1).mean() if sum_classes else losses.mean(), rel=1e-5)
    assert _loss(labels, np.ones(3, np.float32), **keys) == pytest.approx(_loss(labels, None, **keys), rel=1e-5)


def test_large_logits_stay_finite():
    logits, labels = ms.Tensor([[200.0, -200.0, 0.0]]), ms.Tensor([1], ms.int32)
    for name, expected in (("cross_entropy", 400), ("binary_cross_entropy", (200 + 4 * 200 + np.log(2)) / 3)):
        loss = create_loss(LossConfig(name), WEIGHTS)(logits, labels)
        assert float(loss.asnumpy()) == pytest.approx(expected, rel=1e-5)
