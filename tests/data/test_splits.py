"""Which images a training evaluates on: folders by their names, a share that is held out, a test split apart."""
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from ghost_ms.config import DataConfig
from ghost_ms.data.datasets import open_source

SIZES = {"ant": 11, "bee": 5, "cat": 2, "dog": 1}


def _fill(folder, sizes=SIZES):
    for place, (name, count) in enumerate(sizes.items()):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (8, 8), (40 * place, index, 0)).save(folder / name / f"{index}.png")
    return folder


def _open(root, split="val", **keys):
    return open_source(DataConfig("image_folder", str(root), **keys), split)


def _keys(source):
    return [source.key(sample) for sample in range(source.size)]


@pytest.mark.parametrize("layout", ["train", "Training", ""])
def test_a_share_is_held_out_of_every_class(tmp_path, layout):
    """From train/CLASS/IMAGE and from CLASS/IMAGE: the same images, and the same again wherever the data lies."""
    root = tmp_path / "data"
    _fill(root / layout)
    train, val = (_open(root, split, val_share=0.3) for split in ("train", "val"))
    assert train.classes == val.classes == list(SIZES)
    assert train.counts().tolist() == [8, 3, 1, 1] and val.counts().tolist() == [3, 2, 1, 0]
    assert set(_keys(train)) | set(_keys(val)) == {f"{name}/{index}.png" for name, count in SIZES.items()
                                                   for index in range(count)}
    for source in (train, val):
        for sample in range(source.size):
            name, index = source.key(sample).split("/")
            assert source.classes[source.labels[sample]] == name and source.paths[sample].endswith(f"{name}/{index}")
            with open(source.paths[sample], "rb") as file:
                assert source.read(sample) == file.read()
    line = ("data.val_share 0.3: 6 of 19 images are held out to evaluate on, a share of every class, the same ones in "
            "every run; none of 'dog'")
    own = [f"{root} has no folder train with class folders in it: its own folders are taken for the classes"]
    assert val.notes == ([] if layout else own) + [line] and train.notes == ([] if layout else own)
    assert _keys(val) == sorted(_keys(val)) and _keys(val) != [f"ant/{index}.png" for index in range(3)]
    shutil.move(root, tmp_path / "moved")
    assert _keys(_open(tmp_path / "moved", val_share=0.3)) == _keys(val)


def test_who_is_held_out_hangs_on_no_order_and_on_few_others(tmp_path):
    _fill(tmp_path / "train", {"1": 20, "10": 20, "2": 20})
    held = set(_keys(_open(tmp_path, val_share=0.25)))
    assert len(held) == 15
    other = open_source(DataConfig("image_folder", str(tmp_path), val_share=0.25), "val", ["1", "10", "2", "3"])
    assert set(_keys(other)) == held and other.counts().tolist() == [5, 5, 5, 0]
    part = _open(tmp_path, "train", val_share=0.25, train_share=0.5)
    assert not held & set(_keys(part)) and part.counts().tolist() == [8, 8, 8]
    assert set(_keys(_open(tmp_path, val_share=0.25, train_share=0.5))) == held
    # One image more moves one over the border at most.
    Image.new("RGB", (8, 8)).save(tmp_path / "train" / "10" / "more.png")
    assert len(held - set(_keys(_open(tmp_path, val_share=0.25)))) <= 1
    assert held < set(_keys(_open(tmp_path, val_share=0.5))) | {"10/more.png"}


@pytest.mark.parametrize("share, sizes, counts", [
    (0.001, {"a": 2, "b": 100}, [1, 1]), (0.999, {"a": 2, "b": 100}, [1, 99]), (0.5, {"a": 3, "b": 5}, [2, 3])])
def test_no_class_is_lost_on_either_side(tmp_path, share, sizes, counts):
    _fill(tmp_path / "train", sizes)
    assert _open(tmp_path, val_share=share).counts().tolist() == counts


def test_data_in_memory_has_a_share_held_out_and_keeps_its_test_split():
    config = DataConfig("embedded", val_share=0.1)
    train, val, test = (open_source(config, split) for split in ("train", "val", "test"))
    assert [source.counts().tolist() for source in (train, val, test)] == [[630] * 10, [70] * 10, [100] * 10]
    plain = open_source(DataConfig("embedded"), "val")
    assert test.read(3).tobytes() == plain.read(3).tobytes() and not plain.notes and not test.notes
    images = [{source.read(sample).tobytes() for sample in range(source.size)} for source in (train, val, test)]
    assert not images[0] & images[1] and not images[1] & images[2]


