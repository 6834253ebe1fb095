"""mIoU and the loss against the reference's numbers; sums over processes to the bit."""
import json
import pathlib

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, value_and_grad

from ghost_ms.config import LossConfig
from ghost_ms.tasks.base import NotFinite
from ghost_ms.tasks.segmentation import measures
from ghost_ms.tasks.segmentation.loss import PixelCriterion, PixelCrossEntropy, create_loss

GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "dense_functions"


def _one_hot(labels, classes):
    return np.eye(classes, dtype=np.float32)[labels].transpose(0, 3, 1, 2)


def test_the_confusion_matrix_and_what_follows_are_the_references():
    arrays, facts = np.load(GOLDEN / "confusion.npz"), json.loads((GOLDEN / "confusion.json").read_text())
    matrix = measures.confusion(arrays["guess"], arrays["truth"], facts["classes"])
    np.testing.assert_array_equal(matrix[:, :-1], arrays["matrix"])
    scores = measures.Scores(matrix)
    np.testing.assert_allclose(scores.iou, arrays["iou"], rtol=1e-12)
    assert scores.accuracy == pytest.approx(100 * facts["pixel_accuracy"], rel=1e-12)
    assert scores.miou == pytest.approx(100 * facts["mean_iou_of_present"], rel=1e-12)
    assert scores.mean_accuracy == pytest.approx(100 * facts["mean_accuracy_of_present"], rel=1e-12)


def test_uneven_shards_give_what_one_process_gives_to_the_bit():
    arrays = np.load(GOLDEN / "confusion.npz")
    logits, truth = _one_hot(arrays["guess"], 6), arrays["truth"].astype(np.uint8)
    whole = measures.MapEvaluator(6)
    whole.update([logits], [truth])
    parts = [measures.MapEvaluator(6), measures.MapEvaluator(6)]
    # The rows beyond the targets' fill a batch up and do not count.
    parts[0].update([np.concatenate([logits[:1], logits[:2]])], [truth[:1]])
    parts[1].update([logits[1:]], [truth[1:]])
    sums = []
    for part in parts:
        part.compute(lambda own: sums.append(own) or own)
    merged = parts[0].compute(lambda own: np.sum(sums, axis=0).tolist())
    assert merged == whole.compute() and merged["images"] == 3


def test_predictions_beyond_the_classes_are_wrong_ones():
    scores = measures.Scores(measures.confusion(np.array([0, 7, 1]), np.array([0, 0, 1]), 2))
    assert scores.iou.tolist() == [0.5, 1.0] and scores.accuracy == pytest.approx(200 / 3)


def test_outputs_that_are_no_numbers_are_named():
    evaluator = measures.MapEvaluator(2, "picture {}".format)
    logits = np.zeros((3, 2, 4, 4), np.float32)
    logits[1, 0, 2, 2] = np.nan
    evaluator.update([logits], [np.zeros((3, 4, 4), np.uint8)])
    with pytest.raises(NotFinite, match="1 of 3 test images are not finite .'picture 1'"):
        evaluator.compute()


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE])
@pytest.mark.parametrize("name, weights", [("seg_ce", None), ("seg_ce_weighted", [0.5, 1, 2, 1, 0.1])])
def test_the_loss_and_its_gradient_are_the_references(name, weights, mode):
    arrays = np.load(GOLDEN / "pixel_losses.npz")
    ms.set_context(mode=mode)
    loss = PixelCrossEntropy(None if weights is None else np.array(weights, np.float32))
    labels = Tensor(arrays["seg_labels"].astype(np.int32))
    value, gradient = value_and_grad(loss)(Tensor(arrays["seg_logits"].astype(np.float32)), labels)
    np.testing.assert_allclose(value.asnumpy(), arrays[f"{name}_value"], rtol=1e-6)
    np.testing.assert_allclose(gradient.asnumpy(), arrays[f"{name}_grad0"], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("weights", [None, np.array([1, 2, 3], np.float32)])
def test_a_batch_in_which_nothing_counts_costs_nothing(weights):
    logits = Tensor(np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32))
    labels = Tensor(np.full((2, 4, 4), 255, np.int32))
    value, gradient = value_and_grad(PixelCrossEntropy(weights, 0.1))(logits, labels)
    assert float(value.asnumpy()) == 0 and not gradient.asnumpy().any()
    loss, (accuracy,) = PixelCriterion(PixelCrossEntropy(weights), 0.5)((logits, logits), labels)
    assert float(loss.asnumpy()) == float(accuracy.asnumpy()) == 0


def test_label_smoothing_spreads_a_share_over_all_classes():
    draw = np.random.default_rng(1)
    logits, labels = draw.standard_normal((1, 3, 2, 2)).astype(np.float32), np.array([[[0, 1], [2, 255]]], np.int32)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    counted = [(logs[0, :, row, column], labels[0, row, column]) for row in (0, 1) for column in (0, 1)][:3]
    expected = np.mean([-0.9 * each[label] - 0.1 * each.mean() for each, label in counted])
    np.testing.assert_allclose(PixelCrossEntropy(None, 0.1)(Tensor(logits), Tensor(labels)).asnumpy(), expected,
                               rtol=1e-5)


def test_the_auxiliary_loss_is_weighted_and_accuracy_is_the_main_ones():
    logits = _one_hot(np.array([[[0, 1], [1, 1]]]), 2) * 9
    labels = np.array([[[0, 1], [0, 255]]], np.int32)
    loss = PixelCrossEntropy()
    main, aux = (float(loss(Tensor(each), Tensor(labels)).asnumpy()) for each in (logits, -logits))
    total, (accuracy,) = PixelCriterion(loss, 0.25)((Tensor(logits), Tensor(-logits)), Tensor(labels))
    assert float(total.asnumpy()) == pytest.approx(main + 0.25 * aux, rel=1e-6)
    assert float(accuracy.asnumpy()) == pytest.approx(2 / 3)


@pytest.mark.parametrize("keys, words", [
    ({"name": "binary_cross_entropy"}, "segmentation learns by cross_entropy"),
    ({"class_weights": "balanced"}, "give a list of weights"),
    ({"class_weights": [1.0]}, "has 1 values, and the data 2 classes"),
    ({"class_weights": {"cat": 2.0, "cow": 1.0}}, "names classes of other data")])
def test_losses_that_cannot_be_are_refused(keys, words):
    with pytest.raises(ValueError, match=words):
        create_loss(LossConfig(**keys), ["background", "cat"])


def test_class_weights_go_by_name():
    loss = create_loss(LossConfig(class_weights={"cat": 2.0}), ["background", "cat"])
    assert loss.weights.asnumpy().tolist() == [1.0, 2.0]
