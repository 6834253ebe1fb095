"""Checkpoints, run folders, sidecars and recipes of version 0.1.0 as it was before tasks and edits go on working.

The files beside this were written by that code, with the networks of `tests.tiny`; `answers.json` holds what it said of
them.
"""
import csv
import json
import pathlib
import shutil

import numpy as np
import pytest

from ghost_ms import config
from ghost_ms.cli import main
from ghost_ms.runtime.sidecar import read_sidecar
from tests.tiny import registered

FOLDER = pathlib.Path(__file__).parent
ANSWERS = json.loads((FOLDER / "answers.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with registered():
        yield


@pytest.fixture
def files(tmp_path, monkeypatch):
    for name in ("run", "vanilla"):
        shutil.copytree(FOLDER / name, tmp_path / name)
    for name in ("net.mindir", "net.onnx", "net.json", "a.png"):
        shutil.copy(FOLDER / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _predictions(capsys, *words):
    assert main(["infer", "--json", *words, "--image", "a.png"]) == 0
    return [(one["class"], one["probability"]) for one in json.loads(capsys.readouterr().out)[0]["predictions"]]


def test_a_checkpoint_and_an_exported_file_classify_as_then(files, capsys):
    wanted = [(one["class"], pytest.approx(one["probability"], abs=1e-5)) for one in ANSWERS["infer"]]
    assert _predictions(capsys, "--ckpt", "run/checkpoints/best.ckpt") == wanted
    assert _predictions(capsys, "--file", "net.mindir") == wanted
    pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime")
    assert _predictions(capsys, "--file", "net.onnx") == wanted


@pytest.mark.parametrize("name, answer", [("run", "eval"), ("vanilla", "vanilla")])
def test_a_run_evaluates_as_then(name, answer, files, capsys):
    """Its recipe holds every key of then, those that stand elsewhere now among them."""
    assert main(["eval", "--ckpt", f"{name}/checkpoints/best.ckpt"]) == 0
    assert capsys.readouterr().out == ANSWERS[answer]


def test_a_recipe_of_then_is_taken_to_the_keys_of_today(files, capsys):
    recipe = config.load("vanilla/config.yaml")
    assert recipe.model.training == {"activation_epochs": 2.0} and recipe.task.name == "classification"
    assert "train.activation_epochs is model.training.activation_epochs now" in capsys.readouterr().err


def test_a_training_goes_on(files, capsys):
    words = ["train", "--config", "run/config.yaml", "--train.resume", "run/checkpoints/last.ckpt",
             "--train.epochs", "3", "--run.dir", "longer"]
    assert main(words) == 0
    with open("longer/metrics.csv", newline="") as file:
        row = list(csv.DictReader(file))[-1]
    for key in ("epoch", "train_loss", "test_loss", "ema_loss", "test_top1", "lr"):
        assert float(row[key]) == pytest.approx(float(ANSWERS["longer"][key]), rel=1e-4), key


def test_a_finished_training_with_moved_keys_is_finished(files, capsys):
    assert main(["train", "--config", "vanilla/config.yaml", "--run.dir", "vanilla", "--train.resume",
                 "vanilla/checkpoints/last.ckpt"]) == 0
    assert "is of a finished training" in capsys.readouterr().out


def test_sidecars_reports_and_exports(files, capsys):
    sidecar = read_sidecar("net.mindir")
    assert (sidecar.task, sidecar.form.softmax, sidecar.batch_size) == ("classification", False, 1)
    assert main(["runs", "run", "vanilla"]) == 0 and main(["report", "run", "-o", "page.html"]) == 0
    # Another export under the same name describes the same network.
    assert main(["export", "--ckpt", "run/checkpoints/best.ckpt", "--output", "net.mindir"]) == 0
    now, then = json.loads((files / "net.json").read_text()), json.loads((FOLDER / "net.json").read_text())
    for key in ("model", "inputs", "outputs", "preprocessing", "classes", "normalisation"):
        assert now[key] == then[key], key
    assert np.isfinite(now["metrics"]["test_loss"])
