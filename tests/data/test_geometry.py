"""What moves pixels says where they went: content, boxes and label maps agree, for every operation of every policy."""
import numpy as np
import pytest
from PIL import Image

from ghost_ms.config import AugmentConfig
from ghost_ms.data import geometry
from ghost_ms.data.auto_augment import (BILINEAR, IMAGENET_POLICY, LEVELS, OPERATIONS, RAND_OPERATIONS, TRIVIAL,
                                        Canvas, Operation, parse_auto_augment)
from ghost_ms.data.transforms import Preprocessing, TrainingTransform

SIZE = (96, 64)


def _blob(size, x, y, radius=4):
    """A bright disc on black; its centre of mass is (x, y)."""
    columns, rows = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    level = np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1)
    return Image.fromarray(np.repeat((255 * level).astype(np.uint8)[:, :, None], 3, 2))


def _centre(image):
    level = np.asarray(image, np.float64)[:, :, 0]
    rows, columns = np.mgrid[:level.shape[0], :level.shape[1]] + 0.5
    return np.array([(level * columns).sum(), (level * rows).sum()]) / max(level.sum(), 1e-9)


def _inside(point, size, margin=8):
    return all(margin < value < extent - margin for value, extent in zip(point, size))


GEOMETRIC = sorted({name for name in (*RAND_OPERATIONS, *(name for name, _, _ in TRIVIAL),
                                      *(step[0] for pair in IMAGENET_POLICY for step in pair))
                    if name.startswith(("Rotate", "Shear", "Translate"))})


@pytest.mark.parametrize("name", GEOMETRIC)
def test_a_dot_is_where_the_map_says(name):
    found = 0
    for seed in range(6):
        moves = []
        canvas = Canvas((0, 0, 0), (BILINEAR,)).leaving(moves)
        draw, image = np.random.default_rng(seed), _blob(SIZE, 50, 30)
        moved = Operation(name, 1.0, 5.0)(image, canvas, draw) if name in LEVELS else \
            OPERATIONS[name](image, draw.uniform(-15, 15), canvas, draw)
        assert len(moves) == 1
        wanted = geometry.move_points(moves[0], [[50, 30]])[0]
        if _inside(wanted, SIZE):
            np.testing.assert_allclose(_centre(moved), wanted, atol=0.1)
            found += 1
    assert found >= 3


@pytest.mark.parametrize("policy", ["rand-m9-mstd0.5-inc1-p1", "original-mstd0.5", "trivial"])
def test_policies_say_what_they_did_and_do_the_same_without(policy):
    run, moved = parse_auto_augment(policy, Canvas((0, 0, 0))), 0
    for seed in range(40):
        moves = []
        image = _blob(SIZE, 45, 33)
        told = run(image, np.random.default_rng(seed), moves)
        assert np.array_equal(np.asarray(told), np.asarray(run(image, np.random.default_rng(seed))))
        moved += len(moves)
    assert moved > 3
    assert run.canvas.moves is None


@pytest.mark.parametrize("encoded", [True, False])
def test_a_training_transform_says_where_everything_went(encoded):
    spec = Preprocessing((64, 80), 3, (0.0,) * 3, (1.0,) * 3, 0.9, "bilinear")
    augment = AugmentConfig(scale=(0.5, 1.0), crop_padding=0 if encoded else 6, horizontal_flip=0.5,
                            auto_augment="rand-m5-n1-p0.5")
    transform, found = TrainingTransform(spec, augment, encoded), 0
    # Brightness and the like may not change what is told.
    transform.policy = parse_auto_augment("rand-n1-w0-m4", Canvas((0, 0, 0), (BILINEAR,)))
    for seed in range(60):
        image, moves = np.asarray(_blob(SIZE, 40, 30, 5)), []
        pixels = transform(image, np.random.default_rng(seed), moves)
        assert np.array_equal(pixels, transform(image, np.random.default_rng(seed)))
        wanted = geometry.move_points(geometry.compose(moves), [[40, 30]])[0]
        if _inside(wanted, (80, 64), 12) and pixels.min() < 20 and np.median(pixels) < 20:
            np.testing.assert_allclose(_centre(pixels), wanted, atol=0.6)
            found += 1
    assert found > 10


def test_the_evaluation_says_where_everything_went():
    for size in ((96, 64), (64, 96), (200, 61), (33, 200)):
        for crop in (1.0, 0.875):
            spec = Preprocessing((48, 40), 3, (0.0,) * 3, (1.0,) * 3, crop, "bilinear")
            moves = []
            pixels = spec.resize(_blob(size, size[0] / 2 + 2, size[1] / 2 - 3, 4), moves)
            wanted = geometry.move_points(geometry.compose(moves), [[size[0] / 2 + 2, size[1] / 2 - 3]])[0]
            np.testing.assert_allclose(_centre(pixels), wanted, atol=0.7)
    same = Preprocessing((64, 96), 3, (0.0,) * 3, (1.0,) * 3, 1.0, "bilinear")
    moves = []
    same.resize(_blob(SIZE, 5, 5), moves)
    np.testing.assert_array_equal(geometry.compose(moves), geometry.identity())


def _random_map(draw, size):
    return geometry.compose([
        geometry.shifted(*draw.uniform(-20, 20, 2)), geometry.rotated(draw.uniform(-180, 180), size),
        geometry.affine(1, draw.uniform(-0.5, 0.5), 0, draw.uniform(-0.3, 0.3), 1, 0),
        geometry.resized(size, (size[0] * draw.uniform(0.5, 2), size[1] * draw.uniform(0.5, 2))),
        *([geometry.mirrored(size[0])] if draw.random() < 0.5 else [])])


