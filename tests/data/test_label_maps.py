"""Images with maps of labels on a disk: five layouts, and what is wrong with one."""
import os

import numpy as np
import pytest
from PIL import Image

from ghost_ms.config import DataConfig
from ghost_ms.data import canvas
from ghost_ms.data.check import check_split
from ghost_ms.data.label_maps import CITYSCAPES, open_label_maps, read_map


def _save(path, array):
    os.makedirs(path.parent, exist_ok=True)
    (canvas.indexed(array) if path.suffix == ".png" and array.ndim == 2 else Image.fromarray(array)).save(path)


def _image(path, size=(8, 6)):
    _save(path, np.full((size[1], size[0], 3), 90, np.uint8))


def _map(path, values=(0, 1, 255), size=(8, 6)):
    labels = np.zeros(size[::-1], np.uint8)
    labels[0, :len(values)] = values
    _save(path, labels)


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "val"):
        for name in ("a", "b/c"):
            _image(tmp_path / split / "images" / f"{name}.jpg")
            _map(tmp_path / split / "masks" / f"{name}.png")
    return tmp_path


def _config(folder, **keys):
    return DataConfig(**{"dataset": "image_masks", "root": str(folder), "classes": ["background", "cat"], **keys})


def _checked(config, split="train"):
    source = open_label_maps(config, split)
    check_split(source, split, config)
    return source


def test_a_plain_folder(folder):
    source = _checked(_config(folder))
    assert [os.path.relpath(path, folder) for path in source.paths] == ["train/images/a.jpg", "train/images/b/c.jpg"]
    assert source.classes == ["background", "cat"] and source.target(1)[0, :4].tolist() == [0, 1, 255, 0]
    assert open_label_maps(_config(folder), "val").size == 2
    with pytest.raises(FileNotFoundError, match="has no split test of image_masks, only train, val"):
        open_label_maps(_config(folder), "test")


def test_splits_within_images_and_masks_and_shares_of_one_folder(tmp_path):
    for name in range(10):
        _image(tmp_path / "images" / f"{name}.png")
        _map(tmp_path / "masks" / f"{name}.png")
    with pytest.raises(FileNotFoundError, match="no split val of image_masks, only train; data.val_share 0.2"):
        open_label_maps(_config(tmp_path), "val")
    parts = [set(open_label_maps(_config(tmp_path, val_share=0.2), split).paths) for split in ("train", "val")]
    assert list(map(len, parts)) == [8, 2] and not parts[0] & parts[1]
    held = open_label_maps(_config(tmp_path, val_share=0.2), "val")
    assert held.target(0)[0, :3].tolist() == [0, 1, 255]
    for path in (tmp_path / "images").iterdir():
        for kind in ("images", "masks"):
            os.makedirs(tmp_path / "two" / kind / "train", exist_ok=True)
            (tmp_path / "two" / kind / "train" / path.name).write_bytes((tmp_path / kind / path.name).read_bytes())
    assert _checked(_config(tmp_path / "two")).size == 10


def test_labels_follow_another_order_of_the_classes(folder):
    source = open_label_maps(_config(folder), "train", ["cat", "background"])
    assert source.classes == ["cat", "background"] and source.target(0)[0, :3].tolist() == [1, 0, 255]
    with pytest.raises(ValueError, match="the data has 'cat', which the network does not know"):
        open_label_maps(_config(folder), "train", ["background", "dog"])


def test_voc(tmp_path):
    base = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("x", "y"):
        _image(base / "JPEGImages" / f"{name}.jpg")
        _map(base / "SegmentationClass" / f"{name}.png", (0, 20, 255))
    lists = base / "ImageSets" / "Segmentation"
    os.makedirs(lists)
    (lists / "train.txt").write_text("x\ny\n")
    (lists / "val.txt").write_text("y\n")
    source = _checked(_config(tmp_path, dataset="voc", classes=None))
    assert source.size == 2 and len(source.classes) == 21 and source.target(0)[0, 1] == 20
    assert source.notes == [f"taking {base}"]
    (lists / "val.txt").write_text("y\nz\n")
    with pytest.raises(ValueError, match="val.txt' lists 'z', but there is no file '.*z.jpg'"):
        open_label_maps(_config(tmp_path, dataset="voc", classes=None), "val")
    (lists / "val.txt").write_text("../../../secret\n")
    with pytest.raises(ValueError, match="lists names of images, one per line, and '../../../secret' is none"):
        open_label_maps(_config(tmp_path, dataset="voc", classes=None), "val")


