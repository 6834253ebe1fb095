"""Image and boxes go through one geometry."""
import numpy as np
import pytest

from ghost_ms.config import Config
from ghost_ms.data.boxes import Objects
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.decode import to_pillow
from ghost_ms.data.loader import Draws, generator
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.tasks.detection.args import DetectionArgs
from ghost_ms.tasks.detection.postprocess import Detections
from ghost_ms.tasks.detection.transforms import (EvaluationTransforms, TrainingTransforms, crop_of, to_photograph,
                                                 trained)

#: Rectangles of a picture: brightness, left, top, right, bottom.
MARKS = ((120, 10, 20, 60, 70), (200, 100, 30, 140, 130), (240, 150, 140, 178, 158))
SIZE = (180, 160)


def _picture():
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for value, left, top, right, bottom in MARKS:
        image[top:bottom, left:right] = value
    return image


def _objects():
    boxes = np.array([mark[1:] for mark in MARKS], np.float64)
    return Objects(boxes, np.arange(3, dtype=np.int32), np.zeros(3, bool), np.prod(boxes[:, 2:] - boxes[:, :2], 1))


def _data(found=None):
    image = _picture()
    return Dataset(["a", "b", "c"], np.zeros(4, np.int32), 3, False, lambda sample: image,
                   target=lambda sample: found or _objects())


def _spec(size):
    return Preprocessing(size, 3, (0.2,) * 3, (0.25,) * 3, 1.0, "bilinear", True, "letterbox")


@pytest.mark.parametrize("size", [(96, 96), (64, 128), (200, 150)])
@pytest.mark.parametrize("args", [dict(), dict(scale=[0.4, 0.8]), dict(scale=[1.2, 2.5]), dict(crop=1.0),
                                  dict(mosaic=1.0, scale=[0.8, 1.6])])
def test_a_training_row_shows_what_its_boxes_say(size, args):
    """Inside each box is the brightness of its mark; and every mark that shows has a box."""
    transforms = TrainingTransforms(Config(), DetectionArgs.of({"min_visible": 0.0, **args}), _data(), _spec(size))
    seen, mirrored = 0, set()
    for place in range(25):
        pixels, boxes, labels = transforms.sample(_picture(), 0, generator(5, 0, place, 0))
        assert pixels.shape == (*size, 3) and boxes.shape == (100, 4) and labels.shape == (100,)
        there = labels >= 0
        assert not boxes[~there].any() and there[:there.sum()].all()
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= np.array(size[::-1])).all()
        covered = np.zeros(size, bool)
        for box, label in zip(boxes[there], labels[there]):
            seen += 1
            left, top, right, bottom = np.round(box).astype(int)
            covered[max(0, top - 2):bottom + 2, max(0, left - 2):right + 2] = True
            inner = pixels[top + 2:bottom - 2, left + 2:right - 2, 0]
            if inner.size:
                assert np.abs(inner.astype(int) - MARKS[label][0]).max() <= 12
        if there.any() and "mosaic" not in args:
            mirrored.add(tuple(labels[there]))
        bright = pixels[..., 0] > 80
        # Of a mark that ends at a border a strip of a pixel can be left without a box.
        assert (bright & ~covered).sum() <= 2 * max(size)
    assert seen > 20


def test_rows_are_a_function_of_seed_epoch_and_place():
    transforms = TrainingTransforms(Config(), DetectionArgs.of({"crop": 0.5, "mosaic": 0.5}), _data(), _spec((96, 96)))
    first, again, other = (transforms.sample(_picture(), 0, generator(1, 2, place, 0)) for place in (3, 3, 4))
    assert all(np.array_equal(one, two) for one, two in zip(first, again))
    assert not np.array_equal(first[1], other[1])


def test_a_batch_is_brought_to_one_of_its_sizes_boxes_with_it():
    transforms = TrainingTransforms(Config(), DetectionArgs.of({"sizes": [[48, 64], [96, 96]]}), _data(),
                                    _spec((96, 96)))
    rows = [transforms.sample(_picture(), 0, generator(0, 0, place, 0)) for place in range(4)]
    batch = [np.stack(column) for column in zip(*rows)]
    seen = set()
    for step in range(12):
        pixels, (boxes, labels) = transforms.collate(batch[0], (batch[1], batch[2]), Draws(0, 0, np.arange(4), step))
        height, width = pixels.shape[1:3]
        seen.add((height, width))
        np.testing.assert_allclose(boxes, batch[1] * np.array([width / 96, height / 96] * 2), rtol=1e-6)
        for image, box, label in zip(pixels, boxes[:, 0], labels[:, 0]):
            left, top, right, bottom = np.round(box).astype(int)
            inner = image[top + 3:bottom - 3, left + 3:right - 3, 0].astype(int)
            assert not inner.size or np.abs(inner - MARKS[label][0]).max() < 25
    assert seen == {(48, 64), (96, 96)}
    with pytest.raises(ValueError, match="sizes holds 128x96, which is larger than the input, 96x96"):
        TrainingTransforms(Config(), DetectionArgs.of({"sizes": [[128, 96]]}), _data(), _spec((96, 96)))