@pytest.mark.parametrize("seed", range(20))
def test_maps_go_there_and_back(seed):
    draw = np.random.default_rng(seed)
    move, points = _random_map(draw, SIZE), draw.uniform(0, 100, (7, 2))
    back = geometry.move_points(geometry.invert(move), geometry.move_points(move, points))
    np.testing.assert_allclose(back, points, atol=1e-9)
    np.testing.assert_allclose(geometry.compose([move, geometry.invert(move)]), geometry.identity(), atol=1e-9)
    first, second = _random_map(draw, SIZE), _random_map(draw, SIZE)
    np.testing.assert_allclose(geometry.move_points(geometry.compose([first, second]), points),
                               geometry.move_points(second, geometry.move_points(first, points)), atol=1e-9)


def test_turns_and_mirrors_keep_areas_and_directions():
    corners = np.array([[10, 10], [30, 10], [30, 20], [10, 20]], float)
    for move in (geometry.rotated(33, SIZE), geometry.mirrored(96), geometry.shifted(3, -4)):
        x, y = geometry.move_points(move, corners).T
        assert abs(0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) - 200) < 1e-9
    # Counterclockwise as seen: what is right of the centre goes up.
    np.testing.assert_allclose(geometry.move_points(geometry.rotated(90, (10, 10)), [[9, 5]]), [[5, 1]], atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_as_many_boxes_as_labels_and_none_outside(seed):
    draw = np.random.default_rng(seed)
    corners = draw.uniform(0, 64, (9, 2, 2))
    boxes = np.concatenate([corners.min(1), corners.max(1)], 1)
    moved = geometry.move_boxes(_random_map(draw, SIZE), boxes, SIZE)
    assert moved.boxes.shape == (9, 4) and moved.share.shape == (9,)
    assert (moved.boxes >= 0).all() and (moved.boxes <= [96, 64, 96, 64]).all()
    assert (moved.boxes[:, 2:] >= moved.boxes[:, :2]).all() and ((moved.share >= 0) & (moved.share <= 1)).all()
    kept, labels = moved.kept(0.3, 1.0), np.arange(9)
    assert len(labels[kept]) == len(moved.boxes[kept])
    assert (np.diff(moved.boxes[kept].reshape(-1, 2, 2), axis=1) > 1).all() and (moved.share[kept] > 0.3).all()


def test_no_boxes_are_no_boxes():
    moved = geometry.move_boxes(geometry.identity(), np.zeros((0, 4)), SIZE)
    assert moved.boxes.shape == (0, 4) and moved.kept().shape == (0,)


@pytest.mark.parametrize("seed", range(12))
def test_a_label_map_goes_with_its_boxes(seed):
    """A box that is painted and moved has the moved box as its bounds, within a pixel."""
    draw = np.random.default_rng(seed)
    labels = np.zeros((64, 96), np.uint8)
    labels[20:40, 30:60] = 7
    move = geometry.compose([geometry.rotated(draw.uniform(-30, 30), SIZE), geometry.shifted(*draw.uniform(-5, 5, 2)),
                             *([geometry.mirrored(96)] if seed % 2 else [])])
    moved, box = geometry.move_labels(move, labels, SIZE), geometry.move_boxes(move, [[30, 20, 60, 40]], SIZE).boxes[0]
    rows, columns = np.nonzero(moved == 7)
    np.testing.assert_allclose([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], box, atol=1.01)
    assert set(np.unique(moved)) <= {0, 7, geometry.IGNORE}
    assert abs((moved == 7).sum() - 600) < 25 and (moved == geometry.IGNORE).any()


def test_labels_move_exactly_where_pixels_do():
    labels = np.random.default_rng(0).integers(0, 20, (64, 96)).astype(np.uint8)
    assert np.array_equal(geometry.move_labels(geometry.identity(), labels, SIZE), labels)
    assert np.array_equal(geometry.move_labels(geometry.mirrored(96), labels, SIZE), labels[:, ::-1])
    assert np.array_equal(geometry.move_labels(geometry.shifted(-10, -5), labels, (40, 30)), labels[5:35, 10:50])
    doubled = geometry.move_labels(geometry.resized(SIZE, (192, 128)), labels, (192, 128))
    assert np.array_equal(doubled, labels.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("size", [(100, 40), (40, 100), (64, 64), (300, 7)])
@pytest.mark.parametrize("centre", [True, False])
def test_a_letterbox_keeps_the_shape_and_gives_boxes_back(size, centre):
    image = _blob(size, size[0] / 2, size[1] / 2, 2 if min(size) < 20 else 5)
    framed, move = geometry.letterbox(image, (96, 80), fill=(0, 0, 0), centre=centre)
    assert framed.size == (96, 80)
    np.testing.assert_allclose(_centre(framed), geometry.move_points(move, [[size[0] / 2, size[1] / 2]])[0], atol=0.6)
    boxes = np.array([[1, 1, size[0] - 1, size[1] - 1]], float)
    inside = geometry.move_boxes(move, boxes, (96, 80))
    assert inside.share[0] == pytest.approx(1)
    np.testing.assert_allclose(geometry.move_boxes(geometry.invert(move), inside.boxes, size).boxes, boxes, atol=1e-9)
    if not centre:
        assert tuple(move[:, 2]) == (0, 0)
