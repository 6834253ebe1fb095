"""Augmentation policies: every operation on pictures whose result is known, timm's levels, and its grammar."""
import numpy as np
import pytest
from PIL import Image

from ghost_ms.config.policy import RAND_WEIGHTS
from ghost_ms.data.auto_augment import (BILINEAR, IMAGENET_POLICY, LEVELS, NEAREST, OPERATIONS, RAND_OPERATIONS,
                                        TRIVIAL, Canvas, Operation, parse_auto_augment)

CANVAS = Canvas((9, 8, 7), (NEAREST,))


class Draws:
    """A generator whose numbers are given: `random` from a list, `normal` as the mean plus so many deviations."""

    def __init__(self, *values, deviations=0.0):
        self.values, self.deviations = list(values), deviations

    def random(self):
        return self.values.pop(0)

    def integers(self, bound):
        return self.values.pop(0)

    def normal(self, mean, deviation):
        return mean + self.deviations * deviation


def _apply(name, value, pixels):
    return np.asarray(OPERATIONS[name](Image.fromarray(pixels), value, CANVAS, None))


def _ramp(height=4, width=8):
    """Each pixel tells its place: 10 * row + column in the first band."""
    ramp = 10 * np.arange(height)[:, None] + np.arange(width)
    return np.stack([ramp, ramp + 100, 200 - ramp], 2).astype(np.uint8)


@pytest.mark.parametrize("name,value,expected", [
    ("Identity", None, [10, 100, 200]),
    ("Invert", None, [245, 155, 55]),
    ("Posterize", 2, [0, 64, 192]),
    ("Posterize", 0, [0, 0, 0]),
    ("Posterize", 8, [10, 100, 200]),
    ("Solarize", 100, [10, 155, 55]),
    ("SolarizeAdd", 50, [60, 150, 200]),
    ("SolarizeAdd", 200, [210, 255, 200]),
    ("Brightness", 0.5, [5, 50, 100]),
    ("Brightness", 2.0, [20, 200, 255]),
    # Pillow's grey of this colour is 0.299 * 10 + 0.587 * 100 + 0.114 * 200 = 84.
    ("Color", 0.0, [84, 84, 84]),
    ("Color", 0.5, [47, 92, 142]),
    ("Contrast", 0.5, [47, 92, 142]),
    ("Sharpness", 0.0, [10, 100, 200]),
])
def test_operations_on_one_colour(name, value, expected):
    pixels = np.tile(np.array([10, 100, 200], np.uint8), (5, 5, 1))
    np.testing.assert_array_equal(_apply(name, value, pixels), np.tile(np.array(expected, np.uint8), (5, 5, 1)))


