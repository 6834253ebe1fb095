"""`ghost-ms data stats|show|check` on folders that the test writes."""
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from ghost_ms.analysis.data import show, stats
from ghost_ms.tasks.classification.words import caption
from ghost_ms.cli import main
from ghost_ms.config import AugmentConfig, Config, DataConfig
from ghost_ms.data.datasets import open_source


def _picture(path, level, size=(20, 10), **keys):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, 100, 0)).save(path, **keys)


@pytest.fixture
def root(tmp_path):
    """Two classes, 12 and 2 images to train with, one each to validate with."""
    for index in range(12):
        _picture(tmp_path / "train" / "$a_1$" / f"{index}.png", index, (20 + index, 10))
    for index in range(2):
        _picture(tmp_path / "train" / "bee" / f"{index}.png", 50 + index)
    _picture(tmp_path / "val" / "$a_1$" / "x.png", 80)
    _picture(tmp_path / "val" / "bee" / "y.jpg", 90)
    return tmp_path


def test_stats_count(root, capsys):
    assert main(["data", "stats", "--data.root", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["class", "train", "share", "val", "share"], ["$a_1$", "12", "85.7", "%", "1", "50.0", "%"],
        ["bee", "2", "14.3", "%", "1", "50.0", "%"], ["all", "images", "14", "2"]]
    assert lines[4:] == [
        "train: 14 images, 20 to 31 (median 24.5) pixels wide, 10 pixels high; 14 PNG RGB",
        "val: 2 images, 20 pixels wide, 10 pixels high; 1 PNG RGB, 1 JPEG RGB",
        "'$a_1$' has 12 training images and 'bee' 2: data.sampler balanced or loss.class_weights balanced gives rare "
        "classes their weight", "no image is there twice"]


def test_stats_find_images_that_are_there_twice(root, capsys):
    train, val = root / "train", root / "val"
    shutil.copy(train / "bee" / "1.png", val / "bee" / "leak.png")
    shutil.copy(train / "$a_1$" / "3.png", val / "bee" / "\x1b[2J.png")
    shutil.copy(train / "bee" / "0.png", train / "bee" / "again.png")
    # As many bytes, and others.
    content = (val / "bee" / "y.jpg").read_bytes()
    (val / "bee" / "z.jpg").write_bytes(content[:-2] + b"xx")
    (train / "bee" / "empty.png").write_bytes(b"")
    turned = Image.Exif()
    turned[0x112] = 6
    _picture(val / "bee" / "turned.jpg", 7, (30, 40), exif=turned)
    assert main(["data", "stats", "--data.root", str(root)]) == 0
    said = capsys.readouterr().out
    assert "images of val that are in train too, so that what is measured on them says little of new ones (2): " \
           f"{val}/bee/\\x1b[2J.png is {train}/$a_1$/3.png; {val}/bee/leak.png is {train}/bee/1.png\n" in said
    assert f"images of train that are there a second time (1): {train}/bee/again.png is {train}/bee/0.png\n" in said
    assert "images that have another label where they are there again (1): " \
           f"{val}/bee/\\x1b[2J.png is {train}/$a_1$/3.png\n" in said
    assert "z.jpg" not in said and "\x1b" not in said
    assert "train: 16 images, 20 to 31 (median 24) pixels wide, 10 pixels high; 15 PNG RGB; 1 cannot be read" in said
    assert "val: 6 images, 20 to 40 (median 20) pixels wide, 10 to 30 (median 10) pixels high; " in said
    assert "3 PNG RGB, 3 JPEG RGB; 1 turned by EXIF" in said


def test_stats_of_data_in_memory_and_without_a_split_to_evaluate_on(root, capsys):
    assert main(["data", "stats", "--data.dataset", "embedded"]) == 0
    said = capsys.readouterr().out
    assert "Bag          700    10.0 %  100   10.0 %" in said
    assert "val: 1000 images, 28 pixels wide, 28 pixels high; 1000 in memory" in said
    shutil.rmtree(root / "val")
    assert main(["data", "stats", "--data.root", str(root)]) == 0
    assert "there are no images to evaluate on; data.val_share 0.2 holds" in capsys.readouterr().out
    assert main(["data", "stats", "--data.root", str(root / "train"), "--data.val_share", "0.25"]) == 0
    said = capsys.readouterr().out
    assert "$a_1$       9      90.0 %  3    75.0 %" in said and "4 of 14 images are held out" in said


def test_stats_of_sets_of_labels(root, capsys):
    (root / "all.csv").write_text("train/bee/0.png,a|b\ntrain/bee/1.png,\nval/bee/y.jpg,b\n")
    assert main(["data", "stats", "--data.root", str(root), "--data.dataset", "label_file", "--data.train_labels",
                 "all.csv"]) == 0
    said = capsys.readouterr().out
    assert "b           2      66.7 %" in said and "0 to 2 labels an image, 1.00 on average" in said
    assert "all.csv 1 of 3 have several and 1 none" in said


def test_check_names_every_fault(root, capsys):
    assert main(["data", "check", "--data.root", str(root)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "train: nothing is wrong with 14 images",
        "val: nothing is wrong with 2 images", "0 of 16 images cannot be used"]
    (root / "val" / "bee" / "empty.png").write_bytes(b"")
    (root / "train" / "bee" / "\x1b[2J.jpg").write_text("no image")
    assert main(["data", "check", "--data.root", str(root)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0].startswith(f"train: {root}/train/bee/\\x1b[2J.jpg: not a readable image: ")
    assert lines[1] == f"val: {root}/val/bee/empty.png: not a readable image: the file is empty"
    assert lines[2] == "2 of 18 images cannot be used"


def test_a_fault_in_the_middle_is_found_by_decoding(root, capsys):
    path = root / "val" / "bee" / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    content[5000:5100] = b"\0" * 100
    path.write_bytes(content)
    assert main(["data", "check", "--data.root", str(root)]) == 0
    assert main(["data", "check", "--full", "--data.root", str(root)]) == 1
    assert "noise.png: not a readable image" in capsys.readouterr().out


@pytest.fixture
def config(root):
    return Config(data=DataConfig("image_folder", str(root), batch_size=4, workers=1, input_size=(12, 16),
                                  crop_ratio=1.0),
                  augment=AugmentConfig(scale=(1, 1), ratio=(2, 2), horizontal_flip=0))


@pytest.mark.parametrize("erase", [0.0, 1e-12], ids=["bytes", "normalised"])
def test_what_the_network_sees(config, erase):
    """The pixels of the step's images, undone to bytes, and of the evaluation's; with their classes."""
    config.augment.random_erasing = erase
    train, val = show.panels(config, 6)
    assert train.images.shape == (6, 12, 16, 3) and val.images.shape == (2, 12, 16, 3)
    assert train.images.dtype == val.images.dtype == np.uint8
    for image, name in zip(train.images, train.names):
        assert name == ("$a_1$" if image[5, 5, 0] < 40 else "bee")
        np.testing.assert_allclose(image[5, 5, 1:], [100, 0], atol=1)
    assert val.names == ["$a_1$", "bee"]
    np.testing.assert_allclose(val.images[:, 5, 5, 0], [80, 90], atol=2)


def test_mixed_labels_and_sets_have_their_shares():
    classes, mixed = ["cat", "dog", "x" * 50], np.array([0.7, 0.3, 0.0], np.float32)
    assert caption(np.int32(1), classes) == "dog"
    assert caption(mixed * 0.9 + 0.1 / 3, classes, 0.1) == "cat 70 %\ndog 30 %"
    assert caption(np.array([1, 0, 1], np.uint8), classes) == "cat, " + "x" * 22 + "…"
    assert caption(np.array([0, 0, 0], np.uint8), classes) == "no label"


def test_show_writes_a_picture(root, capsys, tmp_path):
    """Of names that matplotlib would take for formulas, good ones and broken ones."""
    (root / "train" / "$a_1$").rename(root / "train" / "$\\frac$")
    (root / "val" / "$a_1$").rename(root / "val" / "$\\frac$")
    output = tmp_path / "out.png"
    words = ["data", "show", "--data.root", str(root), "--data.input_size", "16", "--data.batch_size", "4",
             "--augment.mixup", "1"]
    assert main([*words, "-n", "3", "-o", str(output)]) == 0
    assert capsys.readouterr().out == f"wrote {output}\n"
    with Image.open(output) as picture:
        assert picture.format == "PNG" and picture.width > 1000 and len(np.unique(picture)) > 20
    for extra, said in ((["-o", "x.jpg"], "it ends in .png"), (["-n", "0"], "1 to 200"), (["-n", "201"], "1 to 200")):
        assert main([*words, *extra]) == 1
        assert said in capsys.readouterr().err
    assert main([*words, "-o", str(tmp_path / "gone" / "x.png")]) == 1 and not os.path.exists("data.png")


@pytest.mark.parametrize("argv, words", [
    (["stat"], "the action is 'stat'; did you mean 'stats'"), (["stats", "--data.rot", "x"], "data.root"),
    (["stats"], "data.root is not set"), (["check", "--data.root", "/nowhere"], "there is no data folder '/nowhere'"),
    (["stats", "--full"], "unknown option '--full'")])
def test_mistakes(argv, words, capsys):
    assert main(["data", *argv]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("argv, code", [([], 2), (["--help"], 0)])
def test_help(argv, code, capsys):
    with pytest.raises(SystemExit) as end:
        main(["data", *argv])
    said = capsys.readouterr().out
    assert end.value.code == code and all(f"  {name}" in said for name in ("stats", "show", "check"))


def test_twins_of_data_in_memory():
    source = open_source(DataConfig("embedded"), "val")
    doubled = source.subset(np.array([0, 1, 0]))
    assert stats.twins({"train": source.subset(np.arange(2, 9)), "val": doubled}) == [[("val", 0), ("val", 2)]]
