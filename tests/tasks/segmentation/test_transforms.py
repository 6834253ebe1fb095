"""Image and map go through one geometry."""
import numpy as np
import pytest
from PIL import Image

from ghost_ms.config import Config
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.loader import generator
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.tasks.segmentation.args import SegmentationArgs
from ghost_ms.tasks.segmentation.transforms import EvaluationTransforms, TrainingTransforms, Window

#: Columns and rows of a picture's large squares, and pixels of a side: far from their borders no filter reaches.
SQUARES, SIDE = (4, 3), 40


def _labels():
    return np.kron(np.arange(12, dtype=np.uint8).reshape(SQUARES[1], SQUARES[0]), np.ones((SIDE, SIDE), np.uint8))


def _data(labels):
    """Images whose brightness is 20 times the label."""
    image = np.repeat((20 * labels)[..., None], 3, 2)
    return Dataset([str(place) for place in range(12)], np.zeros(1, np.int32), 3, False, lambda sample: image,
                   target=lambda sample: labels)


def _spec(size, fit="letterbox"):
    return Preprocessing(size, 3, (0.98,) * 3, (0.25,) * 3, 1.0, "bilinear", True, fit)


def _agreement(pixels, labels):
    """Share of the pixels that count whose brightness tells their label, and whether the rest is the mean colour."""
    counts = labels != 255
    close = np.abs(pixels[..., 0].astype(int) - 20 * labels.astype(int)) <= 10
    return close[counts].mean(), (pixels[~counts] == 250).all()


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (200, 50)])
@pytest.mark.parametrize("scale", [[0.3, 0.6], [1.0, 1.0], [1.5, 3.0]])
def test_a_training_crop_shows_what_its_map_says(size, scale):
    dataset, shares, mirrored = _data(_labels()), [], 0
    transforms = TrainingTransforms(Config(), SegmentationArgs(scale, 1.0), dataset, _spec(size))
    for place in range(30):
        pixels, labels = transforms.sample(dataset.read(0), 0, generator(3, 0, place, 0))
        assert pixels.shape == (*size, 3) and labels.shape == size
        share, framed = _agreement(pixels, labels)
        shares.append(share)
        assert framed
        seen = labels[labels != 255]
        mirrored += seen[0] > seen[-1] if len(np.unique(seen)) > 1 and len(seen) == labels.size else 0
    # Between two squares the filter mixes; elsewhere all agree.
    assert min(shares) > 0.8 and np.mean(shares) > 0.9


def test_both_are_mirrored_together_and_half_of_the_time():
    labels = np.repeat(np.array([[0] * 32 + [5] * 32], np.uint8), 64, 0)
    transforms = TrainingTransforms(Config(), SegmentationArgs([1.0, 1.0], 1.0), _data(labels), _spec((64, 64)))
    first = []
    for place in range(60):
        pixels, found = transforms.sample(_data(labels).read(0), 0, generator(0, 0, place, 0))
        assert _agreement(pixels, found)[0] == 1
        first.append(found[0, 0])
    assert 15 < first.count(5) < 45


def test_a_sample_is_a_function_of_its_place():
    dataset = _data(_labels())
    config = Config()
    config.augment.color_jitter = 0.4
    transforms = TrainingTransforms(config, SegmentationArgs(), dataset, _spec((64, 64)))
    one, two, other = (transforms.sample(dataset.read(0), 0, generator(1, 2, place, 0)) for place in (5, 5, 6))
    assert all(np.array_equal(*pair) for pair in zip(one, two)) and not np.array_equal(one[0], other[0])


def test_crops_of_one_class_are_drawn_anew():
    labels = np.zeros((240, 240), np.uint8)
    labels[60:80, 60:80] = 3
    shares = {}
    for limit in (1.0, 0.75):
        transforms = TrainingTransforms(Config(), SegmentationArgs([6.0, 6.0], limit), _data(labels), _spec((240, 240)))
        counts = [np.mean(transforms.sample(_data(labels).read(0), 0, generator(0, 0, place, 0))[1] == 0) <= 0.75
                  for place in range(40)]
        shares[limit] = np.mean(counts)
    assert shares[0.75] > 2 * shares[1.0]


def test_a_window_is_what_resizing_and_cropping_the_whole_gives():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
    whole = image.resize((240, 180), Image.Resampling.BILINEAR)
    window = Window((120, 90), (240, 180), (30, -20), (100, 150))
    shown = np.asarray(window.show(image, Image.Resampling.BILINEAR, (9, 9, 9))).astype(int)
    expected = np.full((150, 100, 3), 9)
    expected[20:] = np.asarray(whole)[:130, 30:130]
    assert np.abs(shown - expected).max() <= 1


@pytest.mark.parametrize("size", [(60, 80), (100, 100), (30, 90)])
def test_an_evaluation_sees_the_whole_image_in_a_frame(size):
    labels = _labels()
    transforms = EvaluationTransforms(_data(labels), _spec(size))
    pixels, found = transforms.sample(Image.fromarray(_data(labels).read(0)), 0, None)
    share, framed = _agreement(pixels, found)
    assert share > 0.85 and set(np.unique(found)) - {255} == set(range(12))
    ratio = min(size[1] / 160, size[0] / 120)
    assert (found != 255).sum() == pytest.approx(160 * 120 * ratio ** 2, rel=0.03)
    assert framed or (found == 255).sum() == 0


def test_a_map_of_another_size_is_refused_with_the_images_name():
    dataset = _data(_labels())
    dataset.target = lambda sample: np.zeros((5, 7), np.uint8)
    transforms = EvaluationTransforms(dataset, _spec((32, 32)))
    with pytest.raises(ValueError, match="the map of image 0 is 7x5 pixels, and the image 160x120"):
        transforms.sample(Image.fromarray(dataset.read(0)), 0, None)


@pytest.mark.parametrize("key, value", [("auto_augment", "original"), ("random_erasing", 0.2), ("crop_padding", 2),
                                        ("scale", (0.2, 1.0)), ("interpolation", "random"), ("ratio", (1.0, 1.0))])
def test_augmentations_for_classifiers_are_refused(key, value):
    config = Config()
    setattr(config.augment, key, value)
    with pytest.raises(ValueError, match=f"augment.{key} is for classification"):
        TrainingTransforms(config, SegmentationArgs(), _data(_labels()), _spec((32, 32)))


@pytest.mark.parametrize("values, words", [
    ({"sizes": [1, 2]}, "segmentation takes scale, max_class_share"), ({"scale": [2.0, 1.0]}, "two rising numbers"),
    ({"scale": 3}, "two rising numbers"), ({"scale": [0.001, 1]}, "from 0.05 to 20"),
    ({"max_class_share": 0}, "above 0"), ({"aux_weight": -1}, "from 0 to 100"), ({"flip": "yes"}, "true or false"),
    ({"scales": [2.0]}, "but with slide true"), ({"scales": [], "slide": True}, "a list of numbers")])
def test_arguments_that_cannot_be_are_refused(values, words):
    with pytest.raises(ValueError, match=words):
        SegmentationArgs.of(values)
