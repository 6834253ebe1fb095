"""The sidecar: read strictly, bound to its file by a checksum, never newer than what it describes."""
import contextlib
import hashlib
import json
import math
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

from ghost_ms.cli import main
from ghost_ms.deploy import export
from ghost_ms.deploy.lite import convert
from ghost_ms.deploy.quantize import run as quantizing
from ghost_ms.runtime import checksums, sidecar
from ghost_ms.runtime.sidecar import copy_sidecar, read_json, read_sidecar
from ghost_ms.runtime.signature import ExportSignature
from tests import tiny
from tests.deploy.test_export import _description

ROOT = pathlib.Path(__file__).parents[2]
BOOT = str(ROOT / "ghost_ms" / "data" / "embedded" / "ankle_boot.png")


@pytest.fixture(autouse=True)
def tiny_models():
    with tiny.registered():
        yield


@pytest.fixture
def model(tmp_path):
    """A file that stands for an exported one, with its sidecar."""
    (tmp_path / "net.onnx").write_bytes(b"exported")
    tiny.write_sidecar(str(tmp_path / "net.onnx"), _description("tiny", (32, 32)), 1)
    return str(tmp_path / "net.onnx")


def _json(path):
    return pathlib.Path(sidecar.sidecar_path(str(path)))


def _rewrite(path, change):
    content = json.loads(_json(path).read_text())
    change(content)
    _json(path).write_text(json.dumps(content))


def _without_checksum(path):
    _rewrite(path, lambda content: content.pop("sha256"))


def test_the_checksum_is_that_of_the_file(model):
    assert read_json(model)["sha256"] == {"net.onnx": hashlib.sha256(b"exported").hexdigest()}
    assert read_sidecar(model).classes == [f"name {index}" for index in range(10)]


@pytest.mark.parametrize("content", [b"", b"exporteD", b"exported "])
def test_a_changed_file_is_refused(content, model):
    pathlib.Path(model).write_bytes(content)
    with pytest.raises(ValueError, match="'.*net.onnx' is not the file that '.*net.json' was written for .SHA-256 "
                                         ".*export or convert it again"):
        read_sidecar(model)
    _without_checksum(model)
    assert read_sidecar(model).batch_size == 1, "a sidecar of an earlier version says nothing"


def test_a_pair_may_be_moved_and_renamed(model, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for ending in (".onnx", ".json"):
        shutil.move(os.path.splitext(model)[0] + ending, tmp_path / "elsewhere" / f"other{ending}")
    assert read_sidecar(str(tmp_path / "elsewhere" / "other.onnx")).batch_size == 1


def test_a_copied_sidecar_has_the_checksum_of_the_other_file(model, tmp_path):
    (tmp_path / "int8.onnx").write_bytes(b"quantised")
    copy_sidecar(model, str(tmp_path / "int8.onnx"), quantised={"weights": "int8"})
    found = read_json(str(tmp_path / "int8.onnx"))
    assert found["sha256"] == {"int8.onnx": hashlib.sha256(b"quantised").hexdigest()}
    assert found["file"] == "int8.onnx" and found["quantised"] == {"weights": "int8"}
    shutil.copy(model, tmp_path / "int8.onnx")
    with pytest.raises(ValueError, match="is not the file that"):
        read_sidecar(str(tmp_path / "int8.onnx"))


@pytest.mark.parametrize("earlier", [False, True])
def test_files_of_one_stem_share_a_sidecar(earlier, model, tmp_path):
    """One that an earlier version wrote vouches for what lies there; another only for what it names."""
    if earlier:
        _without_checksum(model)
    (tmp_path / "net.ms").write_bytes(b"converted")
    if not earlier:
        with pytest.raises(ValueError, match="net.ms' is not the file that"):
            read_sidecar(str(tmp_path / "net.ms"))
        sidecar.add_to_sidecar(str(tmp_path / "net.ms"))
    (tmp_path / "net.mindir").write_bytes(b"exported too")
    tiny.write_sidecar(str(tmp_path / "net.mindir"), _description("tiny", (32, 32)), 1)
    assert set(read_json(model)["sha256"]) == {"net.onnx", "net.ms", "net.mindir"}
    for name in ("net.onnx", "net.ms", "net.mindir"):
        read_sidecar(str(tmp_path / name))
    # A new network under the old name: what belonged to the old one does not belong to it.
    (tmp_path / "net.mindir").write_bytes(b"another network")
    tiny.write_sidecar(str(tmp_path / "net.mindir"), _description("tiny", (64, 64)), 1)
    assert set(read_json(model)["sha256"]) == {"net.mindir"}
    with pytest.raises(ValueError, match="net.onnx' is not the file that"):
        read_sidecar(model)


class Killed(BaseException):
    """Takes the place of SIGKILL."""


@pytest.mark.parametrize("earlier", [False, True])
def test_a_kill_between_the_file_and_its_sidecar_is_noticed(earlier, tmp_path, monkeypatch):
    """An old pair is exported over: the new file is there, its sidecar is still the old one."""
    path = str(tmp_path / "net.mindir")
    for description in (_description("tiny", (32, 32)), _description("tiny", (64, 64))):
        if os.path.exists(path):
            if earlier:
                _without_checksum(path)

            def kill(*_):
                raise Killed

            monkeypatch.setattr(export, "write_sidecar", kill)
        with contextlib.suppress(Killed):
            export.export_mindir(description.build().set_train(False), description, path)
    assert read_json(path)["preprocessing"]["input_size"] == [32, 32]
    with pytest.raises(ValueError, match="net.mindir' is not the file that"):
        read_sidecar(path)
    assert sorted(os.listdir(tmp_path)) == ["net.json", "net.mindir"]


def test_the_file_is_on_the_disk_before_its_sidecar(tmp_path, monkeypatch):
    """Synced and renamed, one after the other."""
    order, replace, sync = [], os.replace, os.fsync

    def replaced(source, target):
        order.append(os.path.basename(target))
        replace(source, target)

    def synced(handle):
        name = os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))
        order.append("sync" + os.path.splitext(name)[1] if name.startswith(".writing-") else "sync folder")
        sync(handle)

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "fsync", synced)
    description = _description("tiny", (32, 32))
    export.export_mindir(description.build().set_train(False), description, str(tmp_path / "net.mindir"))
    assert order == ["sync.mindir", "net.mindir", "sync folder", "sync.json", "net.json", "sync folder"]


