"""`ghost-ms eval`: checkpoints and exported files against the network run by hand; whose recipe counts."""
import csv
import json
import shutil

import mindspore as ms
import numpy as np
import pytest
from PIL import Image

from ghost_ms.cli import main
from tests.cli import photos
from tests.tiny import registered


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """(folder, probabilities of every picture of val/ in the order of their paths)."""
    folder = tmp_path_factory.mktemp("project")
    with registered():
        net, spec = photos.make(folder)
        paths = sorted((folder / "data" / "val").glob("*/*.png"))
        logits = net(ms.Tensor(np.stack([spec(path.read_bytes()) for path in paths]))).asnumpy().astype(np.float64)
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        yield folder, paths, shares


@pytest.fixture
def here(project, monkeypatch):
    monkeypatch.chdir(project[0])
    with registered():
        yield project


def _expected(paths, shares):
    labels = np.array([photos.CLASSES.index(path.parent.name) for path in paths])
    top1, loss = 100 * (shares.argmax(1) == labels).mean(), -np.log(shares[np.arange(len(labels)), labels]).mean()
    return labels, f"tiny: top-1 {top1:.2f} %, top-5 100.00 %, loss {loss:.4f} on {len(labels)} images of image_folder"


def test_predictions_are_those_of_the_network(here, capsys):
    _, paths, shares = here
    labels, line = _expected(paths, shares)
    assert main(["eval", "--ckpt", "tiny.ckpt", "--data.root", "data", *photos.KEYS, "--per-class", "--confusion",
                 "-o", "out.csv"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == line and printed[-1] == "wrote out.csv"
    rows = {cells[0]: cells[1:] for cells in map(str.split, printed[1:])}
    for label, name in enumerate(photos.CLASSES):
        right = int(((shares.argmax(1) == label) & (labels == label)).sum())
        assert rows[name][0] == "3" and rows[name][2] == f"{100 * right / 3:.2f}"
        matrix = next(cells[2:] for cells in map(str.split, printed) if cells[:2] == [f"{label}:", name])
        assert list(map(int, matrix)) == np.bincount(shares.argmax(1)[labels == label], minlength=4).tolist()
    with open("out.csv", newline="") as file:
        header, *found = csv.reader(file)
    assert header[:4] == ["path", "true", "predicted", "probability"] and len(header) == 10
    assert [row[0] for row in found] == [str(path.relative_to(here[0])) for path in paths]
    assert [row[1] for row in found] == [photos.CLASSES[label] for label in labels]
    assert [row[2] for row in found] == [photos.CLASSES[place] for place in shares.argmax(1)]
    np.testing.assert_allclose([float(row[3]) for row in found], shares.max(1), atol=1e-5)


def test_the_training_split_and_everything_as_json(here, capsys):
    assert main(["eval", "--ckpt", "tiny.ckpt", "--data.root", "data", *photos.KEYS, "--split", "train", "-o",
                 "out.json", "--confusion", "matrix.png"]) == 0
    assert "on 8 images of image_folder, split train" in capsys.readouterr().out
    with open("out.json") as file:
        content = json.load(file)
    assert (content["model"], content["file"], content["split"], content["images"]) == ("tiny", "tiny.ckpt", "train", 8)
    right = [one["true"] == one["predictions"][0]["class"] for one in content["predictions"]]
    assert content["top1"] == 100 * np.mean(right) == 100 * np.trace(content["confusion"]["images"]) / 8
    assert content["weighted"]["recall"] == pytest.approx(content["top1"])
    assert Image.open("matrix.png").format == "PNG"


@pytest.fixture(scope="module")
def files(project):
    """Exported files whose calls take 5 images, and any number."""
    folder = project[0]
    with registered():
        for name, more in (("five.mindir", ["--batch_size", "5"]),
                           ("any.onnx", ["--format", "onnx", "--batch_size", "0", "--softmax", "--preprocess",
                                         "in-graph"])):
            if name.endswith(".onnx"):
                pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime")
            assert main(["export", "--ckpt", str(folder / "tiny.ckpt"), "--output", str(folder / name), *more]) == 0


@pytest.mark.parametrize("name", ["five.mindir", "any.onnx"])
def test_an_exported_file_is_measured_by_its_sidecar(here, files, name, capsys):
    """Logits of normalised images, five a call; probabilities of bytes, any number a call."""
    _, paths, shares = here
    assert main(["eval", "--file", name, "--data.root", "data", "-o", "out.csv"]) == 0
    assert _expected(paths, shares)[1] in capsys.readouterr().out
    with open("out.csv", newline="") as file:
        found = list(csv.DictReader(file))
    np.testing.assert_allclose([float(row["probability"]) for row in found], shares.max(1), atol=1e-5)


def test_other_classes_than_the_file_has_are_refused(here, files, capsys):
    shutil.copytree("data", "renamed", dirs_exist_ok=True)
    for split in ("train", "val"):
        shutil.move(f"renamed/{split}/ant", f"renamed/{split}/ape")
    assert main(["eval", "--file", "five.mindir", "--data.root", "renamed"]) == 1
    assert "'ape'" in capsys.readouterr().err
    assert main(["eval", "--file", "five.mindir", "--data.dataset", "embedded"]) == 1
    assert "classes" in capsys.readouterr().err


def _as_run(folder, *left):
    (folder / "checkpoints").mkdir(parents=True)
    shutil.copy("tiny.ckpt", folder / "checkpoints" / "best.ckpt")
    (folder / "config.yaml").write_text("model: {name: tiny}\ndata: {dataset: image_folder, root: data, workers: 1, "
                                        "input_size: [32, 48]}\nrun: {device: CPU, mode: pynative}\n")
    for name in left:
        (folder / name).write_text("")


def test_the_recipe_of_a_run_is_used_and_named(here, tmp_path, capsys):
    _, paths, shares = here
    _as_run(tmp_path / "run", "log.txt")
    assert main(["eval", "--ckpt", str(tmp_path / "run" / "checkpoints" / "best.ckpt")]) == 0
    streams = capsys.readouterr()
    assert streams.out.strip() == _expected(paths, shares)[1]
    assert streams.err.splitlines()[0] == f"using the recipe {tmp_path}/run/config.yaml"
    assert main(["eval", "--run.dir", str(tmp_path / "run")]) == 0
    assert "using the recipe" in capsys.readouterr().err


def test_a_config_yaml_two_folders_up_is_no_recipe_of_a_run(here, tmp_path, capsys):
    """Neither without what a training leaves, nor where the folder is no checkpoints/."""
    _as_run(tmp_path / "project")
    _as_run(tmp_path / "run", "metrics.csv")
    (tmp_path / "run" / "checkpoints").rename(tmp_path / "run" / "weights")
    for path in ("project/checkpoints/best.ckpt", "run/weights/best.ckpt"):
        assert main(["eval", "--ckpt", str(tmp_path / path)]) == 1
        said = capsys.readouterr().err
        assert "using the recipe" not in said and "data.root is not set" in said


def test_a_file_in_the_folder_of_a_run_takes_its_data(here, files, tmp_path, capsys):
    _, paths, shares = here
    _as_run(tmp_path / "run", "log.txt")
    for ending in ("mindir", "json"):
        shutil.copy(f"five.{ending}", tmp_path / "run")
    assert main(["eval", "--file", str(tmp_path / "run" / "five.mindir")]) == 0
    streams = capsys.readouterr()
    assert _expected(paths, shares)[1] in streams.out and "using the recipe" in streams.err


def test_outputs_that_are_no_numbers_are_no_accuracy(here, capsys):
    """Each weight is a number, and their sum is none."""
    from ghost_ms.checkpoints.checkpoint import load_weights, read_checkpoint, save_checkpoint

    values, description = read_checkpoint("tiny.ckpt")
    net = description.build()
    load_weights(net, values, "tiny.ckpt")
    net.head.weight.set_data(ms.Tensor(np.full((4, 8), 3e38), ms.float32))
    net.stage[1].gamma.set_data(ms.Tensor(np.full(8, 1e9), ms.float32))
    save_checkpoint(net, "huge.ckpt", description)
    assert main(["eval", "--ckpt", "huge.ckpt", "--data.root", "data", *photos.KEYS]) == 1
    streams = capsys.readouterr()
    assert streams.out == "" and "finite" in streams.err and "ant/0.png" in streams.err


@pytest.mark.parametrize("argv, words", [
    (["--ckpt", "tiny.ckpt", "--file", "x.onnx"], "leave out --ckpt"),
    (["--file", "x.onnx", "--data.mean", "[0.5]"], "leave out --data.mean"),
    (["--file", "x.onnx", "--model.name", "tiny"], "leave out --model.name"),
    (["--file", "x.onnx", "--data.root", "data"], "no sidecar"),
    (["--ckpt", "tiny.ckpt", "-o", "x.txt"], "--output is 'x.txt'"),
    (["--ckpt", "tiny.ckpt", "--confusion", "x.pdf"], "--confusion is 'x.pdf'"),
    (["--ckpt", "tiny.ckpt", "--data.root", "data", "--split", "nothing"], "nothing"),
    (["--ckpt", "tiny.ckpt", "--data.root", "data", "--run.device", "CPU", "-o", "/proc/x.csv"], "cannot write")])
def test_bad_input(here, argv, words, capsys):
    keys = [] if "--file" in argv else photos.KEYS
    assert main(["eval", *argv, *keys]) == 1
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("ghost-ms: error: ") and words in said


def test_help_shows_what_evaluation_needs(capsys):
    with pytest.raises(SystemExit):
        main(["eval", "--help"])
    text = capsys.readouterr().out
    for option in ("--ckpt", "--file", "--split", "--per_class", "--confusion", "--data.root", "--model.name"):
        assert option in text
    for option in ("--optimizer.", "--augment.", "--train.", "--data.batch_size", "--run.profile"):
        assert option not in text
