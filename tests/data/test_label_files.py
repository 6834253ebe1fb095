"""Label files: tables and JSON that name images and labels; whoever wrote them has no file read outside of the data."""
import json
import os

import numpy as np
import pytest
from PIL import Image

from ghost_ms.config import AugmentConfig, Config, DataConfig, LossConfig, ModelConfig
from ghost_ms.data import label_files
from ghost_ms.data.datasets import open_source
from ghost_ms.data.label_files import read_rows
from ghost_ms.data.transforms import Preprocessing
from tests.batches import evaluation_batches, training_batches

SPEC = Preprocessing((8, 8), 3, (0.0,) * 3, (1.0,) * 3, 1.0, "bilinear")


@pytest.fixture
def root(tmp_path):
    """img/0.png to img/5.png, of grey levels 0 to 50."""
    (tmp_path / "img").mkdir()
    for index in range(6):
        Image.new("RGB", (8, 8), (10 * index,) * 3).save(tmp_path / "img" / f"{index}.png")
    return tmp_path


def _open(root, split="train", **keys):
    for name, content in list(keys.items()):
        if name.endswith("_labels") and isinstance(content, tuple):
            ending, text = content
            keys[name] = f"{name}{ending}"
            (root / keys[name]).write_text(text, encoding="utf-8")
    config = DataConfig("label_file", str(root), **keys)
    config.validate()
    return open_source(config, split)


def _said(source):
    """[(file, names of its labels)]."""
    hot = source.labels if source.multi_label else np.eye(len(source.classes))[source.labels]
    return [(os.path.basename(path), [source.classes[place] for place in np.flatnonzero(row)])
            for path, row in zip(source.paths, hot)]


ONE = [("0.png", ["b"]), ("1.png", ["a 2"]), ("2.png", ["a 10"])]


@pytest.mark.parametrize("ending, text", [
    (".csv", "img/0.png,b\nimg/1.png,a 2\nimg/2.png,a 10\n"),
    (".csv", "path,label\r\nimg/0.png,b\r\n\r\nimg/1.png,a 2\r\nimg/2.png,a 10\r\n"),
    (".csv", "\ufeffClass,Sex,File_Name\nb,f,img/0.png\na 2,m,./img/1.png\na 10,f,img/../img/2.png"),
    (".csv", 'Dateiname,Rasse\n"img/0.png",b\n"img/1.png","a 2"\nimg/2.png,a 10'),
    (".tsv", "img/0.png\tb\nimg/1.png\ta 2\nimg/2.png\ta 10\n"),
    (".json", json.dumps([{"path": "img/0.png", "label": "b"}, {"image": "img/1.png", "labels": ["a 2"]},
                          {"File": "img/2.png", "class": "a 10", "more": {"x": [1]}}])),
    (".json", json.dumps({"img/0.png": "b", "img/1.png": "a 2", "img/2.png": ["a 10"]}))])
def test_forms(root, ending, text):
    source = _open(root, train_labels=(ending, text))
    assert source.classes == ["a 2", "a 10", "b"] and _said(source) == ONE and not source.multi_label
    assert source.labels.dtype == np.int32 and source.labels.tolist() == [2, 0, 1] and not source.notes
    assert source.name(1) == f"{root}/img/1.png" and source.key(1) == "img/1.png"
    with open(root / "img" / "1.png", "rb") as file:
        assert source.read(1) == file.read()


def test_lists_as_paddleclas_has_them(root):
    text = "img/0.png 1\nimg/1.png\t0\n\nimg/2.png 10\n"
    assert _said(_open(root, train_labels=(".txt", text))) == [("0.png", ["1"]), ("1.png", ["0"]), ("2.png", ["10"])]
    names = [f"class of {index}" for index in range(11)]
    source = _open(root, train_labels=(".txt", text), classes=names)
    assert source.labels.tolist() == [1, 0, 10] and source.classes == names
    assert source.notes == ["labels are numbers: they are taken for places in data.classes, 0 for 'class of 0'"]
    with pytest.raises(ValueError, match="has '1', '10', not among the 2 classes"):
        _open(root, train_labels=(".txt", text), classes=["0", "x"])
    with pytest.raises(ValueError, match="has '0', '1', '10', not among the 2 classes"):
        _open(root, train_labels=(".txt", text), classes=["x", "y"])


