"""Packages of users: imported where they say so and nowhere else."""
import os
import subprocess
import sys
import textwrap

import pytest

from ghost_ms.core import plugins

#: A network, a task that is classification under another name, and a data set, in a package outside.
PACKAGE = '''
import numpy as np
from mindspore import nn

from ghost_ms.data.dataset import Dataset
from ghost_ms.data.datasets import register as register_dataset
from ghost_ms.models import Backbone, FeatureInfo, ModelCard, register
from ghost_ms.tasks import registry
from ghost_ms.tasks.classification.task import Classification


class Small(Backbone):
    feature_info = (FeatureInfo(8, 4, "stem"),)
    classifier_cells = ("head",)

    def __init__(self, num_classes=2, in_channels=3):
        super().__init__()
        self.stem, self.num_features = nn.Conv2d(in_channels, 8, 4, 4, pad_mode="valid"), 8
        self.head = nn.Dense(8, num_classes)

    def layer_parts(self):
        return ("stem",), ("head",)

    def forward_features(self, x):
        return self.stem(x)

    def forward_head(self, x):
        return self.head(x.mean((2, 3)))


@register(ModelCard(params=0, macs=0, paper=""))
def outsider(**kwargs):
    """A network of somebody else."""
    return Small(**kwargs)


@register_dataset("two_greys")
def two_greys(config, split):
    labels = np.arange(16, dtype=np.int32) % 2
    return Dataset(["dark", "light"], labels, 3, False,
                   lambda sample: np.full((16, 16, 3), 60 + 120 * labels[sample], np.uint8))


@registry.register
class Sorting(Classification):
    name = "sorting"
'''


@pytest.fixture
def outside(tmp_path):
    (tmp_path / "site" / "mine").mkdir(parents=True)
    (tmp_path / "site" / "mine" / "__init__.py").write_text(PACKAGE)
    (tmp_path / "site" / "broken.py").write_text("1 / 0")
    (tmp_path / "site" / "lacking.py").write_text("import what_nobody_has")
    (tmp_path / "work").mkdir()
    root = os.path.dirname(os.path.dirname(plugins.__file__))

    def run(*words, **environment):
        path = os.pathsep.join([str(tmp_path / "site"), os.path.dirname(root)])
        return subprocess.run([sys.executable, "-m", "ghost_ms", *words], cwd=tmp_path / "work", capture_output=True,
                              text=True, env={**os.environ, "PYTHONPATH": path, **environment})

    return run


def test_a_package_brings_network_task_and_data_set(outside, tmp_path):
    words = ["train", "--model.name", "outsider", "--task.name", "sorting", "--data.dataset", "two_greys",
             "--data.batch_size", "8", "--data.workers", "1", "--data.input_size", "16", "--train.epochs", "1",
             "--run.device", "CPU", "--run.mode", "pynative", "--run.dir", "run"]
    done = outside(*words, "--import", "mine")
    assert done.returncode == 0, done.stderr
    assert "best: epoch 1, top-1" in done.stdout
    # The checkpoint names what it needs, and imports nothing by itself.
    ckpt = "run/checkpoints/best.ckpt"
    done = outside("eval", "--ckpt", ckpt)
    assert done.returncode == 1 and "is known with --import PACKAGE" in done.stderr
    done = outside("eval", "--ckpt", ckpt, GHOST_MS_PLUGINS="mine")
    assert done.returncode == 0 and "outsider: top-1" in done.stdout, done.stderr


@pytest.mark.parametrize("name, sentence", [
    ("nowhere", "there is no package 'nowhere' to import (--import or GHOST_MS_PLUGINS); install it"),
    ("mine.nowhere", "there is no package 'mine.nowhere'"),
    ("broken", "the package 'broken' (--import or GHOST_MS_PLUGINS) cannot be imported: ZeroDivisionError"),
    ("lacking", "the package 'lacking' (--import or GHOST_MS_PLUGINS) needs 'what_nobody_has', which is not installed"),
    ("../mine", "'../mine' is no name of a package"), ("mine;os", "is no name of a package")])
def test_a_package_that_cannot_be_imported_is_one_sentence(name, sentence, outside):
    done = outside("models", "--import", name)
    assert done.returncode == 1 and sentence in done.stderr and len(done.stderr.splitlines()) == 1


def test_processes_that_a_command_starts_know_it_too(outside, monkeypatch):
    from ghost_ms.core import interpreter

    monkeypatch.setenv("GHOST_MS_PLUGINS", "mine")
    command = interpreter.command("ghost_ms.cli")
    assert "plugins.load()" in command[2]


def test_packages_are_named_once(monkeypatch):
    monkeypatch.setenv("GHOST_MS_PLUGINS", "a, b")
    plugins.add(["b", "c"])
    assert os.environ["GHOST_MS_PLUGINS"] == "a,b,c"


def test_an_installed_package_may_have_an_entry_point(tmp_path, monkeypatch):
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ghost_ms.plugins]\ntheirs = theirs_package\n")
    (tmp_path / "theirs_package.py").write_text(textwrap.dedent("KNOWN = True\n"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("GHOST_MS_PLUGINS", raising=False)
    plugins.load()
    assert sys.modules["theirs_package"].KNOWN
