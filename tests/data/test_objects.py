"""Readers of images with boxes: three layouts with one content, and each fault a sentence that names file and entry."""
import json
import os

import numpy as np
import pytest
from PIL import Image

from ghost_ms.config import DataConfig
from ghost_ms.data import canvas, coco
from ghost_ms.data.check import check_split
from ghost_ms.data.objects import open_objects, splits_of

SIZE = (60, 40)
#: Of each image name, class and box (left, top, right, bottom).
CONTENT = {"a": [("cat", (5, 6, 25, 30)), ("dog", (30, 2, 58, 38))], "b": [], "c": [("dog", (0, 0, 60, 40))]}
CLASSES = ["cat", "dog"]


def _image(path, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path)


def _coco(folder, split="train", **changes):
    for name in CONTENT:
        _image(folder / f"{split}2017" / f"{name}.jpg")
    numbers = {name: 3 * place + 2 for place, name in enumerate(CONTENT)}
    content = {
        "images": [{"id": numbers[name], "file_name": f"{name}.jpg", "width": SIZE[0], "height": SIZE[1]}
                   for name in CONTENT],
        # Ids with holes.
        "categories": [{"id": 90, "name": "dog"}, {"id": 7, "name": "cat"}],
        "annotations": [{"id": 100 + place, "image_id": numbers[name], "category_id": {"cat": 7, "dog": 90}[kind],
                         "bbox": [left, top, right - left, bottom - top], "area": 12.5, "iscrowd": 0}
                        for place, (name, kind, (left, top, right, bottom)) in enumerate(
                            (name, *one) for name, own in CONTENT.items() for one in own)]}
    for key, change in changes.items():
        change(content[key])
    path = folder / "annotations" / f"instances_{split}2017.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def _voc(folder, extra=""):
    for name, own in CONTENT.items():
        _image(folder / "JPEGImages" / f"{name}.jpg")
        objects = "".join(f"<object><name>{kind}</name><difficult>{int(kind == 'cat')}</difficult><bndbox>"
                          f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
                          "</bndbox></object>" for kind, (left, top, right, bottom) in own)
        (folder / "Annotations").mkdir(exist_ok=True)
        (folder / "Annotations" / f"{name}.xml").write_text(
            f"<?xml version='1.0'?><annotation><size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></size>{objects}"
            f"{extra if name == 'a' else ''}</annotation>")
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "train.txt").write_text("a\nb\nc\n")


def _yolo(folder):
    for name, own in CONTENT.items():
        _image(folder / "images" / "train" / f"{name}.png")
        lines = [f"{CLASSES.index(kind)} {(left + right) / 2 / 60} {(top + bottom) / 2 / 40} {(right - left) / 60} "
                 f"{(bottom - top) / 40}\n" for kind, (left, top, right, bottom) in own]
        (folder / "labels" / "train").mkdir(parents=True, exist_ok=True)
        if own:
            (folder / "labels" / "train" / f"{name}.txt").write_text("".join(lines))


def _config(folder, dataset, **keys):
    return DataConfig(dataset=dataset, root=str(folder), **keys)


@pytest.mark.parametrize("dataset, write, keys", [("coco", _coco, {}), ("voc", _voc, {}),
                                                  ("yolo", _yolo, {"classes": CLASSES})])
def test_three_layouts_with_one_content(dataset, write, keys, tmp_path):
    write(tmp_path)
    config = _config(tmp_path, dataset, **keys)
    source = open_objects(config, "train")
    # VOC's twenty, where all classes that occur are among them.
    assert source.classes == CLASSES or dataset == "voc" and len(source.classes) == 20
    assert splits_of(config) == ["train"] and source.size == 3
    check_split(source, "train", config)
    for sample in range(3):
        name = os.path.splitext(os.path.basename(source.paths[sample]))[0]
        found = source.target(sample)
        assert [source.classes[label] for label in found.labels] == [kind for kind, _ in CONTENT[name]]
        np.testing.assert_allclose(found.boxes, np.array([box for _, box in CONTENT[name]]).reshape(-1, 4), atol=1e-6)
    first = source.target(0)
    assert first.areas.tolist() == ([12.5, 12.5] if dataset == "coco" else pytest.approx([480, 1008]))
    assert first.crowd.tolist() == [dataset == "voc", False]
    notes = " ".join(source.notes)
    assert ("1 of 3 images" in notes and "without objects" in notes) == (dataset == "yolo")
    assert ("1 crowds or difficult objects" in notes) == (dataset == "voc")
    other = open_objects(config, "train", ["bird", "dog", "cat"])
    assert other.classes == ["bird", "dog", "cat"] and other.target(0).labels.tolist() == [2, 1]
    with pytest.raises(ValueError, match="dog"):
        open_objects(config, "train", ["cat", "bird"])
    with pytest.raises(FileNotFoundError, match=f"no split val of {dataset}, only train; data.val_share"):
        open_objects(config, "val")