@pytest.mark.parametrize("command", [["infer", "--file", "NET", "--image", BOOT], ["lite", "convert", "NET"],
                                     ["lite", "run", "NET", "--image", BOOT],
                                     ["lite", "check", "NET", "--against", "x"],
                                     ["quantize", "NET", "--calibrate", str(ROOT / "ghost_ms" / "data" / "embedded")]])
def test_every_reader_holds_the_file_against_it(command, model, capsys):
    pathlib.Path(model).write_bytes(b"changed")
    assert main([model if word == "NET" else word for word in command]) == 1
    assert "net.onnx' is not the file that" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("change, reason", [
    (lambda c: c.pop("model"), "no proper model"), (lambda c: c.update(file=3), "no proper file"),
    (lambda c: c.update(file="../../x.onnx"), "no name of a file beside it"),
    (lambda c: c.update(inputs=[]), "inputs are no list of one"),
    (lambda c: c.update(outputs={}), "outputs are no list"),
    (lambda c: c["inputs"][0].update(shape=[1, 3, 32]), "inputs have no proper"),
    (lambda c: c["inputs"][0].update(shape=[1, 3, 32, 33]), "is not that of its preprocessing"),
    (lambda c: c["inputs"][0].update(shape=[10 ** 12, 3, 32, 32]), "inputs have no proper"),
    (lambda c: c["inputs"][0].update(shape=[1.0, 3, 32, 32]), "inputs have no proper"),
    (lambda c: c["outputs"][0].update(name=None), "outputs have no proper"),
    (lambda c: c["outputs"][0].update(shape=[1, 3]), "names 10 classes for 3 outputs"),
    (lambda c: c.update(normalisation="elsewhere"), "neither in-graph nor outside"),
    (lambda c: c.update(classes=3), "classes are no list"), (lambda c: c.update(classes=["a", 3]), "no text"),
    (lambda c: c.update(metrics=3), "metrics are no list"), (lambda c: c.update(metrics={"a": "b"}), "no number"),
    (lambda c: c.update(sha256={"a": "b"}), "sha256 holds no checksums"),
    (lambda c: c.update(sha256=["a"]), "sha256 holds no checksums"),
    (lambda c: c["preprocessing"].update(std=[0, 1, 1]), "preprocessing.std is"),
    (lambda c: c["preprocessing"].update(crop_ratio=math.nan), "preprocessing.crop_ratio is"),
    (lambda c: c["preprocessing"].update(later=1), "holds 'later', which this version does not know"),
    (lambda c: c.pop("preprocessing"), "preprocessing is no list")])