def test_ade20k_has_no_class_0(tmp_path):
    for split in ("training", "validation"):
        _image(tmp_path / "images" / split / "1.jpg")
        _map(tmp_path / "annotations" / split / "1.png", (0, 1, 150))
    config = _config(tmp_path, dataset="ade20k", classes=None)
    source = _checked(config)
    assert source.target(0)[0, :4].tolist() == [255, 0, 149, 255] and len(source.classes) == 150
    assert "does not name 150 classes" in source.notes[0]
    (tmp_path / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n" + "".join(
        f"{place}\t0.1\t1\t1\t0\tthing{min(place, 149)}, other\n" for place in range(1, 151)))
    source = open_label_maps(config, "train")
    assert source.classes[0] == "thing1" and source.classes[-2:] == ["thing149 149", "thing149 150"]
    assert not source.notes
    _map(tmp_path / "annotations" / "training" / "1.png", (0, 151))
    with pytest.raises(ValueError, match="1.png' holds the value '150', but there are 150 classes"):
        _checked(config)


def test_cityscapes_trains_on_19_of_its_numbers(tmp_path):
    name = "train/bonn/bonn_000000_000019"
    _image(tmp_path / "leftImg8bit" / f"{name}_leftImg8bit.png")
    _map(tmp_path / "gtFine" / f"{name}_gtFine_labelIds.png", (0, 7, 33, 26, 6))
    _map(tmp_path / "gtFine" / f"{name}_gtFine_instanceIds.png")
    source = _checked(_config(tmp_path, dataset="cityscapes", classes=None))
    assert source.size == 1 and source.classes == list(CITYSCAPES) and len(source.classes) == 19
    assert source.target(0)[0, :5].tolist() == [255, 0, 18, 13, 255]


@pytest.mark.parametrize("spoil, words", [
    (lambda folder: _map(folder / "train/masks/a.png", size=(8, 5)),
     "map '.*a.png' is 8x5 pixels, and its image '.*a.jpg' 8x6: width and height have to agree"),
    (lambda folder: _map(folder / "train/masks/a.png", (0, 7)),
     "a.png' holds the value '7', but there are 2 classes, 0 .background. to 1"),
    (lambda folder: _image(folder / "train/masks/a.png"),
     "a.png' cannot be used: its pixels are colours .* indexed PNG"),
    (lambda folder: (folder / "train/masks/a.png").write_bytes(b"no image"), "a.png' cannot be used: "),
    (lambda folder: (folder / "train/masks/a.png").write_bytes((folder / "train/masks/a.png").read_bytes()[:-40]),
     "a.png' cannot be (read|used): "),
    (lambda folder: (folder / "train/masks/a.png").unlink(), "a.jpg' has no map of the same name in '.*masks'"),
    (lambda folder: (folder / "train/images/a.jpg").unlink(), "a.png' has no image of the same name in '.*images'"),
    (lambda folder: _map(folder / "train/masks/a.gif"), "have one name but for the ending"),
    (lambda folder: os.rename(folder / "train/masks", folder / "train/maps"), "there is no folder '.*train/masks'"),
])
def test_what_does_not_belong_together_is_named_before_the_first_step(spoil, words, folder):
    spoil(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        _checked(_config(folder))


@pytest.mark.parametrize("keys, words", [
    ({"classes": None}, "data.classes is not set"), ({"root": None}, "data.root is not set"),
    ({"dataset": "voc", "classes": None}, "holds no ImageSets/Segmentation"),
    ({"dataset": "ade20k", "classes": None}, "holds no annotations"),
    ({"dataset": "cityscapes", "classes": None}, "holds no leftImg8bit and gtFine"),
    ({"val_share": 0.5}, "has images to evaluate on of its own")])
def test_folders_that_hold_something_else(keys, words, folder):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        open_label_maps(_config(folder, **keys), "train")


def test_an_empty_folder_is_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no train/images and train/masks"):
        open_label_maps(_config(tmp_path), "train")


def test_black_and_white_maps_are_two_classes(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1").save(tmp_path / "a.png")
    assert read_map(str(tmp_path / "a.png")).tolist() == [[0, 1]]


def test_a_split_that_was_found_sound_is_not_read_again_until_a_file_changes(folder, tmp_path):
    cache, config = str(tmp_path / "cache.json"), _config(folder)
    source = open_label_maps(config, "train")
    check_split(source, "train", config, cache)
    looked = []
    source.fault = lambda sample: looked.append(sample)
    check_split(source, "train", config, cache)
    assert not looked
    Image.fromarray(np.full((4, 5), 7, np.uint8)).save(folder / "train" / "masks" / "a.png")
    with pytest.raises(ValueError, match="a.png' holds the value '7'"):
        check_split(open_label_maps(config, "train"), "train", config, cache)