@pytest.mark.parametrize("given, val, test", [
    (["val"], "val", None), (["validation"], "validation", None), (["valid"], "valid", None),
    (["Valid"], "Valid", None),
    (["test"], "test", "test"), (["eval"], "eval", "eval"), (["test", "eval"], "test", "test"),
    (["valid", "test"], "valid", "test"), (["val", "valid"], "val", None)])
def test_names_of_folders(tmp_path, given, val, test):
    for name in ["train", *given]:
        _fill(tmp_path / name, {"ant": 1})
    source = _open(tmp_path, "val")
    assert source.folder == str(tmp_path / val)
    assert any("for val 'val' is taken" in note for note in source.notes) == (given == ["val", "valid"])
    if test:
        assert _open(tmp_path, "test").folder == str(tmp_path / test)
    else:
        with pytest.raises(FileNotFoundError, match="no folder test or eval, so it has no split test; val is the one"):
            _open(tmp_path, "test")


def test_a_share_beside_folders_to_evaluate_on(tmp_path):
    """Of training images and test images alone it is held out of the former; beside validation images it is refused."""
    _fill(tmp_path / "train")
    _fill(tmp_path / "test", {"ant": 1, "bee": 1, "cat": 1, "dog": 1})
    assert _open(tmp_path, "val", val_share=0.3).size == 6 and _open(tmp_path, "test", val_share=0.3).size == 4
    _fill(tmp_path / "valid", SIZES)
    for split in ("train", "val"):
        with pytest.raises(ValueError, match=r"data.val_share is 0.3, but the data set .* \(.*/valid\); leave out one"):
            _open(tmp_path, split, val_share=0.3)


def test_without_anything_to_evaluate_on(tmp_path):
    _fill(tmp_path / "train")
    assert _open(tmp_path, "train").size == 19
    with pytest.raises(FileNotFoundError, match="no folder val or .* or eval; .*, where data.val_share 0.2 says"):
        _open(tmp_path, "val")
    shutil.rmtree(tmp_path / "train")
    _fill(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder train or training; .* or CLASS/IMAGE alone, where data.val"):
        _open(tmp_path, "train")


def test_a_class_that_is_called_like_a_split(tmp_path):
    _fill(tmp_path, {"car": 4, "plane": 4, "train": 4})
    train, val = (_open(tmp_path, split, val_share=0.25) for split in ("train", "val"))
    assert train.classes == ["car", "plane", "train"] and [train.size, val.size] == [9, 3]


def test_a_folder_above_or_below_is_no_class(tmp_path):
    """Where the data set lies one folder further down, its folders would all be one class."""
    _fill(tmp_path / "pets" / "train")
    with pytest.raises(FileNotFoundError, match=f"did you mean --data.root {tmp_path}/pets\\?"):
        _open(tmp_path, val_share=0.2)
    _fill(tmp_path / "pets" / "val")
    with pytest.raises(FileNotFoundError, match=f"did you mean --data.root {tmp_path}/pets\\?"):
        _open(tmp_path / "pets" / "train", val_share=0.2)


@pytest.mark.parametrize("share", [1, -0.1, 2.5, float("nan")])
def test_shares_that_cannot_be(share):
    with pytest.raises(ValueError, match="data.val_share must be at least 0 and below 1"):
        DataConfig("embedded", val_share=share).validate()


def test_one_image_a_class(tmp_path):
    _fill(tmp_path, {"a": 1, "b": 1})
    with pytest.raises(ValueError, match="no class has two images"):
        _open(tmp_path, val_share=0.5)
    with pytest.raises(ValueError, match="the split is 'tset'; did you mean 'test'"):
        _open(tmp_path, "tset")


def test_names_that_are_no_text(tmp_path):
    _fill(tmp_path, {"a": 3, "b": 3})
    with open(os.fsencode(tmp_path / "a") + b"/\xff.png", "wb") as file:
        file.write(b"")
    held = _open(tmp_path, val_share=0.5)
    assert held.size == 4 and np.all(held.labels == [0, 0, 1, 1])
