"""`ghost-ms infer`: folders, patterns, files of results, and what becomes of the good images where one is bad."""
import csv
import json
import pathlib

import mindspore as ms
import numpy as np
import pytest

from ghost_ms.cli import main
from ghost_ms.runtime.sidecar import Sidecar
from ghost_ms.runtime.signature import ExportSignature
from ghost_ms.tasks.classification.task import Classification
from ghost_ms.tasks.predict import BATCH, Predictor
from tests.cli import photos
from tests.tiny import registered


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """(folder, network, preprocessing): photos/ has 20 pictures, two of them in a folder below, and a broken one."""
    folder = tmp_path_factory.mktemp("project")
    with registered():
        net, spec = photos.make(folder)
    for index in range(20):
        photos.picture(folder / "photos" / ("sub" if index < 2 else "") / f"{index:02}.png", index)
    (folder / "photos" / "bad\x1b[31m.png").write_text("hello")
    return folder, net, spec


@pytest.fixture
def here(project, monkeypatch):
    monkeypatch.chdir(project[0])
    with registered():
        yield project


def _shares(project, path):
    logits = project[1](ms.Tensor(project[2](pathlib.Path(path).read_bytes())[None])).asnumpy()[0].astype(np.float64)
    return np.exp(logits) / np.exp(logits).sum()


def test_a_bad_image_and_a_missing_one_cost_no_other(here, capsys):
    """More images than a call takes, of which the last call is not full; each as if it were alone."""
    assert main(["infer", "--ckpt", "tiny.ckpt", "photos/*.png", "photos/sub/01.png", "nowhere.jpg", "--json"]) == 1
    streams = capsys.readouterr()
    found = json.loads(streams.out)
    assert [one["image"] for one in found] == [f"photos/{index:02}.png" for index in range(2, 20)] + [
        "photos/sub/01.png"]
    assert len(found) > BATCH
    for one in found:
        shares = _shares(here, one["image"])
        assert [p["class"] for p in one["predictions"]] == [photos.CLASSES[place] for place in np.argsort(-shares)]
        assert [p["probability"] for p in one["predictions"]] == pytest.approx(np.sort(shares)[::-1], abs=1e-6)
    said = [line for line in streams.err.splitlines() if line.startswith("ghost-ms: error: ")]
    assert len(said) == 2 and "nowhere.jpg" in said[0] and "bad\\x1b[31m.png' is not a readable image" in said[1]


def test_patterns_that_no_shell_has_filled_in(here, capsys):
    for words, count in ((["photos/**/0*.png"], 10), (["photos/[0]5.png", "photos/1?.png"], 11)):
        assert main(["infer", "--ckpt", "tiny.ckpt", *words, "--top", "1"]) == 0
        assert capsys.readouterr().out.count("%") == count
    photos.picture(pathlib.Path("a[1].png"), 0)
    assert main(["infer", "--ckpt", "tiny.ckpt", "a[1].png", "--top", "1"]) == 0
    assert capsys.readouterr().out.startswith("a[1].png\n")


def test_results_go_into_a_file(here, tmp_path, capsys):
    assert main(["infer", "--ckpt", "tiny.ckpt", "photos/0[2-4].png", "-o", str(tmp_path / "r.csv"), "--top", "2"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/r.csv: 3 images\n"
    with open(tmp_path / "r.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "predicted", "probability", "predicted_2", "probability_2"]
    assert [row[0] for row in rows] == ["photos/02.png", "photos/03.png", "photos/04.png"]
    shares = _shares(here, "photos/03.png")
    assert rows[1][1] == photos.CLASSES[shares.argmax()] and float(rows[1][2]) == pytest.approx(shares.max(), abs=1e-5)
    assert main(["infer", "--ckpt", "tiny.ckpt", "photos/0[2-4].png", "-o", str(tmp_path / "r.json")]) == 0
    assert [one["image"] for one in json.loads((tmp_path / "r.json").read_text())] == [row[0] for row in rows]


def test_nothing_but_bad_images_is_no_file(here, tmp_path, capsys):
    bad = "photos/bad\x1b[31m.png"
    assert main(["infer", "--ckpt", "tiny.ckpt", bad, "-o", str(tmp_path / "r.csv")]) == 1
    assert list(tmp_path.iterdir()) == [] and capsys.readouterr().out == ""
    assert main(["infer", "--ckpt", "tiny.ckpt", bad, "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == []
    assert main(["infer", "--ckpt", "tiny.ckpt", *(f"{name}.png" for name in "vwxyz")]) == 1
    assert capsys.readouterr().err.strip().endswith("no image 'x.png'; and 2 more such")


@pytest.mark.parametrize("argv, words", [
    ([], "name at least one image"), (["x.png", "--top", "0"], "--top is 0"),
    (["photos/02.png", "-o", "r.txt"], "--output is 'r.txt'"), (["photos/02.png", "-o", "/proc/r.csv"], "cannot write"),
    (["photos/02.png", "--file", "x.onnx", "--ckpt", "x.ckpt"], "leave out --ckpt")])
def test_bad_input(here, argv, words, capsys):
    if "--ckpt" not in argv:
        argv = [*argv, "--ckpt", "tiny.ckpt"]
    assert main(["infer", *argv]) == 1
    assert words in capsys.readouterr().err


def test_an_output_that_says_nothing_costs_no_other_image(here, monkeypatch, capsys):
    result = Classification.result

    def fail(self, outputs, spec, asked):
        if "03.png" in asked.whose:
            raise ValueError(f"{asked.whose} gives no numbers")
        return result(self, outputs, spec, asked)

    monkeypatch.setattr(Classification, "result", fail)
    assert main(["infer", "--ckpt", "tiny.ckpt", "photos/0[2-4].png", "--json", "--kernels", "off"]) == 1
    streams = capsys.readouterr()
    assert [one["image"] for one in json.loads(streams.out)] == ["photos/02.png", "photos/04.png"]
    assert streams.err == "ghost-ms: error: for 'photos/03.png' the network gives no numbers\n"


@pytest.mark.parametrize("batch_size, size, calls", [(0, BATCH, 3), (1, 1, 34), (5, 5, 7)])
def test_every_call_takes_equally_many_images(here, batch_size, size, calls):
    """Of a file whose batch is fixed, that many. What is said of an image does not depend on the others."""
    shapes = []

    def run(images):
        shapes.append(images.shape)
        return images.mean((2, 3)) @ np.array([[1, 2, 3, 4], [4, 3, 2, 1], [1, 3, 2, 4]], np.float32)

    classifier = Predictor(run, Sidecar(here[2], photos.CLASSES, ExportSignature(), batch_size))
    paths = [f"photos/{index:02}.png" for index in range(2, 19)] * 2
    paths[20] = "photos/bad\x1b[31m.png"
    found = list(classifier.each(paths, 4))
    assert shapes == [(size, 3, *photos.SIZE)] * (calls - (size == 1))
    assert isinstance(found.pop(20), ValueError) and "bad" in paths.pop(20)
    assert [one["image"] for one in found] == paths
    for one, path in zip(found, paths):
        alone = classifier(path, 4)
        assert [p["class"] for p in one["predictions"]] == [p["class"] for p in alone["predictions"]]
        assert [p["probability"] for p in one["predictions"]] == pytest.approx(
            [p["probability"] for p in alone["predictions"]])