@pytest.mark.parametrize("ending, text", [
    (".csv", "path,labels\nimg/0.png,dog|cat\nimg/1.png, cat ; cat\nimg/2.png,\nimg/3.png,dog;"),
    (".json", json.dumps({"img/0.png": ["cat", "dog"], "img/1.png": "cat", "img/2.png": [], "img/3.png": "dog"}))])
def test_several_labels(root, ending, text):
    source = _open(root, train_labels=(ending, text))
    assert source.multi_label and source.labels.dtype == np.uint8 and source.classes == ["cat", "dog"]
    assert source.labels.tolist() == [[1, 1], [1, 0], [0, 0], [0, 1]] and source.counts().tolist() == [2, 2]
    place = "line 2" if ending == ".csv" else "entry 1"
    assert source.notes == [f"an image may have several labels or none: in {root}/train_labels{ending} 1 of 4 have "
                            f"several and 1 none (the first such is 'img/0.png', {place})"]
    mapped = source.relabelled([2, 0], ["dog", "bee", "cat"])
    assert mapped.labels.tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_both_splits_have_one_kind_of_labels_and_one_list_of_classes(root):
    keys = dict(train_labels=(".csv", "img/0.png,cat\nimg/1.png,dog"), val_labels=(".csv", "img/2.png,dog|cat"),
                test_labels=(".csv", "img/3.png,dog"))
    for split, labels in (("train", [[1, 0], [0, 1]]), ("val", [[1, 1]]), ("test", [[0, 1]])):
        source = _open(root, split, **keys)
        assert source.classes == ["cat", "dog"] and source.labels.tolist() == labels
    keys["val_labels"] = ".csv", "img/2.png,dog"
    assert _open(root, "val", **keys).labels.tolist() == [1], "a class may be absent there"
    keys["val_labels"] = ".csv", "img/2.png,zebra\nimg/3.png,dog"
    with pytest.raises(ValueError, match=r"val_labels.csv has 'zebra', not among the 2 classes \('cat', 'dog'\)"):
        _open(root, "val", **keys)
    # Alone, with the classes of a checkpoint.
    config = DataConfig("label_file", str(root), val_labels="test_labels.csv")
    assert open_source(config, "val", ["ant", "dog"]).labels.tolist() == [1]
    with pytest.raises(ValueError, match="data.train_labels is not set"):
        open_source(config, "train")
    with pytest.raises(ValueError, match="data.test_labels is not set"):
        open_source(config, "test")
    with pytest.raises(ValueError, match="data.val_labels is not set: .*, or set data.val_share 0.2"):
        open_source(DataConfig("label_file", str(root), train_labels="train_labels.csv"), "val")


def test_a_name_with_a_separator_in_it(root):
    text = "img/0.png,T-shirt|top\nimg/1.png,bag|hat"
    source = _open(root, train_labels=(".csv", text), classes=["T-shirt|top", "bag", "hat"])
    assert _said(source) == [("0.png", ["T-shirt|top"]), ("1.png", ["bag", "hat"])]


def test_a_share_is_held_out_of_a_label_file(root):
    text = "".join(f"img/{index}.png,{'ab'[index % 2]}\n" for index in range(6))
    train, val = (_open(root, split, train_labels=(".csv", text), val_share=0.3) for split in ("train", "val"))
    assert train.counts().tolist() == [2, 2] and val.counts().tolist() == [1, 1]
    assert sorted(_said(train) + _said(val)) == [(f"{index}.png", ["ab"[index % 2]]) for index in range(6)]
    # The rarest label of an image decides, whatever the order of the classes.
    text = "".join(f"img/{index}.png,{label}\n" for index, label in enumerate(("a", "a|b", "a|b", "a", "a|c", "a|c")))
    keys = dict(train_labels=(".csv", text), val_share=0.4)
    val, other = _open(root, "val", **keys), _open(root, "val", **keys, classes=["c", "a", "b"])
    assert val.counts().tolist() == [3, 1, 1] and val.paths == other.paths
    with pytest.raises(ValueError, match=r"has images to evaluate on of its own \(data.val_labels\)"):
        _open(root, "val", **keys, val_labels=(".csv", text))