def test_the_canvas_is_the_same_as_written_files(tmp_path, monkeypatch):
    monkeypatch.setattr(canvas, "SIZES", {"train": 6, "val": 13})
    own = open_objects(DataConfig(dataset="fashion_canvas"), "val")
    for layout, write in canvas.LAYOUTS.items():
        write(str(tmp_path / layout))
        config = _config(tmp_path / layout, layout)
        read = open_objects(config, "val")
        check_split(read, "val", config)
        assert read.classes == own.classes and read.size == 13 and not read.notes
        for sample in range(13):
            one, other = own.target(sample), read.target(sample)
            np.testing.assert_array_equal(one.boxes, other.boxes)
            np.testing.assert_array_equal(one.labels, other.labels)
    assert len(own.target(11).labels) == 0


def _set(place, **values):
    return lambda entries: entries[place].update(values)


@pytest.mark.parametrize("changes, words", [
    (dict(annotations=_set(1, category_id=8)),
     "annotation 101, has the category_id 8, which no category has .'7', '90'"),
    (dict(annotations=_set(0, bbox=[5, 6, -2, 4])), "annotation 100, has a box of negative extent: width -2, height 4"),
    (dict(annotations=_set(0, bbox=[5, 6, 2])), "annotation 100, has no bbox of four numbers"),
    (dict(annotations=_set(0, bbox=[5, 6, 2, "3"])), "annotation 100, has no bbox of four numbers"),
    (dict(annotations=_set(0, bbox=[5, 6, 2, 1e300])), "annotation 100, has no bbox of four numbers"),
    (dict(annotations=_set(2, image_id=99)), "annotation 102, is of the image_id 99, which no image has"),
    (dict(annotations=_set(0, image_id=[1])), "annotation 100, is of the image_id"),
    (dict(images=_set(1, id=2)), "image b.jpg, has the id 2, which another image has"),
    (dict(images=_set(1, id="x")), "image b.jpg, id, is x, and has to be a whole number"),
    (dict(images=_set(1, file_name="../b.jpg")), "has no file_name below the folder of the images"),
    (dict(images=_set(1, file_name="/etc/passwd")), "has no file_name below the folder of the images"),
    (dict(images=_set(1, width=-3)), "image b.jpg, has the width -3"),
    (dict(images=list.clear), "names no image"),
    (dict(categories=_set(1, name="dog")), "no categories with an id and a name each, all different"),
    (dict(categories=_set(1, name=None)), "no categories with an id and a name each"),
])
def test_faults_of_a_coco_file_name_the_entry(changes, words, tmp_path):
    path = _coco(tmp_path, **changes)
    with pytest.raises(ValueError, match=words) as error:
        open_objects(_config(tmp_path, "coco"), "train")
    assert str(path) in str(error.value)


@pytest.mark.parametrize("text", ["", "[1, 2]", "{}", '{"images": [1], "annotations": [], "categories": []}', "{" * 50,
                                  '{"images": [{"id": NaN}]}', "[" * 100000])
def test_files_that_are_no_annotations(text, tmp_path):
    path = _coco(tmp_path)
    path.write_text(text)
    with pytest.raises(ValueError, match="is no JSON|is no annotation file of COCO"):
        open_objects(_config(tmp_path, "coco"), "train")


def test_two_files_of_one_split_and_files_by_name(tmp_path):
    path = _coco(tmp_path)
    other = path.with_name("instances_train.json")
    other.write_text(path.read_text())
    with pytest.raises(ValueError, match="two annotation files of the split train, .* with data.train_labels"):
        open_objects(_config(tmp_path, "coco"), "train")
    config = _config(tmp_path, "coco", train_labels="annotations/instances_train2017.json",
                     val_labels="annotations/instances_train.json")
    assert open_objects(config, "train").size == 3
    with pytest.raises(FileNotFoundError, match="no file .*none.json. .data.val_labels"):
        open_objects(_config(tmp_path, "coco", val_labels="none.json"), "val")


def test_images_that_are_missing_or_of_another_size(tmp_path):
    _coco(tmp_path)
    config = _config(tmp_path, "coco")
    _image(tmp_path / "train2017" / "b.jpg", (50, 40))
    (tmp_path / "train2017" / "c.jpg").unlink()
    with pytest.raises(ValueError) as error:
        check_split(open_objects(config, "train"), "train", DataConfig(max_corrupt_share=1.0))
    assert "b.jpg' has 50x40 pixels, and its annotations are of an image of 60x40" in str(error.value)
    assert "c.jpg', which the annotations name" in str(error.value)
    for name in CONTENT:
        (tmp_path / "train2017" / f"{name}.jpg").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match="names the image 'a.jpg', which is in none of"):
        open_objects(config, "train")


def test_boxes_that_training_passes_over_are_counted(tmp_path):
    _coco(tmp_path, annotations=lambda entries: (entries[0].update(bbox=[5, 6, 0, 4]),
                                                 entries[1].update(bbox=[40, 2, 60, 10]), entries[2].update(iscrowd=1)))
    notes = open_objects(_config(tmp_path, "coco"), "train").notes
    assert len(notes) == 3 and "1 boxes of no width or height" in notes[0] and "1 boxes reach beyond" in notes[1]
    assert "1 crowds" in notes[2]