def test_a_sidecar_that_cannot_be_is_one_sentence(change, reason, model):
    _rewrite(model, change)
    with pytest.raises(ValueError, match=f"^'.*net.json' is no sidecar of an export: .*{reason}") as caught:
        read_sidecar(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"null", b"\xff\xfe", b"[" * 10 ** 5,
                                     b'"' + b"x" * 40_000_000])
def test_what_is_no_sidecar(content, model):
    _json(model).write_bytes(content)
    with pytest.raises(ValueError, match="^'.*net.json' is no sidecar of an export: "):
        read_sidecar(model)


def test_further_entries_and_metrics_that_are_no_numbers(model):
    """Earlier versions wrote NaN, for which JSON has no word; it is not passed on."""
    _rewrite(model, lambda content: content.update(metrics={"epoch": 3, "train_loss": math.nan}, anything=[1]))
    assert "NaN" in _json(model).read_text()
    assert read_json(model)["metrics"] == {"epoch": 3, "train_loss": None} and read_json(model)["anything"] == [1]
    copy_sidecar(model, model)
    assert "NaN" not in _json(model).read_text()


def test_what_the_first_version_wrote_is_read(model):
    """Without a checksum, and without where the normalisation is: it was outside."""
    _rewrite(model, lambda content: (content.pop("sha256"), content.pop("normalisation")))
    assert read_sidecar(model).form == ExportSignature()


def test_fifos_and_folders_are_no_sidecars(model):
    _json(model).unlink()
    os.mkfifo(_json(model))
    with pytest.raises(FileNotFoundError, match="has no sidecar"):
        read_sidecar(model)


def test_a_converted_file_is_vouched_for(tmp_path, monkeypatch):
    """Beside its source it shares the sidecar; elsewhere it gets one."""
    def write(source, target, *_):
        pathlib.Path(target).write_bytes(b"converted")
        return ""

    monkeypatch.setattr(convert, "_run_converter", write)
    monkeypatch.setattr("ghost_ms.deploy.lite.lower.lower_file", lambda *_: None)
    source = str(tmp_path / "net.onnx")
    pathlib.Path(source).write_bytes(b"exported")
    tiny.write_sidecar(source, _description("tiny", (32, 32)), 0)
    for target in (tmp_path / "net.ms", tmp_path / "out" / "other.ms"):
        convert.convert(source, str(target))
        read_sidecar(str(target))
        assert read_json(str(target))["sha256"][target.name] == checksums.digest(str(target))
    read_sidecar(source)
    assert sorted(os.listdir(tmp_path)) == ["net.json", "net.ms", "net.onnx", "out"]


def test_the_ranking_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = str(tmp_path / "ranking.csv")
    pathlib.Path(path).write_text("old")

    def cut(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", cut)
    with pytest.raises(OSError, match="cannot write '.*ranking.csv': No space left"):
        quantizing.write_csv([], path)
    assert pathlib.Path(path).read_text() == "old" and os.listdir(tmp_path) == ["ranking.csv"]


def test_an_export_leaves_nothing_else_behind(tmp_path, monkeypatch):
    """Neither beside its results nor among what git would offer to commit in a clone of this project."""
    shutil.copy(ROOT / ".gitignore", tmp_path)
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q", "."], check=True)
    subprocess.run(["git", "add", ".gitignore"], check=True)
    assert main(["export", "--model", "tiny", "--input_size", "32", "32"]) == 0
    assert sorted(set(os.listdir(tmp_path)) - {".git", ".gitignore"}) == ["tiny.json", "tiny.mindir"]
    status = subprocess.run(["git", "status", "--porcelain"], check=True, capture_output=True, text=True).stdout
    assert status == "A  .gitignore\n"


def test_a_network_that_gives_no_numbers_is_not_exported(tmp_path):
    description = _description("tiny", (32, 32))
    net = description.build().set_train(False)
    net.head.bias.set_data(export.ms.Tensor(np.full(10, np.nan, np.float32)))
    with pytest.raises(ValueError, match="outputs that are no finite numbers"):
        export.export_mindir(net, description, str(tmp_path / "net.mindir"))
    assert os.listdir(tmp_path) == []
