"""When a file counts as the network: exactly, within the tolerance, or as far as the network repeats itself."""
import numpy as np
import pytest

from ghost_ms.runtime.compare import MARGIN, NUDGES, compare, sensitivity

IMAGES = np.array([[1.0, 2.0]], np.float32)


def _smooth(images):
    return 3 * images


def _chooser(images):
    """A choice between two equals that the last bit of the input decides, worth a tenth of the output."""
    return np.array([[10.0, 10.0 + (images[0, 0] > 1)]])


def test_a_smooth_network_has_to_be_met():
    assert sensitivity(_smooth, IMAGES) == pytest.approx(NUDGES[-1], rel=0.5)
    same = compare(_smooth(IMAGES) + 1e-4, _smooth(IMAGES), _smooth, IMAGES)
    assert same.same and same.moved == 0 and same.relative == pytest.approx(1e-4 / 6, rel=0.01)
    other = compare(_smooth(IMAGES) + 1e-2, _smooth(IMAGES), _smooth, IMAGES)
    assert not other.same and other.difference == pytest.approx(1e-2, rel=0.01) and "chooses" not in str(other)


def test_a_network_that_chooses_is_met_as_far_as_it_repeats_itself():
    moved = sensitivity(_chooser, IMAGES)
    assert moved == pytest.approx(0.1)
    near, far = (compare(np.array([[10.0, 10.0 + step]]), _chooser(IMAGES), _chooser, IMAGES) for step in (2.0, 4.0))
    assert near.same and 0.15 < near.relative < MARGIN * moved and "chooses between equals" in str(near)
    assert not far.same and far.relative > MARGIN * moved


def test_no_number_is_never_the_same():
    for run in (_smooth, _chooser):
        assert not compare(np.full((1, 2), np.nan), run(IMAGES), run, IMAGES).same
    assert not compare(_smooth(IMAGES), np.full((1, 2), np.nan), lambda images: np.full((1, 2), np.nan), IMAGES).same


def test_the_network_is_asked_only_where_it_matters():
    asked = []
    compare(_smooth(IMAGES), _smooth(IMAGES), asked.append, IMAGES)
    assert not asked
