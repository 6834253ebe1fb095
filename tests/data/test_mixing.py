"""Erasing, mixup and cutmix on arrays whose result is known."""
import numpy as np
import pytest

from ghost_ms.data.mixing import Mixing, RandomErasing, normalize_batch, soft_targets
from ghost_ms.data.transforms import normalize


def test_normalising_a_batch_is_normalising_its_images():
    images = np.random.default_rng(0).integers(0, 256, (3, 7, 5, 3), dtype=np.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    np.testing.assert_array_equal(normalize_batch(images, mean, std), [normalize(i, mean, std) for i in images])


def test_soft_targets_smooth_as_timm_does():
    np.testing.assert_allclose(soft_targets(np.array([2, 0]), 4, 0.1),
                               [[0.025, 0.025, 0.925, 0.025], [0.925, 0.025, 0.025, 0.025]], atol=1e-7)
    np.testing.assert_array_equal(soft_targets(np.array([1]), 3), [[0, 1, 0]])


def _batch():
    """Image k is k everywhere."""
    return np.broadcast_to(np.arange(4, dtype=np.float32)[:, None, None, None], (4, 3, 16, 12)).copy()


@pytest.mark.parametrize("seed", range(4))
def test_mixup_mixes_with_the_reversed_batch(seed):
    images = _batch()
    targets = Mixing(0.8, 0.0, 1.0, 0.5, 4, 0.0)(images, np.arange(4), np.random.default_rng(seed))
    share = targets[0, 0]
    np.testing.assert_allclose(targets, share * np.eye(4) + (1 - share) * np.eye(4)[::-1], atol=1e-6)
    expected = share * np.arange(4) + (1 - share) * np.arange(4)[::-1]
    np.testing.assert_allclose(images, np.broadcast_to(expected[:, None, None, None], images.shape), atol=1e-5)
    draw = np.random.default_rng(seed)
    draw.random()
    assert share == pytest.approx(draw.beta(0.8, 0.8), abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_cutmix_pastes_a_rectangle_and_weighs_the_targets_by_it(seed):
    images = _batch()
    targets = Mixing(0.0, 1.0, 1.0, 0.5, 4, 0.0)(images, np.arange(4), np.random.default_rng(seed))
    pasted = images[0, 0] == 3
    rows, columns = np.flatnonzero(pasted.any(1)), np.flatnonzero(pasted.any(0))
    assert pasted.sum() == len(rows) * len(columns), "a rectangle"
    np.testing.assert_array_equal(images, np.where(pasted, _batch()[::-1], _batch()))
    share = 1 - pasted.mean()
    np.testing.assert_allclose(targets[0], [share, 0, 0, 1 - share], atol=1e-6)
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)


def test_probability_and_switching():
    def kinds(**options):
        counts = {"none": 0, "mixup": 0, "cutmix": 0}
        mixing = Mixing(**{"mixup": 0.8, "cutmix": 1.0, "probability": 1.0, "switch_probability": 0.5, "classes": 4,
                           "smoothing": 0.0, **options})
        for seed in range(200):
            images = _batch()
            mixing(images, np.arange(4), np.random.default_rng(seed))
            whole = set(np.unique(images).tolist()) <= {0, 1, 2, 3}
            counts["none" if np.array_equal(images, _batch()) else "cutmix" if whole else "mixup"] += 1
        return counts

    both = kinds()
    assert 80 <= both["mixup"] <= 120 and both["none"] < 12, "an empty rectangle changes nothing"
    assert kinds(switch_probability=1.0)["mixup"] == 0 == kinds(switch_probability=0.0)["cutmix"]
    assert 70 <= kinds(probability=0.6, switch_probability=0.0)["none"] <= 95


def test_smoothing_stays_in_unmixed_targets():
    images = _batch()
    targets = Mixing(0.8, 0.0, 0.0, 0.5, 4, 0.2)(images, np.arange(4), np.random.default_rng(0))
    np.testing.assert_allclose(targets, 0.05 + 0.8 * np.eye(4), atol=1e-6)
    np.testing.assert_array_equal(images, _batch())


@pytest.mark.parametrize("mode", ["pixel", "const"])
def test_random_erasing(mode):
    areas, aspects, changed, values = [], [], 0, []
    for seed in range(300):
        image = np.full((3, 60, 80), 7, np.float32)
        RandomErasing(0.25 if seed < 200 else 1.0, mode)(image, np.random.default_rng(seed))
        erased = image[0] != 7
        if seed < 200:
            changed += erased.any()
            continue
        rows, columns = np.flatnonzero(erased.any(1)), np.flatnonzero(erased.any(0))
        assert erased.sum() == len(rows) * len(columns) and (image != 7).all(0).sum() == erased.sum()
        areas.append(erased.mean())
        aspects.append(len(rows) / len(columns))
        values.append(image[:, erased].ravel())
    assert 30 <= changed <= 70
    assert 0.015 < min(areas) < 0.06 and 0.28 < max(areas) < 0.35
    assert 0.25 < min(aspects) < 0.5 and 2 < max(aspects) < 4
    values = np.concatenate(values)
    if mode == "const":
        assert not values.any()
    else:
        assert abs(values.mean()) < 0.01 and abs(values.std() - 1) < 0.01
