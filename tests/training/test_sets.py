"""A training on images that may have several labels, from the label file to what `eval` says of its checkpoint."""
import csv
import json
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from ghost_ms.checkpoints.checkpoint import read_checkpoint, read_state
from ghost_ms.cli import main
from ghost_ms.tasks.classification.task import Classification
from ghost_ms.runtime.sidecar import read_sidecar
from ghost_ms.tasks.classification.multilabel import probabilities, score
from ghost_ms.tasks.predict import Predictor
from tests.same import rows_of
from tests.tiny import registered

FIGURES = Classification.figures

#: Which channels of an image are bright is what its labels say.
NAMES = ("red", "green", "blue")


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with registered():
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """48 images to train with, 24 to evaluate on; blue ones are rare."""
    root = tmp_path_factory.mktemp("sets")
    draw = np.random.default_rng(0)
    for split, count in (("train", 48), ("val", 24)):
        lines = ["path,labels"]
        for index in range(count):
            there = draw.random(3) < [0.5, 0.5, 0.25]
            pixels = np.where(there, 220, 40) + draw.integers(-40, 40, (16, 16, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / f"{split}{index}.png")
            lines.append(f"{split}{index}.png," + "|".join(name for name, yes in zip(NAMES, there) if yes))
        (root / f"{split}.csv").write_text("\n".join(lines))
    return root


def _words(root, run, *more):
    return ["train", "--model.name", "tiny", "--data.dataset", "label_file", "--data.root", str(root),
            "--data.train_labels", "train.csv", "--data.val_labels", "val.csv", "--data.batch_size", "8",
            "--data.eval_batch_size", "16", "--data.workers", "1", "--data.input_size", "16",
            "--data.crop_ratio", "1.0", "--augment.scale", "[1.0, 1.0]", "--loss.name", "binary_cross_entropy",
            "--loss.class_weights", "balanced",
            "--optimizer.lr", "0.5", "--train.epochs", "3", "--run.device", "CPU", "--run.dir", str(run), *more]


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    run = tmp_path_factory.mktemp("run") / "a"
    assert main(_words(root, run, "--ema.decay", "0.8")) == 0
    return run


def test_the_course_of_a_training(run):
    rows = rows_of(run)
    wanted = [f"{prefix}_{key}" for prefix in ("test", "ema") for key in ("map", "f1", "loss")]
    assert len(rows) == 3 and set(wanted) < set(rows[0])
    assert not {"train_top1", "test_top1", "ema_top1", "test_top5"} & set(rows[0])
    assert max(row["test_map"] for row in rows) > 80, "the colours are learned"
    log = (run / "log.txt").read_text()
    assert "an image may have several labels or none: " in log and "mean average precision " in log
    assert f"mean average precision {rows[-1]['test_map']:.2f} % (" in log
    best = FIGURES.best_row(rows)
    assert max(best["test_map"], best["ema_map"]) == max(row[key] for row in rows for key in ("test_map", "ema_map"))
    assert re.fullmatch(r"mean average precision [\d.]+ %, F1 [\d.]+ %", FIGURES.text(FIGURES.best(best)))
    assert (run / "curves.png").stat().st_size > 1000


def test_checkpoints_hold_the_thresholds_of_their_weights(run):
    best = read_checkpoint(str(run / "checkpoints" / "best.ckpt"))[1]
    last = read_state(str(run / "checkpoints" / "last.ckpt"))[1]
    for description in (best, last):
        assert description.classes == sorted(NAMES) and len(description.thresholds) == 3
        assert all(0 < value < 1 for value in description.thresholds) and description.thresholds != [0.5] * 3
    text = last.to_json()
    assert type(last).from_json(text).thresholds == last.thresholds
    last.thresholds = None
    assert "thresholds" not in last.to_json()


@pytest.mark.parametrize("value", [[0.5], [0.5, 0.5, 2], [0.5, 0.5, "x"], "x", {}, [0.5, 0.5, True],
                                   [0.5, 0.5, None], None])
def test_thresholds_that_cannot_be(run, value):
    description = read_checkpoint(str(run / "checkpoints" / "best.ckpt"))[1]
    content = {**json.loads(description.to_json()), "thresholds": value}
    with pytest.raises(ValueError, match="its thresholds are no probabilities, one for each of its 3 classes"):
        type(description).from_json(json.dumps(content))


def test_what_eval_says(run, root, capsys, tmp_path):
    """The figures of the best epoch, at the thresholds of the checkpoint."""
    best = FIGURES.best(FIGURES.best_row(rows_of(run)))
    ckpt = str(run / "checkpoints" / "best.ckpt")
    assert main(["eval", "--ckpt", ckpt, "--per_class", "-o", str(tmp_path / "out.json")]) == 0
    said = capsys.readouterr().out
    assert (f"tiny: mean average precision {best['map']:.2f} %, F1 {best['f1']:.2f} %, loss {best['loss']:.4f} on 24 "
            "images of label_file") in said
    assert re.search(r"^red +\d+ +\d", said, re.M) and "threshold (%)" in said
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["map"] == pytest.approx(best["map"], abs=1e-4) and len(content["predictions"]) == 24
    thresholds = {one["class"]: one["threshold"] for one in content["classes"]}
    for result in content["predictions"]:
        assert all(one["probability"] >= thresholds[one["class"]] for one in result["predictions"])
        shares = [one["probability"] for one in result["predictions"]]
        assert shares == sorted(shares, reverse=True)
    assert main(["eval", "--ckpt", ckpt, "--split", "train", "-o", str(tmp_path / "out.csv")]) == 0
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][:4] == ["path", "true", "predicted", "probability"] and len(rows) == 49
    assert {label for row in rows[1:] for label in row[1].split("|")} == {*NAMES, ""}
    assert main(["eval", "--ckpt", ckpt, "--confusion"]) == 1
    assert "--confusion is for images of one label each" in capsys.readouterr().err