def test_a_large_file_is_kept_as_arrays_until_it_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("GHOST_MS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(coco, "KEPT_FROM", 0)
    path = _coco(tmp_path)
    first = coco.read(str(path))
    monkeypatch.setattr(coco, "_parse", lambda path: pytest.fail("read anew"))
    again = coco.read(str(path))
    assert again.classes == first.classes and again.files == first.files
    for one, other in zip(again.table, first.table):
        np.testing.assert_array_equal(one, other)
    kept, = (tmp_path / "home" / "annotations").iterdir()
    kept.write_bytes(b"PK damaged")
    monkeypatch.undo()
    monkeypatch.setenv("GHOST_MS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(coco, "KEPT_FROM", 0)
    assert coco.read(str(path)).files == first.files


@pytest.mark.parametrize("extra, words", [
    ("<object><name></name></object>", "a.xml', object 3 has no name of a class"),
    ("<object><name>cat</name><bndbox><xmin>9</xmin><ymin>1</ymin><xmax>4</xmax><ymax>8</ymax></bndbox></object>",
     "object 3 has a box of negative extent"),
    ("<object><name>cat</name><bndbox><xmin>9</xmin></bndbox></object>", "object 3, bndbox, ymin, is no number"),
    ("<object><name>cat</name><bndbox><xmin>nan</xmin><ymin>1</ymin><xmax>4</xmax><ymax>8</ymax></bndbox></object>",
     "bndbox, xmin, is nan, which cannot be"), ("<object>", "is no XML"),
    ("<!DOCTYPE x [<!ENTITY e 'e'>]>", "declares entities, which no annotation needs")])
def test_faults_of_a_voc_file(extra, words, tmp_path):
    _voc(tmp_path, extra)
    with pytest.raises(ValueError, match=words):
        open_objects(_config(tmp_path, "voc"), "train")


def test_classes_of_a_voc_set(tmp_path):
    _voc(tmp_path, "<object><name>Tree</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>8</ymax></bndbox>"
                   "</object>")
    found = open_objects(_config(tmp_path, "voc"), "train")
    assert found.classes == ["cat", "dog", "Tree"] and "the classes are those of the annotations" in found.notes[0]
    with pytest.raises(ValueError, match="a.xml' has a box of the class 'Tree', which is not among the classes"):
        open_objects(_config(tmp_path, "voc", classes=CLASSES), "train")
    (tmp_path / "Annotations" / "b.xml").unlink()
    with pytest.raises(ValueError, match="no file .*b.xml', which a list of images names"):
        open_objects(_config(tmp_path, "voc"), "train")


@pytest.mark.parametrize("line, words", [
    ("2 0.5 0.5 0.1 0.1", "line 1, has the class 2, and there are 2, 0 to 1"),
    ("cat 0.5 0.5 0.1 0.1", "line 1, is no class and numbers"), ("0 0.5 0.5 0.1", "line 1, has 3 numbers behind"),
    ("0 0.5 0.5 -0.1 0.1", "line 1, has a box of negative extent"), ("0 0.5 nan 0.1 0.1", "numbers that are no parts"),
    ("0 300 200 50 50", "numbers that are no parts of an image")])
def test_faults_of_a_yolo_file(line, words, tmp_path):
    _yolo(tmp_path)
    (tmp_path / "labels" / "train" / "a.txt").write_text(line + "\n")
    with pytest.raises(ValueError, match=words):
        open_objects(_config(tmp_path, "yolo", classes=CLASSES), "train")


def test_a_yolo_set_without_partners_or_classes_and_with_polygons(tmp_path):
    _yolo(tmp_path)
    with pytest.raises(ValueError, match="data.classes is not set"):
        open_objects(_config(tmp_path, "yolo"), "train")
    (tmp_path / "labels" / "train" / "a.txt").write_text("1 0.1 0.2 0.5 0.2 0.3 0.8\n")
    found = open_objects(_config(tmp_path, "yolo", classes=CLASSES), "train").target(0)
    np.testing.assert_allclose(found.boxes, [[6, 8, 30, 32]])
    (tmp_path / "labels" / "train" / "z.txt").write_text("")
    with pytest.raises(ValueError, match="z.txt' has no image of the same name"):
        open_objects(_config(tmp_path, "yolo", classes=CLASSES), "train")


def test_a_share_is_held_out(tmp_path):
    for number in range(10):
        _image(tmp_path / "images" / f"{number}.png")
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{number}.txt").write_text(f"{number % 2} 0.5 0.5 0.{number}1 0.2\n")
    config = _config(tmp_path, "yolo", classes=CLASSES, val_share=0.3)
    parts = [open_objects(config, split) for split in ("train", "val")]
    assert [part.size for part in parts] == [7, 3] and splits_of(config) == ["train", "val"]
    for part in parts:
        for sample in range(part.size):
            number = int(os.path.basename(part.paths[sample])[0])
            width = np.diff(part.target(sample).boxes[0, [0, 2]])
            assert width == pytest.approx(60 * float(f"0.{number}1"))
