"""The commands as a user types them; every mistake ends in one sentence, exit code 1, and nothing half-written."""
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ghost_ms import list_models
from ghost_ms.cli import main
from ghost_ms.models import registry
from tests import golden
from tests.tiny import registered

ROOT = pathlib.Path(__file__).parents[1]
BOOT = str(ROOT / "ghost_ms" / "data" / "embedded" / "ankle_boot.png")
SMALL = ["--model.name", "tiny", "--model.in_channels", "1",
         "--data.dataset", "synthetic", "--data.synthetic_size", "64", "--data.batch_size", "32",
         "--data.input_size", "[28, 28]", "--data.crop_ratio", "1.0", "--data.mean", "[0.286]", "--data.std", "[0.353]",
         "--data.workers", "1", "--train.epochs", "1", "--run.device", "CPU"]


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with registered():
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One short training, in a folder that then has a runs/quickstart."""
    folder = tmp_path_factory.mktemp("project")
    assert main(["train", *SMALL, "--run.dir", str(folder / "runs" / "quickstart")]) == 0
    return folder


@pytest.fixture
def project(run, monkeypatch):
    monkeypatch.chdir(run)
    return run


def _fails(capsys, argv, *words):
    """The command fails, says one line on standard error, and the line has these words."""
    assert main([str(word) for word in argv]) == 1
    said = capsys.readouterr().err.strip()
    last = said.splitlines()[-1]
    assert last.startswith("ghost-ms: error: ") and "Traceback" not in said
    for word in words:
        assert word in last
    return last


def test_eval_takes_the_recipe_of_the_run(project, capsys):
    assert main(["eval", "--ckpt", "runs/quickstart/checkpoints/best.ckpt"]) == 0
    printed = capsys.readouterr().out
    recorded = (project / "runs" / "quickstart" / "metrics.csv").read_text().splitlines()[-1].split(",")
    assert "on 64 images of synthetic" in printed
    assert any(f"top-1 {float(value):.2f} %" in printed for value in recorded)


def test_export_needs_no_argument_and_infer_agrees_with_the_checkpoint(project, capsys):
    assert main(["export", "--format", "MINDIR"]) == 0
    streams = capsys.readouterr()
    assert "using runs/quickstart/checkpoints/" in streams.err and "max difference" in streams.out
    answers = []
    for source in (["--mindir", "tiny.mindir"], ["--ckpt", "runs/quickstart/checkpoints/last.ckpt"], []):
        assert main(["infer", *source, "--image", BOOT, "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out)[0]["predictions"])
    for other in answers[1:]:
        assert [p["class"] for p in other] == [p["class"] for p in answers[0]]
        assert [p["probability"] for p in other] == pytest.approx([p["probability"] for p in answers[0]], abs=1e-4)
    assert len(answers[0]) == 5 and 0 < sum(p["probability"] for p in answers[0]) <= 1.0001


def test_export_without_a_run_warns_of_random_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--file_format", "mindir", "--model", "ghostnet_050", "--output", "out/net",
                 "--input_size", "64", "96", "--batch_size", "2"]) == 0
    streams = capsys.readouterr()
    assert "random weights" in streams.err and "input 2x3x64x96" in streams.out
    assert sorted(os.listdir(tmp_path / "out")) == ["net.json", "net.mindir"]


def test_infer_on_several_images_and_a_folder(project, tmp_path, capsys):
    for name in ("a.png", "b.PNG", "c.jpg"):
        Image.open(BOOT).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    assert main(["infer", "--image", str(tmp_path), BOOT, "--top", "2"]) == 0
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if not line.startswith(" ")] == [
        str(tmp_path / "a.png"), str(tmp_path / "b.PNG"), str(tmp_path / "c.jpg"), BOOT]
    assert sum("%" in line for line in printed.splitlines()) == 8


@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_a_public_file_becomes_a_verified_mindir(ending, tmp_path, capsys):
    """The two commands of the README: convert, export; then the file classifies with ImageNet's names."""
    from safetensors.numpy import save_file

    _, _, state = golden.load("ghostnet_100")
    save_file(state, tmp_path / "released.safetensors")
    converted = str(tmp_path / f"ghostnet.{ending}")
    assert main(["weights", "convert", str(tmp_path / "released.safetensors"), "--model", "ghostnet_100",
                 "-o", converted]) == 0
    assert main(["export", "--ckpt", converted, "--output", str(tmp_path / "ghostnet.mindir")]) == 0
    assert "random weights" not in capsys.readouterr().err
    assert main(["infer", "--mindir", str(tmp_path / "ghostnet.mindir"), "--image", BOOT, "--json"]) == 0
    best = json.loads(capsys.readouterr().out)[0]["predictions"][0]
    assert best["class"] == (ROOT / "ghost_ms/models/imagenet_classes.txt").read_text().splitlines()[best["index"]]


