"""When a compiled step may be taken from disk, and that it then does what the one compiled anew does."""
import os
import pathlib
import subprocess
import sys

import pytest

import ghost_ms
from ghost_ms.checkpoints.checkpoint import read_checkpoint
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import Config
from ghost_ms.core.device import World
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.training.compile_cache import CompileCache, step_folder

ROOT = pathlib.Path(__file__).parents[2]
SPEC = Preprocessing((32, 32), 3, (0.5,) * 3, (0.5,) * 3, 1.0, "bilinear")


def _folder(change=None, rates=(0.1, 0.2), args=None, world=World()):
    config = Config()
    config.run.compile_cache = "cache"
    if change:
        section, name, value = change
        setattr(getattr(config, section), name, value)
    return step_folder(config, ModelSpec("tiny", args or {"num_classes": 4}, [], SPEC), rates, "CPU", world)


def test_a_folder_for_everything_that_the_graph_depends_on(monkeypatch, tmp_path):
    usual = _folder()
    assert usual == _folder() and os.path.dirname(usual) == "cache"
    for change in (("run", "dir", "x"), ("run", "device_id", 1), ("data", "workers", 1), ("train", "resume", "auto"),
                   ("train", "keep", 5), ("train", "log_every", 1), ("model", "pretrained", True)):
        assert _folder(change) == usual, change
    others = [_folder(change) for change in (
        ("loss", "label_smoothing", 0.1), ("optimizer", "weight_decay", 1.0), ("data", "batch_size", 4),
        ("run", "seed", 2), ("train", "on_nan", "skip"), ("train", "epochs", 2), ("ema", "decay", 0.9),
        ("model", "args", {"drop_rate": 0.5}))]
    others += [_folder(rates=(0.1, 0.3)), _folder(args={"num_classes": 5})]
    (tmp_path / "net.py").write_text("a")
    monkeypatch.setattr(ghost_ms, "__file__", str(tmp_path / "__init__.py"))
    others.append(_folder())
    (tmp_path / "net.py").write_text("b")
    others.append(_folder())
    assert len({usual, *others}) == len(others) + 1


def test_where_it_is_not_used():
    assert step_folder(Config(), None, [], "CPU", World()) is None
    with pytest.raises(ValueError, match="does not go with several ranks"):
        _folder(world=World(0, 2))
    with pytest.raises(ValueError, match="does not go with a teacher"):
        _folder(("distill", "teacher", "x.ckpt"))


@pytest.mark.parametrize("harm", [None, "changed", "cut off", "unsealed"])
def test_only_whole_folders_are_used(harm, tmp_path):
    folder = tmp_path / "step"
    with CompileCache(str(folder)).first_call():
        (folder / "graph").write_text("graph")
    if harm == "unsealed":
        (folder / "seal").unlink()
    elif harm:
        (folder / "graph").write_text("other" if harm == "changed" else "")
    cache = CompileCache(str(folder))
    with cache.first_call():
        assert (folder / "graph").exists() == (harm is None)
    with cache.first_call():
        (folder / "later").write_text("this one is none of the cache's")
    assert "later" not in (folder / "seal").read_text()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    cache = CompileCache(str(tmp_path / "file" / "step"))
    with pytest.raises(OSError, match="cannot write into run.compile_cache"), cache.first_call():
        pass


@pytest.mark.slow
def test_a_cached_step_does_what_a_fresh_one_does(tmp_path):
    """The same bits at the end of a run, and of one that goes on from a checkpoint; another recipe compiles anew."""
    def train(name, *options):
        words = ["--model.name", "tiny", "--data.dataset", "synthetic", "--data.synthetic_size", "40",
                 "--data.batch_size", "8", "--data.eval_batch_size", "40", "--data.input_size", "[16,16]",
                 "--data.crop_ratio", "1.0", "--data.workers", "1", "--train.epochs", "2", "--ema.decay", "0.9",
                 "--run.device", "CPU", "--run.dir", str(tmp_path / name), *options]
        done = subprocess.run([sys.executable, str(ROOT / "tests/training/tiny_train.py"), *words], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=540,
                              env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stdout
        values = read_checkpoint(str(tmp_path / name / "checkpoints" / "last.ckpt"))[0]
        return {key: value.asnumpy().tobytes() for key, value in values.items()}

    cached = "--run.compile_cache", str(tmp_path / "cache")
    plain = train("plain", "--train.keep", "2")
    assert train("first", *cached) == plain and len(os.listdir(tmp_path / "cache")) == 1
    assert train("second", *cached) == plain and len(os.listdir(tmp_path / "cache")) == 1
    middle = str(tmp_path / "plain" / "checkpoints" / "step-00000005.ckpt")
    assert train("resumed", *cached, "--train.resume", middle) == plain and len(os.listdir(tmp_path / "cache")) == 1
    smooth = train("smooth", "--loss.label_smoothing", "0.1")
    assert smooth != plain and train("smooth cached", *cached, "--loss.label_smoothing", "0.1") == smooth
    assert len(os.listdir(tmp_path / "cache")) == 2
