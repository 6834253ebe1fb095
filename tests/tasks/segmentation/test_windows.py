"""Sliding windows and several scales."""
import numpy as np
import pytest
from PIL import Image

from ghost_ms.data.transforms import Preprocessing, normalize
from ghost_ms.tasks.segmentation import windows


def _spec(size):
    return Preprocessing(size, 3, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), 1.0, "bilinear", True, "letterbox")


@pytest.mark.parametrize("whole, window", [(64, 64), (65, 64), (64, 1), (107, 64), (106, 64), (128, 64), (300, 64)])
def test_windows_cover_the_whole_and_overlap(whole, window):
    found = windows.starts(whole, window)
    covered = np.zeros(whole, int)
    for start in found:
        assert 0 <= start <= whole - window
        covered[start:start + window] += 1
    assert covered.min() >= 1 and len(set(found)) == len(found)
    if len(found) > 1:
        assert max(np.diff(found)) <= max(1, window * 2 // 3) and found[-1] == whole - window


def _by_pixel(images):
    """Logits that depend on a pixel alone: any window says the same of it."""
    images = images.transpose(0, 3, 1, 2).astype(np.float32) / 255 if images.dtype == np.uint8 else images
    return np.stack([images[:, 0], images[:, 1] * 2 - images[:, 2]], 1)


@pytest.mark.parametrize("count, kind", [(1, np.float32), (3, np.float32), (4, np.uint8)])
def test_a_network_of_pixels_gives_what_it_gives_of_the_whole(count, kind):
    draw, spec = np.random.default_rng(0), _spec((24, 32))
    pictures = [Image.fromarray(draw.integers(0, 256, (*size, 3), np.uint8)) for size in ((24, 70), (50, 24), (24, 32))]
    calls = []

    def run(images):
        calls.append((len(images), images.dtype))
        return _by_pixel(images)

    example = np.zeros((count, 24, 32, 3) if kind == np.uint8 else (count, 3, 24, 32), kind)
    found = list(windows.predict(run, example, spec, [1.0], iter(pictures)))
    assert set(calls) == {(count, np.dtype(kind))}
    for picture, labels in zip(pictures, found):
        pixels = np.asarray(picture)
        whole = _by_pixel(pixels[None] if kind == np.uint8 else normalize(pixels, spec.mean, spec.std)[None])[0]
        assert np.array_equal(labels, whole.argmax(0))


def test_the_logits_of_all_scales_are_added():
    """The first class wins at one scale, the second by more at two others."""
    spec, sizes = _spec((16, 16)), []
    image = Image.fromarray(np.full((16, 16, 3), 128, np.uint8))

    def run(images):
        sizes.append(len(images))
        strength = 1.0 if len(sizes) == 1 else -0.8
        return np.stack([np.full((len(images), 16, 16), strength, np.float32), np.zeros((len(images), 16, 16),
                                                                                      np.float32)], 1)

    example = np.zeros((1, 3, 16, 16), np.float32)
    assert not next(windows.predict(run, example, spec, [1.0], [image])).any()
    sizes.clear()
    assert next(windows.predict(run, example, spec, [1.0, 0.5, 0.75], [image])).all()
    assert len(sizes) == 3
