"""A task is one folder: a second one, in a file of the tests, goes through every command."""
import json
import re

import numpy as np
import pytest
from PIL import Image

from ghost_ms import config
from ghost_ms.cli import main
from ghost_ms.runtime.sidecar import read_sidecar
from ghost_ms.tasks import registry
from ghost_ms.training.callbacks import Callback
from ghost_ms.training.fit import fit
from ghost_ms.training.interrupt import Stopped
from tests.same import assert_same_runs, rows_of
from tests.tasks.toy import Regression
from tests.tiny import registered


@pytest.fixture(scope="module", autouse=True)
def known():
    registry.register(Regression)
    with registered():
        yield
    registry.unregister("regression")


def _words(run, *more):
    return ["train", "--task.name", "regression", "--task.args", "{scale: 2.0}", "--model.name", "tiny",
            "--model.num_classes", "1", "--data.dataset", "synthetic", "--data.batch_size", "8",
            "--data.eval_batch_size", "12", "--data.workers", "1", "--data.input_size", "16",
            "--data.crop_ratio", "1.0",
            "--optimizer.name", "adamw", "--optimizer.lr", "0.02", "--ema.decay", "0.8", "--train.epochs", "4",
            "--run.device", "CPU", "--run.dir", str(run), *more]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = tmp_path_factory.mktemp("toy") / "run"
    assert main(_words(run)) == 0
    return run


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy") / "grey.png"
    Image.fromarray(np.full((16, 16, 3), 140, np.uint8)).save(path)
    return path


def test_it_trains_with_running_means_and_its_own_figures(run):
    rows = rows_of(run)
    assert {"train_error", "test_r2", "ema_r2", "test_loss"} <= set(rows[0]) and "test_top1" not in rows[0]
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]
    log = (run / "log.txt").read_text()
    assert "numbers from 0.24 to 1.67" in log and "classes" not in log and "R2" in log and "top-1" not in log


def test_it_goes_on_to_the_same_bits(run, tmp_path):
    class StopInTheSecondEpoch(Callback):
        def on_step(self, training, loss):
            if training.progress.epoch == 1 and training.progress.step == 3:
                training.stop("stopped by the test")

    recipe, _ = config.parse(config.build_parser("", ""), _words(tmp_path / "a")[1:])
    with pytest.raises(Stopped):
        fit(recipe, [StopInTheSecondEpoch()])
    assert main(_words(tmp_path / "a", "--train.resume", "auto")) == 0
    assert_same_runs(run, tmp_path / "a")


def test_a_checkpoint_alone_is_evaluated(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ckpt = str(run / "checkpoints" / "best.ckpt")
    assert main(["eval", "--ckpt", ckpt, "--per_class", "-o", "out.json"]) == 0
    assert "tiny: largest error 0." in capsys.readouterr().out
    found = json.loads((tmp_path / "out.json").read_text())
    assert len(found["predictions"]) == 16 and 0 < found["largest"] < 2
    assert main(["eval", "--ckpt", ckpt, "--confusion"]) == 1
    assert "--confusion is for classes" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["mindir", "onnx"])
def test_it_is_exported_and_used(kind, run, picture, tmp_path, capsys, monkeypatch):
    if kind == "onnx":
        pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime")
    monkeypatch.chdir(tmp_path)
    ckpt, target = str(run / "checkpoints" / "best.ckpt"), str(tmp_path / f"net.{kind}")
    assert main(["export", "--format", kind.upper(), "--ckpt", ckpt, "--output", target]) == 0
    sidecar, content = read_sidecar(target), json.loads((tmp_path / "net.json").read_text())
    assert sidecar.task == "regression" and sidecar.task_args == {"scale": 2.0}
    assert content["outputs"] == [{"name": "number", "shape": [1, 1], "dtype": "float32"}]
    capsys.readouterr()
    numbers = []
    for words in (["--ckpt", ckpt], ["--file", target]):
        assert main(["infer", "--json", *words, "--image", str(picture)]) == 0
        numbers.append(json.loads(capsys.readouterr().out)[0]["number"])
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-4) and 0.5 < numbers[0] < 1.7
    assert main(["infer", "--file", target, str(picture), "-o", "out.csv"]) == 0
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == "path,number"
    assert main(["eval", "--file", target, "--config", str(run / "config.yaml")]) == 0
    assert main(["export", "--format", kind.upper(), "--ckpt", ckpt, "--output", target, "--softmax"]) == 1
    assert "--softmax is for classes" in capsys.readouterr().err


def test_runs_and_the_report_tell_its_figures(run, tmp_path, capsys):
    assert main(["runs", str(run)]) == 0
    header, cells = (re.split("  +", line.strip()) for line in capsys.readouterr().out.splitlines()[:2])
    found = Regression.figures.best_of(rows_of(run))
    assert header[3:8] == ["best R2", "epoch", "weights", "raw R2", "EMA R2"]
    assert cells[3] == f"{found.figures['r2']:.2f}"
    page = tmp_path / "page.html"
    assert main(["report", str(run), "-o", str(page)]) == 0
    text = page.read_text()
    assert f"<b>{found.figures['r2']:.2f}</b><span>R2, test split" in text and "largest error" in text
    assert "<td>all</td><td>16</td>" in text and "Confusion" not in text


def test_a_task_that_is_not_known_here_has_the_columns_of_its_run(run, capsys, monkeypatch):
    monkeypatch.delitem(registry._TASKS, "regression")
    assert main(["runs", str(run)]) == 0
    assert re.split("  +", capsys.readouterr().out.splitlines()[0].strip())[3] == "best r2"


def test_it_is_quantised_without_classes(run, picture, tmp_path, capsys, monkeypatch):
    pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime")
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--format", "ONNX", "--ckpt", str(run / "checkpoints" / "best.ckpt"), "--output",
                 "net.onnx"]) == 0
    capsys.readouterr()
    assert main(["quantize", "net.onnx", "--calibrate", str(run / "config.yaml"), "--samples", "8", "--evaluate"]) == 0
    said = capsys.readouterr().out
    assert "in float: largest error" in said and "now: largest error" in said and "same class" not in said
    facts = json.loads((tmp_path / "net_int8.json").read_text())["quantised"]
    assert facts["images"] == 8 and 0 < facts["measured"]["largest"] < 2 and "same class" not in facts
    (tmp_path / "other.yaml").write_text("data: {dataset: embedded}\n")
    assert main(["quantize", "net.onnx", "--calibrate", "other.yaml"]) == 1
    assert "is for regression, and the recipe 'other.yaml' for classification" in capsys.readouterr().err


def test_what_has_no_meaning_is_refused(tmp_path, capsys):
    for more, sentence in ((["--augment.mixup", "0.2"], "has no meaning for regression"),
                           (["--distill.teacher", "tiny"], "compares class logits"),
                           (["--task.name", "regresion"], "did you mean regression?"),
                           (["--task.name", "classification"], "classification takes no arguments")):
        assert main(_words(tmp_path / "b", *more)) == 1
        assert sentence in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