def test_models(capsys):
    assert main(["models", "ghostnet_1*"]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[1:]] == list_models("ghostnet_1*")
    assert main(["models", "ghostnet_100", "--markdown"]) == 0
    assert "| ghostnet_100 | 5.18 | 141 | 224 | 73.98 | released | 1911.11907 |" in capsys.readouterr().out


def test_the_table_of_the_readme_is_the_generated_one(tmp_path, capsys, monkeypatch):
    for name in ("tiny", "tiny_vanilla"):
        monkeypatch.delitem(registry._CARDS, name)
    copy = tmp_path / "models.md"
    copy.write_text((ROOT / "docs" / "models.md").read_text())
    assert main(["models", "--update", str(copy)]) == 0
    page = (ROOT / "docs" / "models.md").read_text()
    assert copy.read_text() == page, "run `ghost-ms models --update docs/models.md`"
    (tmp_path / "bare.md").write_text("no marks")
    _fails(capsys, ["models", "--update", tmp_path / "bare.md"], "has no pair of marks")


@pytest.mark.parametrize("argv,words", [
    (["fly"], ("no command 'fly'", "train")),
    (["train", "configs/quickstart.yaml"], ("'configs/quickstart.yaml' stands alone", "--config")),
    (["train", "--lr", "1"], ("unknown option '--lr'; did you mean '--optimizer.lr'?",)),
    (["train", "--name", "x"], ("did you mean '--model.name' or '--task.name' or",)),
    (["train", "--wingspan", "1"], ("unknown option '--wingspan'; --help lists all",)),
    (["train", "--config", "ghostnet_100_imagenett.yaml"], ("did you mean ghostnet_100_imagenet, which comes with",)),
    (["train", "--config", "x.yaml"], ("no recipe 'x.yaml' in /", "are named like ghostnet_100_imagenet")),
    (["train"], ("data.root is not set", "configs/quickstart.yaml needs none")),
    (["eval"], ("no checkpoint 'runs/default/checkpoints/best.ckpt'", "--ckpt")),
    (["models", "--update", "/nowhere/models.md"], ("cannot open '/nowhere/models.md': No such file",)),
    (["export", "--ckpt", str(ROOT / "README.md")], ("ends neither in .ckpt nor", "ghost-ms weights convert")),
    (["models", "nothing*"], ("no model matches 'nothing*'",)),
    (["train", "--data.root", "/nowhere"], ("no data folder '/nowhere'",)),
    (["train", *SMALL, "--model.name", "ghostnet_10"], ("no model 'ghostnet_10'", "nearest are ghostnet_1")),
    (["train", *SMALL, "--model.args", "{wings: 2}"], ("wings",)),
    (["train", *SMALL, "--model.num_classes", "3"], ("model.num_classes is 3", "10 classes")),
    (["train", *SMALL, "--data.batch_size", "65"], ("data.batch_size is 65", "64 images")),
    (["train", *SMALL, "--run.dir", "/proc/run"], ("cannot write into the run folder '/proc/run'", "--run.dir")),
    (["train", *SMALL, "--run.device", "GPU"], ("no device 'GPU'", "NVIDIA", "--run.device CPU")),
    (["train", *SMALL, "--run.device", "Ascend"], ("no device 'Ascend'", "CANN", "--run.device CPU")),
    (["train", *SMALL, "--run.device", "TPU"], ("run.device is 'TPU'",)),
    (["eval", *SMALL, "--ckpt", "/nowhere.ckpt"], ("no checkpoint '/nowhere.ckpt'",)),
    (["infer", "--image", "/nowhere.png"], ("no image '/nowhere.png'",)),
    (["export", "--batch_size", "-1"], ("--batch_size is -1",)),
    (["export", "--model", "ghostnet_050", "--input_size", "0"], ("--input_size",)),
    (["export", "--ckpt", "/nowhere.ckpt"], ("no checkpoint '/nowhere.ckpt'",)),
    (["infer", "--mindir", "/nowhere.mindir", "--image", BOOT], ("no file '/nowhere.mindir'",)),
])
def test_bad_input(argv, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if argv[0] == "train" and "--run.dir" not in argv:
        argv = [*argv, "--run.dir", "run"]
    _fails(capsys, argv, *words)
    assert os.listdir(tmp_path) == [], "nothing is half-written"


def test_bad_files(project, tmp_path, capsys):
    best = "runs/quickstart/checkpoints/best.ckpt"
    text = tmp_path / "text.png"
    text.write_text("hello")
    _fails(capsys, ["infer", "--ckpt", best, "--image", text], "text.png' is not a readable image")
    cut = tmp_path / "cut.ckpt"
    whole = (project / best).read_bytes()
    cut.write_bytes(whole[:len(whole) // 2])
    _fails(capsys, ["infer", "--ckpt", cut, "--image", BOOT], "cut.ckpt' is not a valid checkpoint")
    _fails(capsys, ["export", "--model", "ghostnet_100", "--ckpt", best, "--output", tmp_path / "x.mindir"],
           "is a checkpoint of tiny, not of ghostnet_100")
    _fails(capsys, ["eval", *SMALL, "--model.args", "{width: 1}", "--ckpt", best], "width")
    _fails(capsys, ["eval", *SMALL, "--model.name", "ghostnet_100", "--ckpt", best],
           "is a checkpoint of tiny, not of ghostnet_100", "--config", "--model.name tiny")
    _fails(capsys, ["export", "--ckpt", best, "--output", "/proc/x/y.mindir"], "cannot write '/proc/x/y.mindir'")
    assert sorted(os.listdir(tmp_path)) == ["cut.ckpt", "text.png"]


def test_an_environment_that_lacks_something(project, monkeypatch, capsys):
    monkeypatch.setattr(np, "__version__", "2.2.6")
    _fails(capsys, ["infer", "--image", BOOT], "NumPy 2.2.6 is installed", "pip install 'numpy<2'")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "jsonargparse", None)
    said = _fails(capsys, ["train"],
                  f"'jsonargparse' is not installed for {sys.executable};", "source .venv/bin/activate")
    assert "and this is Python" not in said
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    _fails(capsys, ["train"], "and this is Python 3.13: MindSpore 2.8 is for 3.9 to 3.12;")


def test_the_package_is_the_command():
    done = subprocess.run([sys.executable, "-m", "ghost_ms", "fly"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("ghost-ms: error: there is no command 'fly'")


@pytest.mark.parametrize("command", ["train", "eval", "export", "infer"])
def test_command_files_show_help(command):
    done = subprocess.run([sys.executable, f"{command}.py", "--help"], cwd=ROOT, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0 and done.stdout.startswith("usage:") and not done.stderr


def test_importing_the_package_is_quick_and_silent():
    code = "import sys, time; t = time.time(); import ghost_ms; print(time.time() - t, 'mindspore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          timeout=300)
    seconds, loaded = done.stdout.split()
    assert float(seconds) < 0.5 and loaded == "False" and not done.stderr


def test_unknown_attribute():
    import ghost_ms

    with pytest.raises(AttributeError, match="has no attribute 'ghost'"):
        ghost_ms.ghost  # noqa: B018
