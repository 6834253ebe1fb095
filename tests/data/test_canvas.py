"""The canvases that are made of the embedded garments."""
import json

import numpy as np
import pytest
from PIL import Image

from ghost_ms.config import DataConfig
from ghost_ms.data import canvas
from ghost_ms.data.label_maps import open_label_maps


def test_an_image_is_a_function_of_split_and_number():
    one, two, other, val = (canvas.compose(*which) for which in (("train", 3), ("train", 3), ("train", 4), ("val", 3)))
    assert np.array_equal(one.image, two.image) and np.array_equal(one.labels, two.labels)
    assert not np.array_equal(one.image, other.image) and not np.array_equal(one.image, val.image)


def test_masks_labels_and_boxes_belong_together():
    empty, seen = 0, np.zeros(10, int)
    for number in range(120):
        scene = canvas.compose("val", number)
        assert scene.image.shape == (96, 96, 3) and scene.labels.shape == (96, 96)
        assert scene.masks.sum(0).max(initial=0) <= 1
        empty += not len(scene.kinds)
        garments = scene.masks.any(0) if len(scene.kinds) else np.zeros((96, 96), bool)
        # The pixel around a later garment hides what lies below it.
        assert not (~garments & (scene.labels > 0) & (scene.labels < 255)).any()
        for mask, kind in zip(scene.masks, scene.kinds):
            assert set(np.unique(scene.labels[mask])) <= {kind + 1, 255}
            left, top, right, bottom = canvas.box_of(mask)
            assert mask[top:bottom, left:right].sum() == mask.sum() and mask[top].any() and mask[:, right - 1].any()
            seen[kind] += 1
    assert empty == 10 and seen.min() >= 10


def test_no_garment_is_in_both_splits():
    train, val = (canvas._garments(split)[0].reshape(-1, 784) for split in ("train", "val"))
    assert not set(map(bytes, train)) & set(map(bytes, val))


def test_run_lengths_are_cocos():
    mask = np.array([[0, 1], [1, 1], [0, 0]], bool)
    assert canvas.run_lengths(mask) == [1, 1, 1, 2, 1]
    assert canvas.run_lengths(np.ones((2, 2), bool)) == [0, 4] and canvas.run_lengths(np.zeros((2, 2), bool)) == [4]


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(canvas, "SIZES", {"train": 14, "val": 3})


def test_it_is_written_as_voc_and_read_back(few, tmp_path):
    assert canvas.write_voc(str(tmp_path / "voc")) == 17
    config = DataConfig(dataset="voc", root=str(tmp_path / "voc"))
    for split, size in (("train", 14), ("val", 3)):
        source = open_label_maps(config, split)
        assert source.size == size and source.classes == list(canvas.CLASSES)
        for number in range(size):
            assert np.array_equal(source.target(number), canvas.compose(split, number).labels)
            assert source.fault(number) is None
    assert Image.open(tmp_path / "voc" / "SegmentationClass" / "val_0001.png").mode == "P"
    with pytest.raises(FileExistsError, match="is there already"):
        canvas.write_voc(str(tmp_path / "voc"))


def test_a_set_that_is_not_whole_is_not_left(few, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(canvas, "run_lengths", fail)
    with pytest.raises(OSError, match="no space left"):
        canvas.write_coco(str(tmp_path / "coco"))
    assert not list(tmp_path.iterdir())


def test_it_is_written_as_coco(few, tmp_path):
    assert canvas.write_coco(str(tmp_path / "coco")) == 17
    content = json.loads((tmp_path / "coco" / "annotations" / "instances_train2017.json").read_text())
    assert len(content["images"]) == 14 and [each["name"] for each in content["categories"]][9] == "Ankle boot"
    # The twelfth image is empty, and listed all the same.
    assert not [one for one in content["annotations"] if one["image_id"] == 12]
    for number in range(14):
        scene = canvas.compose("train", number)
        own = [one for one in content["annotations"] if one["image_id"] == number + 1]
        assert [one["category_id"] - 1 for one in own] == scene.kinds.tolist()
        for one, mask in zip(own, scene.masks):
            ends = np.cumsum(one["segmentation"]["counts"])
            flat = np.zeros(96 * 96, bool)
            for start, end in zip(ends[::2], ends[1::2]):
                flat[start:end] = True
            assert np.array_equal(flat.reshape(96, 96).T, mask) and one["area"] == mask.sum()
        name = tmp_path / "coco" / "train2017" / content["images"][number]["file_name"]
        assert np.array_equal(np.asarray(Image.open(name)), scene.image)
