"""Predictions and the measures made of them, by hand; outputs that say nothing are refused."""
import csv
import json

import numpy as np
import pytest
from PIL import Image

from ghost_ms.tasks.classification import judge, measures
from ghost_ms.tasks.predict import write_predictions
from ghost_ms.tasks.registry import create_task

LABELS = np.array([0, 0, 1, 1, 2], np.int32)
SHARES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3], [0.9, 0.05, 0.05], [0.4, 0.3, 0.3]])
CLASSES = ["ant", "bee", "cow"]


def _same(images):
    return images


def _write_predictions(path, found, facts=None):
    write_predictions(path, create_task("classification"), found, facts)


def _judged(outputs=None, labels=LABELS, classes=CLASSES, **more):
    """Two batches: the second is filled up by one image, which does not count."""
    outputs = np.log(SHARES) if outputs is None else outputs
    batches = [(outputs[:3], labels[:3]), (np.concatenate([outputs[3:], outputs[-1:]]), labels[3:])]
    return judge.judge(_same, batches, classes, **more)


@pytest.mark.parametrize("outputs, more", [(None, {}), (SHARES, {"probabilities": True}),
                                           (2 * SHARES, {"probabilities": True})])
def test_predictions_by_hand(outputs, more):
    judged = _judged(outputs, **more)
    assert judged.predicted.tolist() == [0, 1, 1, 0, 0] and judged.top.tolist()[2] == [1, 2, 0]
    np.testing.assert_allclose(judged.confidence, [0.7, 0.8, 0.5, 0.9, 0.4])
    np.testing.assert_allclose(judged.loss, -np.log([0.7, 0.1, 0.5, 0.05, 0.3]))
    assert (judged.top1, judged.top5) == (40, 100) and judged.mean_loss == pytest.approx(judged.loss.mean())
    assert judged.confusion.tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 0]]
    assert judged.worst(2) == [3, 1] and judged.worst(9) == [3, 1, 4]
    assert judged.confused(2) == [("ant", "bee", 1), ("bee", "ant", 1)]


def test_precision_recall_and_f1_by_hand():
    """Of ant, 3 were predicted and 1 is right; of bee 2 and 1; cow was never predicted."""
    found = _judged().by_class()
    np.testing.assert_allclose(found.precision, [1 / 3, 1 / 2, 0])
    np.testing.assert_allclose(found.recall, [1 / 2, 1 / 2, 0])
    np.testing.assert_allclose(found.f1, [2 / 5, 1 / 2, 0])
    np.testing.assert_allclose(found.average(weighted=False), [5 / 18, 1 / 3, 3 / 10])
    np.testing.assert_allclose(found.average(weighted=True), [1 / 3, 2 / 5, 9 / 25])


