"""Outputs become probabilities and classes in one place, and NaN becomes neither."""
import numpy as np
import pytest

from ghost_ms.core import scores


def test_softmax_in_double_precision():
    logits = np.array([[1, 2, 3], [1e30, 1e30, -1e30]], np.float32)
    found = scores.probabilities(logits)
    np.testing.assert_allclose(found[0], np.exp([-2, -1, 0]) / np.exp([-2, -1, 0]).sum(), rtol=1e-15)
    assert found[1].tolist() == [0.5, 0.5, 0] and found.dtype == np.float64
    np.testing.assert_allclose(np.exp(scores.log_probabilities(logits)), found, rtol=1e-12)
    assert scores.best(logits).tolist() == [2, 0]
    assert scores.order(np.array([1, 3, 3, 2])).tolist() == [1, 2, 3, 0]


def test_what_is_probabilities_already_is_only_scaled():
    assert scores.probabilities(np.array([1, 3, 0], np.float32), softmax=False).tolist() == [0.25, 0.75, 0]
    for wrong in ([-1, 2], [0, 0]):
        with pytest.raises(ValueError, match="the file gives numbers that are no probabilities"):
            scores.probabilities(np.array(wrong, np.float32), softmax=False, whose="the file")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("take", [scores.probabilities, scores.log_probabilities, scores.best, scores.require_finite])
def test_an_output_that_is_no_number_is_an_error(take, value):
    outputs = np.zeros((2, 3), np.float32)
    outputs[1, 2] = value
    with pytest.raises(ValueError, match=r"^the file gives outputs that are no finite numbers \(1 of 6\)"):
        take(outputs, whose="the file")


def test_names():
    assert [scores.name_of(["cat", "dog"], index) for index in range(3)] == ["cat", "dog", "class 2"]