@pytest.fixture(scope="module")
def exported(run):
    path, ckpt = str(run / "net.mindir"), str(run / "checkpoints" / "best.ckpt")
    assert main(["export", "--ckpt", ckpt, "--output", path, "--batch_size", "0"]) == 0
    return path


def test_infer_names_every_label_above_its_threshold(run, root, exported, capsys):
    """Of the checkpoint and of the exported file, at the thresholds of its sidecar, whatever --top says."""
    description = read_checkpoint(str(run / "checkpoints" / "best.ckpt"))[1]
    sidecar = read_sidecar(exported)
    assert sidecar.thresholds == description.thresholds
    words = [str(root / f"val{index}.png") for index in range(24)]
    capsys.readouterr()
    assert main(["infer", "--ckpt", str(run / "checkpoints" / "best.ckpt"), "--json", "--top", "1", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["infer", "--file", exported, "--json", "--top", "1", *words]) == 0
    of_file = json.loads(capsys.readouterr().out)
    assert main(["eval", "--ckpt", str(run / "checkpoints" / "best.ckpt"), "-o", str(run / "val.json")]) == 0
    measured = json.loads((run / "val.json").read_text())["predictions"]
    names = [[[label["class"] for label in one["predictions"]] for one in results]
             for results in (found, of_file, measured)]
    assert names[0] == names[1] == names[2] and max(map(len, names[0])) > 1
    shown = Predictor(lambda images: np.full((len(images), 3), -9.0), sidecar)(words[0], 5)
    assert shown["predictions"] == []
    assert Predictor(None, sidecar).as_table([shown]) == f"{words[0]}\n  no class reaches its threshold"
    with pytest.raises(ValueError, match="gives outputs that are no finite numbers"):
        Predictor(lambda images: np.full((len(images), 3), np.nan), sidecar)(words[0], 5)
    with pytest.raises(ValueError, match="outputs of the shape .2,., and 3 classes are named"):
        Predictor(lambda images: np.zeros((len(images), 2)), sidecar)(words[0], 5)


def test_an_exported_file_is_measured_by_its_thresholds(run, exported, capsys):
    best = FIGURES.best(FIGURES.best_row(rows_of(run)))
    assert main(["eval", "--file", exported]) == 0
    assert f"mean average precision {best['map']:.2f} %, F1 {best['f1']:.2f} %" in capsys.readouterr().out


def test_a_softmax_is_refused(run, tmp_path, capsys):
    words = ["--ckpt", str(run / "checkpoints" / "best.ckpt"), "--output", str(tmp_path / "x.mindir"), "--softmax"]
    assert main(["export", *words]) == 1
    assert "--softmax makes the classes exclude each other" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("change, words", [
    ({"thresholds": [0.5]}, "its thresholds are no probabilities, one for each of its 3"),
    ({"thresholds": None}, "its thresholds are no probabilities"),
    ({"outputs": [{"name": "probabilities", "shape": [-1, 3], "dtype": "float32"}]}, "several labels of an image, a")])
def test_a_sidecar_that_cannot_be(exported, tmp_path, change, words):
    for name in ("net.mindir", "net.json"):
        shutil.copy(os.path.join(os.path.dirname(exported), name), tmp_path / name)
    content = json.loads((tmp_path / "net.json").read_text())
    (tmp_path / "net.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(ValueError, match=words):
        read_sidecar(str(tmp_path / "net.mindir"))


def test_a_converted_checkpoint_keeps_them_for_its_own_classes_alone(run, tmp_path):
    ckpt = str(run / "checkpoints" / "best.ckpt")
    wanted = read_checkpoint(ckpt)[1].thresholds
    for words, thresholds in (([], wanted), (["--head", "new", "--num-classes", "5"], None)):
        out = str(tmp_path / "out.ckpt")
        assert main(["weights", "convert", ckpt, "--model", "tiny", "-o", out, *words]) == 0
        assert read_checkpoint(out)[1].thresholds == thresholds


def test_a_run_that_was_broken_off_goes_on_to_the_same_bits(root, tmp_path):
    words = _words(root, tmp_path / "b", "--augment.mixup", "0.4", "--schedule.name", "constant", "--train.epochs", "2")
    assert main([*words, "--run.dir", str(tmp_path / "straight")]) == 0
    assert main([*words, "--train.epochs", "1"]) == 0
    assert main([*words, "--train.resume", "auto"]) == 0
    states = [read_state(str(tmp_path / name / "checkpoints" / "last.ckpt")) for name in ("straight", "b")]
    assert states[0][1].thresholds == states[1][1].thresholds
    assert all(np.array_equal(value.asnumpy(), states[1][0][name].asnumpy()) for name, value in states[0][0].items())


@pytest.mark.parametrize("more, words", [
    (["--loss.name", "cross_entropy"], "an image of this data may have several labels or none, and loss.name cross"),
    (["--distill.teacher", "tiny"], "distill.method soft takes an image to have one label"),
    (["--data.sampler", "balanced"], "data.sampler balanced draws class by class"),
    (["--loss.class_weights", "[1, 2]"], "loss.class_weights has 2 values, and the data 3 classes")])
def test_recipes_that_want_one_label(root, tmp_path, capsys, more, words):
    assert main(_words(root, tmp_path / "x", *more)) == 1
    assert words in capsys.readouterr().err


def test_runs_and_report_tell_the_mean_average_precision(run, tmp_path, capsys):
    best = FIGURES.best(FIGURES.best_row(rows_of(run)))
    assert main(["runs", str(run), "-o", str(tmp_path / "runs.png")]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert line[head.index("best mean average precision (%)"):].split()[0] == f"{best['map']:.2f}"
    assert (tmp_path / "runs.png").is_file()
    assert main(["report", str(run), "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert f"<b>{best['map']:.2f} %</b><span>mean average precision, test split" in page
    assert "Mean average precision (%)" in page
    # No matrix of confusions for sets of labels, but what was measured of each class.
    assert "Confusion matrix" not in page and "<h3>mean average precision" in page and "<th>average precision" in page


def test_figures_by_hand():
    """What the evaluation adds up is what `multilabel` measures of all images at once."""
    logits, labels = np.array([[3.0, -1.0], [-2.0, 1.0], [0.5, 0.5]]), np.array([[1, 0], [0, 1], [0, 1]])
    found = score(labels, logits)
    assert found.as_percent() == {"map": 100.0, "f1": 100.0}
    assert found.threshold[0] == pytest.approx((probabilities(3.0) + probabilities(0.5)) / 2)
