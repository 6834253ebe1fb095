"""What an installed package holds, beside its modules, and how recipes are found by name."""
import os
import pathlib
import subprocess
import sys

import pytest

from ghost_ms import config
from ghost_ms.config.shipped import folder, locate, shipped

ROOT = pathlib.Path(__file__).parents[1]


def test_a_name_means_a_recipe_that_comes_with_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate("ghostnet_100_imagenet") == str(ROOT / "configs" / "ghostnet" / "ghostnet_100_imagenet.yaml")
    assert config.load("quickstart") == config.load(str(ROOT / "configs" / "quickstart.yaml"))
    # As a checkout has it, wherever the command is typed.
    assert locate("configs/quickstart.yaml") == str(ROOT / "configs" / "quickstart.yaml")
    assert "_base_imagenet" not in shipped() and len(shipped()) > 100


def test_a_file_is_taken_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("quickstart").write_text("train: {epochs: 7}")
    assert config.load("quickstart").train.epochs == 7


@pytest.mark.parametrize("name, sentence", [
    ("ghostnet_1OO_imagenet", "did you mean ghostnet_1.0_imagenet, which comes with the package?"),
    ("nothing.yaml", "are named like ghostnet_100_imagenet or quickstart"), ("_base_imagenet", "there is no recipe"),
    ("../configs/quickstart.yaml", "there is no recipe"), ("/none/quickstart.yaml", "there is no recipe")])
def test_what_is_neither_names_the_nearest(name, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=sentence):
        config.load(name)


def test_names_of_recipes_are_told_apart():
    names = [path.stem for path in folder().rglob("*.yaml") if not path.stem.startswith("_")]
    assert len(names) == len(set(names))


def test_an_installed_package_has_its_recipes_and_files(tmp_path):
    subprocess.run([sys.executable, "setup.py", "-q", "build", "--build-base", str(tmp_path / "base"), "--build-lib",
                    str(tmp_path / "lib")], cwd=ROOT, check=True, capture_output=True)
    package = tmp_path / "lib" / "ghost_ms"
    for name in ("configs/quickstart.yaml", "configs/ghostnet/_base_imagenet.yaml", "deploy/cpp/main.cc",
                 "analysis/report/templates/report.js", "analysis/report/templates/page.html",
                 "data/embedded/ankle_boot.png", "models/imagenet_classes.txt",
                 "models/activations.json", "weights/manifest.yaml", "runtime/lite_runner.py"):
        assert (package / name).is_file(), name
    empty = tmp_path / "empty"
    empty.mkdir()
    command = [sys.executable, "-m", "ghost_ms", "train", "--config", "quickstart", "--print_config"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "lib")}
    done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "ghostnet_050" in done.stdout, done.stderr
