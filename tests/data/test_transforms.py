"""Preprocessing equals what the published evaluations do (Pillow resize, centre crop, normalise)."""
import io

import numpy as np
import pytest
from PIL import Image

from ghost_ms.config import DataConfig
from ghost_ms.data.transforms import Preprocessing, normalize, preprocessing_of
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


def test_card_and_recipe():
    card = model_card("ghostnet_100")
    spec = preprocessing_of(card, DataConfig(), 3)
    assert (spec.input_size, spec.crop_ratio, spec.mean) == ((224, 224), 0.875, (0.485, 0.456, 0.406))
    spec = preprocessing_of(card, DataConfig(input_size=(96, 64), mean=[0.5], std=[0.2], interpolation="bicubic"), 1)
    assert (spec.input_size, spec.mean, spec.interpolation) == ((96, 64), (0.5,), "bicubic")
    with pytest.raises(ValueError, match="data.mean has 1 values and the images have 3 channels"):
        preprocessing_of(card, DataConfig(mean=[0.5]), 3)
