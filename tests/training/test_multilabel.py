"""Mean average precision, thresholds and F1 of sets of labels, against figures worked out by hand."""
import numpy as np
import pytest

from ghost_ms.tasks.classification.multilabel import (average_precision, best_threshold, binary_cross_entropy,
                                                      probabilities, score)


@pytest.mark.parametrize("labels, scores, expected", [
    # The example of scikit-learn's average_precision_score.
    ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.5 * 1 + 0.5 * 2 / 3),
    ([1, 1, 0, 0], [4, 3, 2, 1], 1.0), ([0, 0, 1, 1], [4, 3, 2, 1], 0.5 * 1 / 3 + 0.5 * 2 / 4),
    # Equal scores are one threshold.
    ([1, 0, 1], [0.5, 0.5, 0.2], 0.5 * 1 / 2 + 0.5 * 2 / 3), ([0, 1, 1, 0], [1, 1, 1, 1], 0.5),
    ([1], [0.3], 1.0), ([0, 0, 0, 0, 1], [5, 4, 3, 2, -1], 0.2)])
def test_average_precision(labels, scores, expected):
    found = average_precision(np.array(labels, np.uint8), np.array(scores, np.float64))
    assert found == pytest.approx(expected, abs=1e-12)


def test_average_precision_is_the_sum_that_scikit_learn_states():
    """Sum over all thresholds of (R_n - R_(n-1)) P_n, threshold by threshold."""
    draw = np.random.default_rng(0)
    for _ in range(20):
        labels, scores = draw.integers(0, 2, 30), draw.integers(0, 12, 30) / 12
        labels[0] = 1
        before = total = 0.0
        for threshold in sorted(set(scores), reverse=True):
            said = scores >= threshold
            recall, precision = (said & (labels == 1)).sum() / labels.sum(), labels[said].mean()
            total, before = total + (recall - before) * precision, recall
        assert average_precision(labels, scores) == pytest.approx(total, abs=1e-12)
    assert np.isnan(average_precision(np.zeros(3), np.arange(3.0)))
    assert np.isnan(average_precision(np.zeros(0), np.zeros(0)))


@pytest.mark.parametrize("labels, scores, threshold", [
    ([1, 1, 0, 0], [0.9, 0.7, 0.4, 0.1], 0.55), ([1, 0, 1, 0], [0.9, 0.7, 0.6, 0.1], 0.35),
    # F1 is 2/3 with one and with all four: the higher.
    ([1, 0, 0, 1], [0.9, 0.8, 0.7, 0.6], 0.85), ([1, 1], [0.2, 0.6], 0.1), ([0, 0], [0.2, 0.6], 0.5),
    ([1, 0], [0.5, 0.5], 0.25)])
def test_the_threshold_of_the_best_f1(labels, scores, threshold):
    assert best_threshold(np.array(labels), np.array(scores)) == pytest.approx(threshold)


def test_scores_of_an_evaluation():
    """Three classes, one of which has no image; and an output beyond them."""
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], np.uint8)
    logits = np.array([[2, -3, -1, 9], [1, -1, 0, 9], [0.5, 3, -1, 9], [1.5, 1, -2, 9]], np.float32)
    found = score(labels, logits)
    np.testing.assert_allclose(found.average_precision, [0.5 * 1 + 0.5 * 2 / 3, 0.5 * 1 + 0.5 * 2 / 3, np.nan])
    assert found.mean_average_precision == pytest.approx(5 / 6)
    # Of class 0 the best is three yeses: two hits of three, F1 4/5.
    assert found.threshold[0] == pytest.approx((probabilities(1.0) + probabilities(0.5)) / 2)
    np.testing.assert_allclose([found.precision[0], found.recall[0], found.f1[0]], [2 / 3, 1, 0.8])
    assert found.threshold[2] == 0.5 and found.f1[2] == 0 and found.images.tolist() == [2, 2, 0]
    assert found.as_percent() == pytest.approx({"map": 100 * 5 / 6, "f1": 80.0})
    given = score(labels, logits, [0.5, 0.9, 0.1, 0.3])
    assert given.recall.tolist() == [1, 0.5, 0] and given.precision.tolist() == [0.5, 1, 0]
    assert given.average_precision[0] == found.average_precision[0]


def test_outputs_that_are_no_numbers():
    logits = np.zeros((3, 2))
    logits[1, 0] = np.nan
    with pytest.raises(ValueError, match="the network's outputs for 1 of 3 images are not finite"):
        score(np.ones((3, 2)), logits)


def test_the_loss_and_the_probabilities_do_not_overflow():
    assert probabilities(np.array([-1000.0, 0.0, 1000.0])).tolist() == [0, 0.5, 1]
    assert binary_cross_entropy(np.array([[1, 0]]), np.array([[-1000.0, 0.0]])) == pytest.approx((1000 + np.log(2)) / 2)