def test_operations_that_look_at_the_whole_picture():
    pixels = np.tile(np.array([50, 100, 150], np.uint8)[None, :, None], (2, 1, 3))
    assert _apply("AutoContrast", None, pixels)[0, :, 0].tolist() == [0, 127, 255]
    rows = np.repeat(np.arange(256, dtype=np.uint8) // 2, 4).reshape(32, 32)[:, :, None].repeat(3, 2)
    equal = _apply("Equalize", None, rows)
    assert equal.min() == 0 and equal.max() >= 254, "half of the levels are stretched over all"
    edge = np.zeros((3, 5, 3), np.uint8)
    edge[:, 2] = 130
    # The smoothing kernel has 5 in its middle and 1 around, over 13.
    assert _apply("Sharpness", 0.0, edge)[1, :, 0].tolist() == [0, 30, 70, 30, 0]


def test_geometry_moves_pixels_and_fills():
    ramp = _ramp()
    moved = _apply("TranslateX", 2, ramp)
    np.testing.assert_array_equal(moved[:, :6], ramp[:, 2:])
    assert (moved[:, 6:] == (9, 8, 7)).all()
    np.testing.assert_array_equal(_apply("TranslateXRel", 0.25, ramp), moved)
    np.testing.assert_array_equal(_apply("TranslateYRel", -0.25, ramp)[1:], ramp[:-1])
    np.testing.assert_array_equal(_apply("TranslateY", 1, ramp)[:-1], ramp[1:])
    np.testing.assert_array_equal(_apply("Rotate", 180, ramp), ramp[::-1, ::-1])
    sheared = _apply("ShearX", 1.0, ramp)
    for row in range(4):
        # The pixel's centre lies half a row down.
        source = np.floor(np.arange(8) + 0.5 + (row + 0.5)).astype(int)
        expected = [ramp[row, s, 0] if s < 8 else 9 for s in source]
        assert sheared[row, :, 0].tolist() == expected
    np.testing.assert_array_equal(_apply("ShearY", 1.0, ramp.transpose(1, 0, 2)), sheared.transpose(1, 0, 2))


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_grey_pictures_too(name):
    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    value = {"Posterize": 4, "Solarize": 20, "SolarizeAdd": 5}.get(name, 0.5)
    result = OPERATIONS[name](grey, value, Canvas((3,), (BILINEAR,)), None)
    assert result.mode == "L" and result.size == (8, 8)


@pytest.mark.parametrize("name,draws,expected", [
    ("Rotate", [0.4], 27), ("Rotate", [0.6], -27), ("Posterize", [], 3), ("PosterizeIncreasing", [], 1),
    ("PosterizeOriginal", [], 7), ("Solarize", [], 230), ("SolarizeIncreasing", [], 26), ("SolarizeAdd", [], 99),
    ("Color", [], 1.72), ("ColorIncreasing", [0.4], 1.81), ("BrightnessIncreasing", [0.6], 0.19),
    ("ShearX", [0.4], 0.27), ("ShearY", [0.6], -0.27), ("TranslateXRel", [0.4], 0.405),
    ("TranslateYRel", [0.6], -0.405),
])
def test_arguments_at_level_9(name, draws, expected):
    assert LEVELS[name](9, Draws(*draws)) == pytest.approx(expected)


def test_levels_at_the_ends():
    assert [LEVELS["Solarize"](0, None), LEVELS["Solarize"](10, None)] == [0, 256]
    assert LEVELS["SolarizeAdd"](20, None) == 128 and LEVELS["PosterizeIncreasing"](0, None) == 4
    assert LEVELS["ContrastIncreasing"](12, Draws(0.6)) == 0.1, "an enhancement never falls below a tenth"


def test_the_level_of_an_operation():
    assert Operation("Rotate", 1.0, 9.0, 0.5).level(Draws(deviations=1.0)) == 9.5
    assert Operation("Rotate", 1.0, 9.0, 0.5).level(Draws(deviations=9.0)) == 10
    assert Operation("Rotate", 1.0, 9.0, 0.5, maximum=15.0).level(Draws(deviations=9.0)) == 13.5
    assert Operation("Rotate", 1.0, 9.0, 0.5).level(Draws(deviations=-30.0)) == 0
    assert Operation("Rotate", 1.0, 8.0, float("inf")).level(Draws(0.25)) == 2


def test_probability_of_an_operation():
    black = Image.new("RGB", (2, 2))
    half = Operation("Invert", 0.5, 9.0)
    assert half(black, CANVAS, Draws(0.51)).getpixel((0, 0)) == (0, 0, 0)
    assert half(black, CANVAS, Draws(0.49)).getpixel((0, 0)) == (255, 255, 255)


def test_grammar_of_rand_augment():
    policy = parse_auto_augment("rand-m9-mstd0.5-inc1")
    assert policy.layers == 2 and policy.weights is None
    assert {(o.magnitude, o.deviation, o.probability, o.maximum) for o in policy.operations} == {(9, 0.5, 0.5, 10)}
    assert [o.name for o in policy.operations] == [
        "AutoContrast", "Equalize", "Invert", "Rotate", "PosterizeIncreasing", "SolarizeIncreasing", "SolarizeAdd",
        "ColorIncreasing", "ContrastIncreasing", "BrightnessIncreasing", "SharpnessIncreasing", "ShearX", "ShearY",
        "TranslateXRel", "TranslateYRel"]
    policy = parse_auto_augment("rand-n3-p0.7-mstd101-mmax12-inc0-w0")
    assert policy.layers == 3 and [o.name for o in policy.operations] == list(RAND_OPERATIONS)
    assert {(o.magnitude, o.deviation, o.probability, o.maximum) for o in policy.operations} == {
        (10, float("inf"), 0.7, 12)}
    np.testing.assert_allclose(policy.weights, np.array(RAND_WEIGHTS) / sum(RAND_WEIGHTS))
    assert policy.weights[RAND_OPERATIONS.index("Invert")] == 0 < policy.weights[RAND_OPERATIONS.index("Rotate")]
    assert policy.weights[RAND_OPERATIONS.index("Rotate")] == max(policy.weights)


@pytest.mark.parametrize("text,message", [
    ("rand-m9-x3", "'rand-m9-x3' has the unknown part 'x3'; known are m<number>, n<number>"),
    ("rand-m9-mstd", "unknown part 'mstd'"), ("rand-n0", "'n0' is out of range; n takes a whole number from 1"),
    ("rand-n1.5", "a whole number"), ("rand-p2", "'p2' is out of range"), ("rand-w1", "'w1' is out of range"),
    ("rand-w0-n14", "w0 has 13 operations"), ("original-m3", "unknown part 'm3'; known are mstd<number>"),
    ("randaugment", "augment.auto_augment is 'randaugment'; known are rand-"), ("trivial-m3", "known are rand-"),
])
def test_what_is_no_policy(text, message):
    with pytest.raises(ValueError, match=message):
        parse_auto_augment(text)


def test_rand_augment_draws_layers():
    """Two inversions leave the picture alone, three invert it; without weights one may be drawn twice."""
    picture = Image.fromarray(_ramp())
    policy = parse_auto_augment("rand-m9-n3-p1")
    only = type(policy)((Operation("Invert", 1.0, 9.0),), 3, None, CANVAS)
    np.testing.assert_array_equal(np.asarray(only(picture, np.random.default_rng(0))), 255 - _ramp())
    weighted = parse_auto_augment("rand-n13-w0")
    drawn = [np.random.default_rng(s).choice(15, 13, weighted.weights is None, weighted.weights) for s in range(5)]
    assert all(len(set(d.tolist())) == 13 for d in drawn)


def test_autoaugment_takes_one_pair():
    assert parse_auto_augment("autoaugment") == parse_auto_augment("original")
    policy = parse_auto_augment("original-mstd0.5")
    assert len(policy.policy) == len(IMAGENET_POLICY) == 25
    assert {operation.deviation for pair in policy.policy for operation in pair} == {0.5}
    # Pair 13: invert with probability 0.6, then equalise always.
    picture = Image.fromarray(_ramp())
    result = parse_auto_augment("original")(picture, Draws(13, 0.5))
    np.testing.assert_array_equal(np.asarray(result), _apply("Equalize", None, 255 - _ramp()))


@pytest.mark.parametrize("index,strength,sign,name,value", [
    (3, 30, 0.4, "ShearX", 0.99), (5, 15, 0.6, "TranslateX", -16), (7, 10, 0.4, "Rotate", 45),
    (8, 30, 0.4, "Brightness", 1.99), (10, 30, 0.6, "Contrast", 0.01), (12, 30, None, "Posterize", 2),
    (12, 0, None, "Posterize", 8), (13, 0, None, "Solarize", 255), (13, 30, None, "Solarize", 0),
])
def test_trivial_augment(index, strength, sign, name, value):
    picture = Image.fromarray(_ramp(40, 40))
    draws = Draws(index, strength, *([] if sign is None else [sign]))
    expected = OPERATIONS[name](picture, value, Canvas((0, 0, 0), (NEAREST,)), None)
    result = parse_auto_augment("trivial")(picture, draws)
    np.testing.assert_array_equal(np.asarray(result), np.asarray(expected))
    assert TRIVIAL[index][0] == name and not draws.values
