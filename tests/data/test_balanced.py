"""The balanced sampler: each class as often as every other, a function of seed and epoch alone."""
import numpy as np
import pytest

from ghost_ms.config import AugmentConfig, Config, DataConfig, RunConfig
from ghost_ms.data.datasets import Dataset
from ghost_ms.data.loader import Shard, balanced_order, epoch_order
from ghost_ms.data.transforms import Preprocessing
from tests.batches import training_batches

#: 90, 9 and 1 images, mixed up.
LABELS = np.random.default_rng(3).permutation(np.repeat([0, 2, 3], [90, 9, 1])).astype(np.int32)


def test_every_class_is_drawn_as_often():
    for epoch in range(5):
        order = balanced_order(LABELS, 7, epoch)
        drawn = np.bincount(LABELS[order], minlength=4)
        assert len(order) == 100 and sorted(drawn) == [0, 33, 33, 34] and drawn[1] == 0
        times = np.bincount(order, minlength=100)
        assert times[LABELS == 0].max() == 1, "of a frequent class no image comes twice"
        assert set(times[LABELS == 2]) <= {3, 4}, "of a rare one all come before one comes again"
        np.testing.assert_array_equal(order, balanced_order(LABELS, 7, epoch))
    orders = [balanced_order(LABELS, seed, epoch).tolist() for seed, epoch in ((1, 0), (1, 1), (2, 0))]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    epochs = [balanced_order(LABELS, 1, epoch) for epoch in range(20)]
    assert len(np.unique(epochs)) == 100, "all have their turn"
    assert {np.bincount(LABELS[order]).tolist().index(34) for order in epochs} == {0, 2, 3}


def test_draws_are_repeated_in_a_row():
    order = balanced_order(LABELS, 1, 0, repeated=3)
    assert len(order) == 100 and np.all(order[:99].reshape(33, 3) == order[:99:3, None])
    assert sorted(np.bincount(LABELS[order[::3]], minlength=4)) == [0, 11, 11, 12]


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [5, 5, 5], [0]])
def test_small_data(labels):
    assert sorted(balanced_order(np.array(labels), 1, 0)) == list(range(len(labels)))


def _stream(sampler, shard=Shard(), skip=0, workers=1, repeated=1):
    images = np.arange(100, dtype=np.uint8)[:, None, None, None].repeat(4, 1).repeat(4, 2)
    source = Dataset(list("abcd"), LABELS, 1, False, images.__getitem__)
    config = Config(data=DataConfig("synthetic", batch_size=20 // shard.size, workers=workers, sampler=sampler),
                    augment=AugmentConfig(horizontal_flip=0, repeated=repeated), run=RunConfig(seed=5))
    spec = Preprocessing((4, 4), 1, (0.0,), (1.0,), 1.0, "bilinear")
    return [(images.asnumpy()[:, 0, 0, 0], labels.asnumpy())
            for images, labels in training_batches(source, config, spec, 3, shard, skip)]


@pytest.mark.parametrize("repeated", [1, 3])
def test_batches_of_an_epoch(repeated):
    whole = _stream("balanced", repeated=repeated)
    np.testing.assert_array_equal(np.concatenate([images for images, _ in whole]),
                                  balanced_order(LABELS, 5, 3, repeated))
    assert all(np.array_equal(labels, LABELS[images]) for images, labels in whole)
    for skip in (2, 5):
        later = _stream("balanced", skip=skip, workers=2, repeated=repeated)
        assert np.array_equal([images for images, _ in later], [images for images, _ in whole[skip:]])
    shards = [_stream("balanced", Shard(rank, 2), repeated=repeated) for rank in range(2)]
    for step, (images, _) in enumerate(whole):
        np.testing.assert_array_equal(images[::2], shards[0][step][0])
        np.testing.assert_array_equal(images[1::2], shards[1][step][0])


def test_without_it_the_order_is_the_old_one():
    shuffled = np.concatenate([images for images, _ in _stream("shuffle")])
    np.testing.assert_array_equal(shuffled, epoch_order(100, 5, 3))
    with pytest.raises(ValueError, match="data.sampler is 'balance'; did you mean 'balanced'"):
        DataConfig("embedded", sampler="balance").validate()


def test_several_labels_have_no_class_to_draw_by():
    source = Dataset(["a", "b"], np.ones((4, 2), np.uint8), 1, False, lambda sample: np.zeros((4, 4, 1), np.uint8))
    config = Config(data=DataConfig("synthetic", batch_size=2, sampler="balanced"))
    with pytest.raises(ValueError, match="data.sampler balanced draws class by class, and an image of this data may"):
        training_batches(source, config, Preprocessing((4, 4), 1, (0.0,), (1.0,), 1.0, "bilinear"), 0)