def test_images_that_are_not_there_and_entries_that_repeat(root):
    lines = [f"img/{index}.png,a" for index in range(6)] + ["img/0.png,a", "./img//1.png, a ", "gone/x.png,b"]
    text = "\n".join(lines)
    source = _open(root, train_labels=(".csv", text), max_corrupt_share=0.2)
    assert source.size == 6 and source.classes == ["a", "b"] and source.notes == [
        f"2 entries of {root}/train_labels.csv repeat others and count once",
        f"1 of the 7 images that {root}/train_labels.csv names are not there: 'gone/x.png'; they are left out"]
    with pytest.raises(ValueError, match=r"'gone/x.png'; more than data.max_corrupt_share \(0.01\) allows; they are"):
        _open(root, train_labels=(".csv", text))
    with pytest.raises(ValueError, match="1 of the 7 images .* not there: 'gone/x.png'; images to evaluate on have"):
        _open(root, "val", train_labels=(".csv", text), val_labels=(".csv", text), max_corrupt_share=0.2)
    with pytest.raises(ValueError, match="'img/0.png' has 'a' in line 1 and 'b' in line 10; several labels of an"):
        _open(root, train_labels=(".csv", text + "\nimg/0.png,b"), max_corrupt_share=0.2)
    val = _open(root, "val", train_labels=(".csv", lines[0]), val_labels=(".csv", "\n".join(lines[:3])))
    assert val.notes == [f"of the images that {root}/val_labels.csv names, 1 are in {root}/train_labels.csv too, so "
                         "that what is measured on them says little of new ones: 'img/0.png'"]


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "img/../../secret.png", ".", "", "img/..",
                                  "a\0b.png"])
@pytest.mark.parametrize("form", ["csv", "json"])
def test_no_file_outside_of_the_data_set_is_read(root, path, form):
    (root.parent / "secret.png").write_bytes(b"secret")
    text = json.dumps({path: "a"}) if form == "json" else f"path,label\n{path},a\n"
    with pytest.raises(ValueError, match="does not lie in data.root|names no file|contains NUL") as raised:
        _open(root, train_labels=(f".{form}", text))
    assert str(raised.value).isprintable()


def test_a_name_that_no_file_can_have(root):
    with pytest.raises(ValueError, match="entry 1 of the label file names '.ud800.png', which does not lie") as raised:
        _open(root, train_labels=(".json", '{"\\ud800.png": "a"}'))
    assert str(raised.value).isprintable()


def test_absolute_paths_within_the_data_set(root, tmp_path_factory):
    link = tmp_path_factory.mktemp("links") / "data"
    link.symlink_to(root)
    for text in (f"{root}/img/0.png,a", f"{link}/img/0.png,a"):
        assert _open(link, train_labels=(".csv", text)).paths == [f"{link}/img/0.png"]
    (root / "elsewhere.csv").write_text(f"{root}/img/1.png,a")
    assert _open(root / "img", train_labels=str(root / "elsewhere.csv")).paths == [f"{root}/img/1.png"]


@pytest.mark.parametrize("name, text, words", [
    ("a.csv", "", "is empty"), ("a.csv", "\n \n", "is empty"), ("a.csv", "path,label\n", "is empty"),
    ("a.csv", "a.png\nb.png", "its columns .'a.png'. are not two"),
    ("a.csv", "a.png,x,y\nb.png,x,y", "its columns .*are not two, and no header calls one"),
    ("a.csv", "path,label\na.png", "line 2 has 1 columns and the first line 2"),
    ("a.csv", "a.png,b\nc.png,d,e", "line 2 has 3 columns"), ("a.csv", 'a.png,b\n"c.png"x,d', "cannot be used: "),
    ("a.csv", 'a.png,b\n"c.png,d', "cannot be used: "), ("a.csv", "a.png,b\n,d", "line 2 names no file"),
    ("a.csv", "a.png," + "x" * 200000, "line 1 has a name of more than 1000 char|field larger"),
    ("a.json", "[", "cannot be used: "), ("a.json", "3", "neither a list nor a mapping"), ("a.json", "{}", "is empty"),
    ("a.json", '{"a.png": "x", "a.png": "y"}', "names 'a.png' twice"), ("a.json", '{"a.png": null}', "neither a word"),
    ("a.json", '{"a.png": 1.5}', "it holds 1.5, and labels are"), ("a.json", '{"a.png": NaN}', "it holds NaN"),
    ("a.json", '{"a.png": {"b": "c"}}', "neither a word"), ("a.json", '{"a.png": [["b"]]}', "neither a word"),
    ("a.json", '[{"label": "x"}]', "entry 1 has no 'path'"), ("a.json", '[{"path": "a.png"}]', "entry 1 has no 'pa"),
    ("a.json", '["a.png"]', "entry 1 has no"), ("a.json", '{"a.png": true}', "neither a word"),
    ("a.json", "[" * 100000, "cannot be used: "),
    ("a.json", '{"a.png": ' + "[" * 100000 + "]" * 100000 + "}", "cannot be used"),
    ("a.txt", "a.png", "line 1 names no file"), ("a.xls", "a.png,b", "ends in none of .csv, .tsv, .txt, .json")])