def test_what_is_not_trained_on():
    found = Objects(np.array([[0, 0, 10, 10], [5, 5, 5, 9], [-20, -20, -5, -5], [-5, 2, 8, 400], [3, 3, 9, 9]], float),
                    np.arange(5, dtype=np.int32), np.array([False, False, False, False, True]), np.ones(5))
    kept = trained(found, (50, 40))
    assert kept.labels.tolist() == [0, 3] and kept.boxes[1].tolist() == [0, 2, 8, 40]


def test_of_too_many_objects_the_largest_stay():
    draw = np.random.default_rng(0)
    starts = draw.uniform(0, 100, (93, 2))
    boxes = np.concatenate([starts, starts + np.arange(2, 95)[:, None] / 2], 1)
    many = Objects(boxes, np.arange(93, dtype=np.int32) % 3, np.zeros(93, bool), np.ones(93))
    transforms = TrainingTransforms(Config(), DetectionArgs.of({"max_objects": 20}), _data(many), _spec((160, 180)))
    _, rows, labels = transforms.sample(_picture(), 0, generator(0, 0, 0, 0))
    assert rows.shape == (20, 4) and (labels >= 0).all()
    areas = np.prod(rows[:, 2:] - rows[:, :2], 1)
    assert areas.min() > 20 ** 2
    _, rows, labels = TrainingTransforms(Config(), DetectionArgs(), _data(Objects.none()), _spec((64, 64))).sample(
        _picture(), 0, generator(0, 0, 0, 0))
    assert (labels == -1).all() and not rows.any()


def test_crops_hold_the_middle_of_an_object():
    boxes, draw = _objects().boxes, np.random.default_rng(0)
    parts = [crop_of(SIZE, boxes, draw) for _ in range(300)]
    whole = sum(part == (0, 0, *SIZE) for part in parts)
    assert 20 < whole < 250
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    for left, top, right, bottom in parts:
        assert 0 <= left < right <= SIZE[0] and 0 <= top < bottom <= SIZE[1]
        assert ((middles > (left, top)) & (middles < (right, bottom))).all(1).any()
    assert crop_of(SIZE, np.zeros((0, 4)), draw) == (0, 0, *SIZE)


@pytest.mark.parametrize("size", [(96, 96), (64, 128)])
def test_an_evaluation_row_is_whole_and_boxes_come_back(size):
    spec = _spec(size)
    transforms = EvaluationTransforms(_data(), spec)
    pixels, number, extent = transforms.sample(to_pillow(_picture(), 3), 2, None)
    assert pixels.shape == (*size, 3) and number == 2 and extent.tolist() == list(SIZE)
    frame = spec.frame(SIZE)
    scale = frame.inner[0] / SIZE[0], frame.inner[1] / SIZE[1]
    moved = _objects().boxes * np.array(scale * 2) + np.array([frame.left, frame.top] * 2)
    for (value, *_), (left, top, right, bottom) in zip(MARKS, moved.round().astype(int)):
        assert np.abs(pixels[top + 2:bottom - 2, left + 2:right - 2, 0].astype(int) - value).max() <= 3
    outside = np.array([[0, 0, size[1], frame.top]] if frame.top else [[0, 0, frame.left, size[0]]], float)
    found = Detections(np.concatenate([moved, outside]), np.arange(4) / 4, np.arange(4))
    back = to_photograph(found, frame, SIZE)
    np.testing.assert_allclose(back.boxes, _objects().boxes, atol=1e-4)
    assert back.labels.tolist() == [0, 1, 2] and back.scores.tolist() == [0, 0.25, 0.5]


@pytest.mark.parametrize("args, words", [
    ({"size": 3}, "task.args holds 'size'; detection takes scale, crop"), ({"scale": [2, 1]}, "two rising numbers"),
    ({"sizes": [96]}, "a list of pairs of pixels"),
    ({"crop": 2}, "task.args.crop is 2; it has to be from 0 to 1"), ({"levels": [0]}, "a list of 1 to 16 numbers"),
    ({"max_detections": 1.5}, "a whole number from 1"), ({"iou_threshold": "a"}, "from 0 to 1, or left out"),
    ({"by_class": 1}, "true, false or left out"), ({"candidates": 0}, "from 1 to 100000"),
    ({"box_weight": -1}, "from 0 to 1000")])
def test_arguments_that_cannot_be(args, words):
    with pytest.raises(ValueError, match=words):
        DetectionArgs.of(args)