def test_outputs_beyond_the_classes_of_the_data():
    """A network of 300 classes on data of two: what it takes for another class counts as such."""
    outputs = np.zeros((3, 300))
    outputs[[0, 1, 2], [0, 250, 1]] = 5
    judged = judge.judge(_same, [(outputs, np.array([0, 0, 1]))], ["ant", "bee"])
    assert judged.shown == [0, 1, 250] and judged.classes[250] == "class 250"
    assert judged.confusion.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert judged.confused(9) == [("ant", "class 250", 1)] and judged.top1 == pytest.approx(200 / 3)
    found = judged.by_class()
    assert found.places.tolist() == [0, 1, 250] and found.recall.tolist() == [0.5, 1, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("probabilities", [False, True])
def test_outputs_that_are_no_numbers_name_the_image(value, probabilities):
    outputs = SHARES.copy()
    outputs[4, 1] = value
    with pytest.raises(ValueError, match="file 4.*finite"):
        _judged(outputs, probabilities=probabilities, name="file {}".format)


@pytest.mark.parametrize("outputs, words", [
    (np.zeros((5, 2)), "tells 2 classes apart, and the data has 3"), (np.zeros((5, 3, 1)), r"the shape \(3, 3, 1\)"),
    (np.zeros(5), r"the shape \(3,\)")])
def test_outputs_of_another_shape_are_refused(outputs, words):
    with pytest.raises(ValueError, match=words):
        _judged(outputs)


def test_fewer_outputs_than_images_and_no_image_at_all():
    with pytest.raises(ValueError, match="one row of logits or probabilities for each image"):
        judge.judge(lambda images: images[:1], [(SHARES, LABELS)], CLASSES)
    with pytest.raises(ValueError, match="no image"):
        judge.judge(_same, [], CLASSES)


def test_a_probability_that_rounds_to_zero_costs_a_finite_loss():
    judged = judge.judge(_same, [(np.array([[1.0, 0.0]], np.float32), np.array([1]))], ["ant", "bee"],
                         probabilities=True)
    assert 100 < judged.mean_loss < 110


def test_tables_in_percent():
    rows = measures.class_rows(_judged(classes=["ant", "b\x1b[31mee", "cow"]))
    assert rows[1:4] == [["ant", "2", "33.33", "50.00", "40.00"], ["b\\x1b[31mee", "2", "50.00", "50.00", "50.00"],
                         ["cow", "1", "0.00", "0.00", "0.00"]]
    assert [row[1:] for row in rows[4:]] == [["5", "27.78", "33.33", "30.00"], ["5", "33.33", "40.00", "36.00"]]


def test_the_confusion_matrix_as_text_csv_and_picture(tmp_path):
    judged = _judged(classes=["ant", "bee, $x$", "c$o$w"])
    lines = [line.split() for line in measures.confusion_text(judged).splitlines()[1:]]
    assert lines[0] == ["0", "1", "2"] and lines[1] == ["0:", "ant", "1", "1", "0"]
    measures.write_confusion(str(tmp_path / "m.csv"), judged)
    with open(tmp_path / "m.csv", newline="") as file:
        assert list(csv.reader(file)) == [["true \\ predicted", "ant", "bee, $x$", "c$o$w"], ["ant", "1", "1", "0"],
                                          ["bee, $x$", "1", "1", "0"], ["c$o$w", "1", "0", "0"]]
    measures.write_confusion(str(tmp_path / "m.png"), judged)
    with Image.open(tmp_path / "m.png") as picture:
        assert min(picture.size) > 300 and np.asarray(picture).std() > 10


def test_many_classes_are_told_by_their_confusions(tmp_path):
    labels = np.arange(100)
    outputs = np.eye(100)
    outputs[7], outputs[8] = outputs[9], outputs[9]
    judged = judge.judge(_same, [(outputs, labels)], [f"name {label}" for label in labels])
    lines = measures.confusion_text(judged).splitlines()
    assert "100 classes" in lines[0] and [line.split()[:5] for line in lines[2:]] == [
        ["name", "7", "name", "9", "1"], ["name", "8", "name", "9", "1"]]
    measures.write_confusion(str(tmp_path / "m.png"), judged)
    assert (tmp_path / "m.png").stat().st_size > 1000


def test_predictions_as_csv_and_json(tmp_path):
    """Bytes of a file's name that are no text come out of the table as they went in."""
    judged = _judged()
    found = list(measures.results(judged, ["a,\"b\".png", "b\udcff.png", "c\n.png", "d.png", "e.png"].__getitem__))
    assert found[1]["true"] == "ant" and found[1]["predictions"][0] == {
        "class": "bee", "index": 1, "probability": pytest.approx(0.8)}
    _write_predictions(str(tmp_path / "p.csv"), found)
    assert b"\nb\xff.png,ant,bee,0.8,ant,0.1,cow,0.1\n" in (tmp_path / "p.csv").read_bytes()
    with open(tmp_path / "p.csv", newline="", errors="surrogateescape") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "true", "predicted", "probability", "predicted_2", "probability_2", "predicted_3",
                       "probability_3"]
    assert [row[0] for row in rows[1:]] == [one["image"] for one in found]
    _write_predictions(str(tmp_path / "p.json"), found, {"model": "tiny", **measures.as_dict(judged)})
    content = json.loads((tmp_path / "p.json").read_text())
    assert content["predictions"] == found and content["top1"] == 40 and content["macro"]["f1"] == pytest.approx(30)
    assert content["classes"][0] == {"class": "ant", "images": 2, "precision": pytest.approx(100 / 3), "recall": 50,
                                     "f1": pytest.approx(40)}
    assert content["confusion"] == {"classes": CLASSES, "images": [[1, 1, 0], [1, 1, 0], [1, 0, 0]]}
    with pytest.raises(ValueError, match="ends in .csv or .json"):
        _write_predictions(str(tmp_path / "p.txt"), found)


def test_fewer_predictions_than_others_and_half_a_character(tmp_path):
    """Results of a threshold have as many classes as pass it; a name out of JSON can hold half a character."""
    found = [{"image": "a", "predictions": [{"class": "x\ud800", "index": 0, "probability": 0.5}] * count}
             for count in (2, 0, 1)]
    _write_predictions(str(tmp_path / "p.csv"), found)
    assert (tmp_path / "p.csv").read_text().splitlines() == [
        "path,predicted,probability,predicted_2,probability_2", "a,x\\ud800,0.5,x\\ud800,0.5", "a,,,,",
        "a,x\\ud800,0.5,,"]