def test_what_is_no_label_file(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=words) as raised:
        read_rows(str(tmp_path / name))
    assert name in str(raised.value) and len(str(raised.value)) < 1000


def test_files_of_any_size_kind_and_bytes(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text('{"a.png": ' + "9" * 5_000_000 + "}")
    with pytest.raises(ValueError, match="entry 1 has a name of more than 1000 characters"):
        read_rows(str(path))
    monkeypatch.setitem(label_files.MOST_BYTES, ".json", 1000)
    with pytest.raises(ValueError, match="more than 1,000 bytes"):
        read_rows(str(path))
    path = tmp_path / "b.csv"
    path.write_bytes(b"a.png,\xff")
    with pytest.raises(ValueError, match="no text in UTF-8"):
        read_rows(str(path))
    os.mkfifo(tmp_path / "c.csv")
    with pytest.raises(ValueError, match="no file of text"):
        read_rows(str(tmp_path / "c.csv"))
    with pytest.raises(FileNotFoundError):
        read_rows(str(tmp_path / "d.csv"))


def test_more_labels_than_fit(root, monkeypatch):
    monkeypatch.setattr(label_files, "MOST_CELLS", 3)
    with pytest.raises(ValueError, match="2 images that may have several of 2 labels each, which is more than fits"):
        _open(root, train_labels=(".csv", "img/0.png,a|b\nimg/1.png,a"))


def test_keys_belong_to_their_data_set(root):
    with pytest.raises(ValueError, match="data.val_labels needs data.dataset label_file or coco, not image_folder"):
        DataConfig("image_folder", val_labels="x.csv").validate()
    with pytest.raises(ValueError, match="has no labels"):
        _open(root, train_labels=(".csv", "path,label\nimg/0.png,"))


def _config(root, **augment):
    return Config(model=ModelConfig(num_classes=4), loss=LossConfig("binary_cross_entropy", label_smoothing=0.1),
                  data=DataConfig("label_file", str(root), batch_size=3, eval_batch_size=4, workers=1,
                                  train_labels="train_labels.csv"),
                  augment=AugmentConfig(horizontal_flip=0, scale=(1, 1), ratio=(1, 1), **augment))


def test_batches_of_several_labels(root):
    """Targets for each of the four logits, smoothed; mixed as the images are."""
    sets = ["a", "a|b", "", "c", "b", "a|c"]
    text = "".join(f"img/{index}.png,{labels}\n" for index, labels in enumerate(sets))
    source = _open(root, train_labels=(".csv", text))
    wanted = np.array([[name in labels for name in "abc"] + [False] for labels in sets], np.float32)
    config = _config(root)
    for images, targets in training_batches(source, config, SPEC, 0):
        order = images.asnumpy()[:, 0, 0, 0] // 10
        assert targets.asnumpy().dtype == np.float32
        np.testing.assert_allclose(targets.asnumpy(), wanted[order] * 0.9 + 0.025, atol=1e-6)
    found = list(evaluation_batches(source, config, SPEC))
    assert [len(images) for images, _ in found] == [4, 4] and found[0][1].dtype == np.uint8
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in found]), wanted[:, :3])
    batches = training_batches(source, _config(root, mixup=1.0), SPEC, 0)
    for step, (images, targets) in enumerate(batches):
        # The grey level is mixed with the same shares as the targets.
        own, levels = batches.order[batches.places(step)], images.asnumpy()[:, 0, 0, 0] * 25.5
        share = (levels[0] - own[2]) / (own[0] - own[2])
        assert 0 < share < 1
        mixed = share * wanted[own] + (1 - share) * wanted[own[::-1]]
        np.testing.assert_allclose(targets.asnumpy(), mixed * 0.9 + 0.025, atol=1e-4)
