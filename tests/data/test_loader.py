"""The stream of batches: a function of seed, epoch and place alone, whatever the workers, the devices and the start."""
import errno
import os

import numpy as np
import pytest
from PIL import Image

from ghost_ms.config import AugmentConfig, Config, DataConfig, LossConfig, RunConfig
from ghost_ms.data import loader, transforms
from ghost_ms.data.datasets import open_source
from ghost_ms.data.loader import Shard, epoch_order, steps_per_epoch
from ghost_ms.data.mixing import normalize_batch
from ghost_ms.data.transforms import Preprocessing
from tests.batches import evaluation_batches, training_batches

ALL = dict(auto_augment="rand-m9-mstd0.5-inc1", interpolation="random", random_erasing=0.5, mixup=0.8, cutmix=1.0)


def _spec(size=32):
    return Preprocessing((size, size), 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0, "bilinear")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """image_folder of 3 classes, 7 images of noise each."""
    root = tmp_path_factory.mktemp("images")
    draw = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("ant", "bee", "cat"):
            os.makedirs(root / split / name)
            for index in range(7):
                pixels = draw.integers(0, 256, (40, 50 + index, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{index}.png")
    return root


def _config(root, augment=None, seed=1, smoothing=0.0, **data):
    data = {"batch_size": 4, "workers": 1, "max_corrupt_share": 0.2, **data}
    return Config(data=DataConfig("image_folder", str(root), **data), augment=AugmentConfig(**(augment or {})),
                  loss=LossConfig(label_smoothing=smoothing), run=RunConfig(seed=seed))


def _stream(config, epoch=0, shard=Shard(), skip=0, spec=_spec()):
    """[(images, labels)] as arrays."""
    source = open_source(config.data, "train")
    batches = training_batches(source, config, spec, epoch, shard, skip)
    return [(images.asnumpy(), labels.asnumpy()) for images, labels in batches]


def _equal(left, right):
    return len(left) == len(right) and all(
        np.array_equal(x, u) and np.array_equal(y, v) for (x, y), (u, v) in zip(left, right))


@pytest.mark.parametrize("augment", [ALL, {"color_jitter": [0.4, 0.4, 0.4, 0.1], "repeated": 3}], ids=["all", "jitter"])
def test_an_epoch_starts_anywhere_and_workers_change_nothing(root, augment):
    whole = _stream(_config(root, augment, workers=2))
    assert len(whole) == 5
    for skip in range(6):
        assert _equal(_stream(_config(root, augment, workers=2), skip=skip), whole[skip:])
    assert _equal(_stream(_config(root, augment, workers=1)), whole)
    assert not _equal(_stream(_config(root, augment), epoch=1), whole)
    assert not _equal(_stream(_config(root, augment, seed=2)), whole)


@pytest.mark.parametrize("row", [1, 2, 3])
def test_how_many_images_pass_at_a_time_changes_nothing(root, monkeypatch, row):
    config = _config(root, ALL, batch_size=6, eval_batch_size=6)

    def both():
        return _stream(config), list(evaluation_batches(open_source(config.data, "val"), config, _spec()))

    training, evaluation = both()
    assert [len(labels) for _, labels in evaluation] == [6, 6, 6, 3]
    monkeypatch.setattr(loader, "ROW", row)
    assert all(map(_equal, both(), (training, evaluation)))


def test_images_come_as_bytes_unless_they_are_erased_or_mixed(root):
    spec, plain = _spec(), _stream(_config(root))
    floats = _stream(_config(root, {"random_erasing": 1e-12}))
    assert len(plain) == 5 and all(x.dtype == np.uint8 and x.shape == (4, 32, 32, 3) for x, _ in plain)
    assert _equal([(normalize_batch(x, spec.mean, spec.std), y) for x, y in plain], floats)
    mixed = _stream(_config(root, {"mixup": 0.8}))
    assert all(x.dtype == np.float32 and x.shape == (4, 3, 32, 32) for x, _ in floats + mixed)


def test_global_random_state_is_neither_used_nor_changed(root):
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    first = _stream(_config(root, ALL))
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.seed(6)
    assert _equal(_stream(_config(root, ALL)), first)


@pytest.mark.parametrize("repeated", [1, 3])
def test_devices_share_what_one_device_would_see(root, repeated):
    augment = {"auto_augment": "trivial", "random_erasing": 0.5, "repeated": repeated}
    one = _stream(_config(root, augment, batch_size=6))
    two = [_stream(_config(root, augment, batch_size=3), shard=Shard(rank, 2)) for rank in (0, 1)]
    assert len(one) == len(two[0]) == len(two[1]) == 3
    for (images, labels), first, second in zip(one, *two):
        for rank, (part, part_labels) in enumerate((first, second)):
            np.testing.assert_array_equal(part, images[rank::2])
            np.testing.assert_array_equal(part_labels, labels[rank::2])


def test_each_device_mixes_in_its_own_way(root):
    targets = [_stream(_config(root, {"mixup": 0.8}), shard=Shard(rank, 2))[0][1] for rank in (0, 1)]
    shares = [np.sort(t.ravel())[-1] for t in targets]
    assert shares[0] != shares[1]


def test_order_of_an_epoch():
    order = epoch_order(10, 1, 0)
    assert sorted(order) == list(range(10)) and not np.array_equal(order, epoch_order(10, 1, 1))
    repeated = epoch_order(10, 1, 0, repeated=3)
    np.testing.assert_array_equal(repeated, np.repeat(order[:4], 3)[:10])


def test_repeats_of_an_image_are_augmented_differently(root):
    images, labels = _stream(_config(root, {"repeated": 2}))[0]
    assert labels[0] == labels[1] and labels[2] == labels[3]
    assert not np.array_equal(images[0], images[1])


def test_soft_targets(root):
    config = _config(root, {"mixup": 0.8, "cutmix": 1.0, "mix_probability": 0.5}, smoothing=0.1)
    config.model.num_classes = 5
    targets = np.concatenate([labels for _, labels in _stream(config)])
    assert targets.shape == (20, 5) and targets.dtype == np.float32
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(targets.min(1), 0.02, atol=1e-6)
    assert _stream(_config(root, {"mixup": 0.8, "mix_probability": 0.0}))[0][1].dtype == np.int32


@pytest.mark.parametrize("size,batch,devices", [(21, 4, 1), (21, 4, 2), (21, 5, 4), (21, 100, 2), (2, 4, 3)])
def test_shards_of_an_evaluation_count_every_image_once(root, size, batch, devices):
    config = _config(root, eval_batch_size=batch)
    source = open_source(config.data, "val")
    source.labels, read = np.arange(size, dtype=np.int32), []
    shapes = set()
    for rank in range(devices):
        for images, labels in evaluation_batches(source, config, _spec(), Shard(rank, devices)):
            shapes.add(images.shape)
            read += labels.tolist()
    assert sorted(read) == list(range(size)) and len(shapes) == 1


def test_what_is_no_shard():
    with pytest.raises(ValueError, match="rank 2 is not among 2 devices"):
        Shard(2, 2)


def test_steps_and_too_few_images(root):
    source = open_source(_config(root).data, "train")
    assert [steps_per_epoch(source, _config(root), Shard(0, size)) for size in (1, 2, 5)] == [5, 2, 1]
    with pytest.raises(ValueError, match="batch_size is 4 on each of 6 devices, but there are only 21 images"):
        steps_per_epoch(source, _config(root), Shard(0, 6))


@pytest.fixture
def broken(root, tmp_path):
    """A copy of the training images of which two, at known places of epoch 0, cannot be read."""
    config = _config(root)
    order, source = epoch_order(21, 1, 0), open_source(config.data, "train")
    for split in ("train", "val"):
        for path in source.paths:
            target = tmp_path / split / os.path.relpath(path, root / "train")
            os.makedirs(target.parent, exist_ok=True)
            target.write_bytes(b"damaged" if split == "train" and path in [source.paths[order[p]] for p in (5, 6)]
                               else open(path, "rb").read())
    return tmp_path


def test_unreadable_images_are_replaced_by_the_next_good_ones(root, broken):
    config = _config(broken, workers=2)
    source, order = open_source(config.data, "train"), epoch_order(21, 1, 0)
    batches = training_batches(source, config, _spec(), 0)
    stream = [(images.asnumpy(), labels.asnumpy()) for images, labels in batches]
    bad = [source.paths[order[place]] for place in (5, 6)]
    assert batches.broken == bad and batches.step == 5
    reason = "(not a readable image: it is damaged, or none of JPEG, PNG, BMP, TIFF, WEBP, GIF, PPM)"
    assert batches.broken_line() == ("2 of the epoch's 20 training images could not be read and were replaced by "
                                     f"others: {bad[0]} {reason}; {bad[1]} {reason}")
    assert batches.broken_line(1).endswith(f"{bad[0]} {reason}; and 1 more")
    assert training_batches(source, config, _spec(), 1).broken_line() == ""
    assert batches.files(1) == [source.paths[order[place]] for place in (4, 5, 6, 7)]
    intact = _stream(_config(root))
    assert _equal(stream[:1] + stream[2:], intact[:1] + intact[2:]), "the others stay where they were"
    labels = open_source(config.data, "train").labels
    assert stream[1][1].tolist() == labels[order[[4, 7, 7, 7]]].tolist()
    assert np.array_equal(stream[1][0][3], intact[1][0][3]) and not np.array_equal(stream[1][0][2], stream[1][0][3])
    assert _equal(_stream(config, skip=1), stream[1:])


def test_too_many_unreadable_images_end_the_run(broken):
    batches = training_batches(open_source(_config(broken).data, "train"), _config(broken, max_corrupt_share=0.09),
                               _spec(), 0)
    message = (r"2 of the epoch's 20 training images cannot be read, more than data.max_corrupt_share \(0.09\) allows; "
               "the first is .*not a readable image")
    with pytest.raises(ValueError, match=message):
        list(batches)


def test_a_folder_of_unreadable_images(root, monkeypatch):
    def refuse(sample):
        raise PermissionError(errno.EACCES, "Permission denied")

    source = open_source(_config(root).data, "train")
    source.read = refuse
    with pytest.raises(ValueError, match=r"images in a row cannot be read, the first is .*\.png \(Permission denied\)"):
        list(training_batches(source, _config(root, max_corrupt_share=1.0), _spec(), 0))


@pytest.mark.parametrize("error,kind,message", [
    (MemoryError(), OSError, "out of memory while reading the data; lower data.workers or data.batch_size"),
    (RuntimeError("Failed to allocate shared memory for 2 elements"), OSError, "out of shared memory or disk space"),
    (KeyError("x"), ValueError, "a data worker failed: KeyError: 'x'"),
])
def test_a_failing_worker_has_its_own_sentence(root, error, kind, message):
    def fail(sample):
        raise error

    source = open_source(_config(root).data, "train")
    source.read = fail
    with pytest.raises(kind, match=message):
        list(training_batches(source, _config(root), _spec(), 0))
    with pytest.raises(kind, match=message):
        list(evaluation_batches(source, _config(root), _spec()))


def test_an_error_of_an_augmentation_is_no_unreadable_image(root, monkeypatch):
    def fail(*args):
        raise ValueError("a fault of the program")

    monkeypatch.setattr(transforms.TrainingTransform, "__call__", fail)
    with pytest.raises(ValueError, match="a fault of the program"):
        list(training_batches(open_source(_config(root).data, "train"), _config(root), _spec(), 0))
