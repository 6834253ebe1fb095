"""Preprocessing equals what the published evaluations do (Pillow resize, centre crop, normalise)."""
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from ghost_ms.config import AugmentConfig, DataConfig
from ghost_ms.data import decode as decoding
from ghost_ms.data.transforms import (Preprocessing, TrainingTransform, color_jitter, crop_box, normalize,
                                      preprocessing_of)
from ghost_ms.models import model_card


def _picture(width, height, mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, len(mode)), dtype=np.uint8)
    return Image.fromarray(pixels[:, :, 0] if mode == "L" else pixels)


def _spec(size, **kwargs):
    return Preprocessing(**{"input_size": size, "channels": 3, "mean": (0.0,) * 3, "std": (1.0,) * 3,
                            "crop_ratio": 0.875, "interpolation": "bilinear", **kwargs})


@pytest.mark.parametrize("width,height", [(500, 375), (375, 500), (256, 256), (300, 1000)])
def test_short_side_then_centre(width, height):
    picture = _picture(width, height)
    short = min(width, height)
    size = (256 * width // short, 256 * height // short)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    expected = picture.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + 224, top + 224))
    np.testing.assert_allclose(_spec((224, 224))(picture), normalize(np.asarray(expected), [0] * 3, [1] * 3))


def test_non_square_input_is_covered_and_not_distorted():
    picture = Image.new("RGB", (400, 400))
    picture.paste((255, 255, 255), (100, 100, 300, 300))
    pixels = _spec((64, 128), crop_ratio=1.0)(picture)
    assert pixels.shape == (3, 64, 128)
    assert np.flatnonzero(pixels[0, 32] > 0.5).tolist() == list(range(32, 96))
    assert np.flatnonzero(pixels[0, :, 64] > 0.5).tolist() == list(range(64)), "the square fills the height"


def test_an_image_of_the_right_size_is_left_alone():
    picture = _picture(28, 28, "L")
    spec = Preprocessing((28, 28), 1, (0.25,), (0.5,), 1.0, "bilinear")
    expected = (np.asarray(picture, np.float32)[None] / 255 - 0.25) / 0.5
    np.testing.assert_allclose(spec(picture), expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK"])
def test_every_colour_mode_becomes_what_the_network_takes(mode):
    buffer = io.BytesIO()
    _picture(40, 40).convert(mode).save(buffer, "TIFF")
    assert _spec((32, 32))(buffer.getvalue()).shape == (3, 32, 32)


def test_what_is_no_image_is_said_in_one_sentence():
    with pytest.raises(ValueError, match="^not a readable image"):
        _spec((32, 32))(b"hello")


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("width, height", [(300, 7), (5, 90), (64, 64), (1, 1), (33, 50)])
def test_a_resized_centre_is_the_centre_of_the_resized_whole(width, height, interpolation, monkeypatch):
    """Where the whole would be beyond the limit, its centre alone is resized: the same but for rounding."""
    # Of strong contrasts, bicubic overshoots 0 and 255, and where that is cut depends on Pillow's order of passes.
    picture = _picture(width, height).point(lambda level: 64 + level // 2)
    for crop_ratio in (1.0, 0.875):
        spec = _spec((24, 32), crop_ratio=crop_ratio, interpolation=interpolation)
        whole = np.asarray(spec.resize(picture), int)
        with monkeypatch.context() as context:
            context.setattr(decoding, "MAX_PIXELS", 1)
            part = np.asarray(spec.resize(picture), int)
        assert part.shape == whole.shape == (24, 32, 3) and np.abs(part - whole).max() <= 1


@pytest.mark.parametrize("size", [(65500, 1), (1, 65500)])
def test_a_strip_takes_no_more_memory_than_an_image(size, monkeypatch):
    resized, resize = [], Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda *args: resized.append(args[1]) or resize(*args))
    buffer = io.BytesIO()
    Image.new("RGB", size, (255, 0, 51)).save(buffer, "JPEG", quality=100, subsampling=0)
    assert len(buffer.getvalue()) < 200000
    pixels = _spec((224, 224))(buffer.getvalue())
    assert resized == [(224, 224)]
    np.testing.assert_allclose(pixels.mean((1, 2)), [1, 0, 0.2], atol=0.02)
    for ratio in ((0.75, 4 / 3), (0.1, 0.2), (5.0, 9.0)):
        transform = _transform(True, ratio=ratio)
        cut = transform(Image.new("RGB", size, (9, 9, 9)), np.random.default_rng(0))
        assert cut.shape == (24, 32, 3) and (cut == 9).all()


def test_card_and_recipe():
    card = model_card("ghostnet_100")
    spec = preprocessing_of(card, DataConfig(), 3)
    assert (spec.input_size, spec.crop_ratio, spec.mean) == ((224, 224), 0.875, (0.485, 0.456, 0.406))
    assert spec.orient and not preprocessing_of(card, DataConfig(orient=False), 3).orient
    old = {key: value for key, value in dataclasses.asdict(spec).items() if key != "orient"}
    assert not Preprocessing(**old).orient, "what was written before there was orientation is without"
    spec = preprocessing_of(card, DataConfig(input_size=(96, 64), mean=[0.5], std=[0.2], interpolation="bicubic"), 1)
    assert (spec.input_size, spec.mean, spec.interpolation) == ((96, 64), (0.5,), "bicubic")
    with pytest.raises(ValueError, match="data.mean has 1 values and the images have 3 channels"):
        preprocessing_of(card, DataConfig(mean=[0.5]), 3)


def _transform(encoded, size=(24, 32), channels=3, mean=(0.5,), **augment):
    spec = Preprocessing(size, channels, mean * channels, (1.0,) * channels, 1.0, "bilinear")
    return TrainingTransform(spec, AugmentConfig(**{"horizontal_flip": 0.0, **augment}), encoded)


def test_crop_boxes_have_the_area_and_aspect_that_were_asked_for():
    draw = np.random.default_rng(0)
    boxes = np.array([crop_box((500, 375), (0.08, 1.0), (0.75, 4 / 3), draw) for _ in range(2000)])
    left, top, right, bottom = boxes.T
    assert (left >= 0).all() and (top >= 0).all() and (right <= 500).all() and (bottom <= 375).all()
    area, aspect = (right - left) * (bottom - top) / (500 * 375), (right - left) / (bottom - top)
    assert 0.075 < area.min() < 0.1 and area.max() > 0.95 and 0.74 < aspect.min() < 0.77 and 1.3 < aspect.max() < 1.35
    assert crop_box((100, 100), (0.25, 0.25), (1.0, 1.0), draw)[2:] != (100, 100)
    # No crop of the whole area has the aspect ratio: the largest central one that has.
    assert crop_box((300, 100), (1.0, 1.0), (0.75, 4 / 3), draw) == (83, 0, 216, 100)
    assert crop_box((100, 300), (1.0, 1.0), (0.75, 4 / 3), draw) == (0, 83, 100, 216)
    assert crop_box((100, 110), (1.0, 1.0), (0.75, 4 / 3), draw) == (0, 0, 100, 110)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", None])
def test_a_training_crop_is_cut_and_then_resized(interpolation):
    picture = _picture(50, 40)
    spec = Preprocessing((24, 32), 3, (0.5,) * 3, (1.0,) * 3, 1.0, "bicubic")
    transform = TrainingTransform(spec, AugmentConfig(horizontal_flip=0.0, interpolation=interpolation), True)
    box = crop_box((50, 40), (0.08, 1.0), (0.75, 4 / 3), np.random.default_rng(3))
    expected = picture.crop(box).resize((32, 24), Image.Resampling[(interpolation or "bicubic").upper()])
    np.testing.assert_array_equal(transform(picture, np.random.default_rng(3)), np.asarray(expected))
    np.testing.assert_array_equal(transform(np.asarray(picture), np.random.default_rng(3)), np.asarray(expected))


def test_random_interpolation_draws_both():
    picture, transform = _picture(50, 40), _transform(True, scale=(1.0, 1.0), ratio=(1.25, 1.25))
    results = {_transform(True, scale=(1.0, 1.0), ratio=(1.25, 1.25), interpolation="random")(
        picture, np.random.default_rng(seed)).tobytes() for seed in range(12)}
    bilinear = transform(picture, np.random.default_rng(0)).tobytes()
    assert len(results) == 2 and bilinear in results


def test_arrays_are_padded_with_black_and_cropped():
    ones = np.full((24, 32, 3), 255, np.uint8)
    offsets = set()
    for seed in range(60):
        result = _transform(False, crop_padding=2)(ones, np.random.default_rng(seed))
        rows, columns = np.flatnonzero(result.any((1, 2))), np.flatnonzero(result.any((0, 2)))
        assert len(rows) >= 22 and len(columns) >= 30 and result.sum() == 255 * 3 * len(rows) * len(columns)
        offsets.add((rows[0], len(rows), columns[0], len(columns)))
    assert len(offsets) > 15, "five shifts each way"
    np.testing.assert_array_equal(_transform(False)(ones[:12, :16], np.random.default_rng(0)), ones)


def test_mirroring():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(_transform(False, horizontal_flip=1.0)(pixels, np.random.default_rng(0)),
                                  pixels[:, ::-1])
    flips = sum(np.array_equal(_transform(False, horizontal_flip=0.3)(pixels, np.random.default_rng(seed)),
                               pixels[:, ::-1]) for seed in range(300))
    assert 65 < flips < 115


def test_the_policy_of_the_recipe_is_applied_with_the_mean_as_fill():
    # Level 10 of a shift is 45 % of the side, of which only the filled part is looked at.
    picture = np.zeros((24, 32, 3), np.uint8)
    transform = _transform(False, mean=(0.4,), auto_augment="rand-m10-n1-p1")
    colours = {tuple(transform(picture, np.random.default_rng(seed))[0, 0]) for seed in range(200)}
    assert (102, 102, 102) in colours and (0, 0, 0) in colours


def test_colour_jitter():
    grey = Image.new("RGB", (4, 4), (100, 100, 100))
    levels = [color_jitter(grey, (0.4, 0.0, 0.0), np.random.default_rng(s)).getpixel((0, 0))[0] for s in range(300)]
    assert min(levels) in (60, 61) and max(levels) in (139, 140) and abs(np.mean(levels) - 100) < 4
    colour = Image.new("RGB", (4, 4), (200, 100, 50))
    greys = [color_jitter(colour, (0.0, 0.0, 1.0), np.random.default_rng(s)).getpixel((0, 0)) for s in range(100)]
    spread = [max(pixel) - min(pixel) for pixel in greys]
    assert min(spread) < 20 and max(spread) > 220
    half = Image.fromarray(np.array([[[50] * 3, [150] * 3]], np.uint8))
    contrasts = [color_jitter(half, (0.0, 0.5, 0.0), np.random.default_rng(s)) for s in range(100)]
    difference = [c.getpixel((1, 0))[0] - c.getpixel((0, 0))[0] for c in contrasts]
    assert 49 <= min(difference) < 60 and 140 < max(difference) <= 151
    red = Image.new("RGB", (1, 1), (255, 0, 0))
    hues = {color_jitter(red, (0, 0, 0, 0.5), np.random.default_rng(s)).getpixel((0, 0)) for s in range(40)}
    assert all(max(pixel) == 255 and min(pixel) == 0 for pixel in hues) and len(hues) > 20
    results = {color_jitter(colour, (0.4, 0.4, 0.4), np.random.default_rng(s)).getpixel((0, 0)) for s in range(20)}
    assert len(results) > 15
    np.testing.assert_array_equal(_transform(False, color_jitter=0.0)(np.asarray(grey.resize((32, 24))),
                                                                      np.random.default_rng(0)), 100)


def test_grey_images_are_augmented_too():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 1), dtype=np.uint8)
    for augment in ({"auto_augment": "rand-m9-mstd0.5-inc1"}, {"auto_augment": "trivial"}, {"auto_augment": "original"},
                    {"color_jitter": [0.4, 0.4, 0.4, 0.1]}):
        transform = _transform(False, channels=1, **augment)
        assert {transform(pixels, np.random.default_rng(s)).shape for s in range(30)} == {(24, 32, 1)}
