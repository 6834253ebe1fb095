"""`ghost-ms weights ...`: options reach the work, and names out of files and folders the terminal in print."""

import numpy as np
import pytest

from ghost_ms import create_model
from ghost_ms.cli import weights as weights_command
from ghost_ms.weights import fetch
from ghost_ms.weights.convert import torch_state
from ghost_ms.weights.files import open_file
from ghost_ms.weights.manifest import manifest
from tests import tiny
from tests.weights import torch_zip


@pytest.fixture(scope="module", autouse=True)
def network():
    with tiny.registered():
        yield


def _run(*words):
    return weights_command.main([str(word) for word in words])


@pytest.fixture
def path(tmp_path):
    """A file of somebody's training: the network is a part of what it trained."""
    state = torch_state(create_model("tiny"))
    return torch_zip.save({"student": {f"vision.{name}": value for name, value in state.items()}}, tmp_path / "a.ckpt")


def test_options_of_convert(path, tmp_path, capsys):
    out = tmp_path / "out.ckpt"
    words = ("convert", path, "-o", out, "--entry", "student")
    assert _run(*words, "--model", "tiny", "--prefix", "vision", "--in-channels", "1", "--num-classes", "4") == 0
    shown = capsys.readouterr().out.splitlines()
    assert "(student, names without 'vision.') -> tiny: 12 entries used, 2 dropped" in shown[0]
    assert "stem.0.weight takes 3 channels in the file: summed into one" in shown[2]
    assert open_file(out).described["args"] == {"num_classes": 4, "in_channels": 1}
    assert _run("to-torch", out, "-o", tmp_path / "b.safetensors") == 0
    # A file of ours says of which model it is; one of another tool does not.
    assert _run("convert", tmp_path / "b.safetensors", "-o", tmp_path / "c.ckpt") == 0
    with pytest.raises(ValueError, match="does not say which network it is of; name it with --model"):
        _run(*words)
    for option, word in (("--in-channels", "0"), ("--num-classes", "x"), ("--input-size", "1,2,3")):
        with pytest.raises((SystemExit, ValueError)):
            _run(*words, option, word)


def test_wrong_ending_is_said_before_any_work(tmp_path):
    for command, reason in (("convert", "end in .ckpt or .safetensors"), ("to-torch", "end in .safetensors")):
        with pytest.raises(ValueError, match=reason):
            _run(command, tmp_path / "absent.pth", "-o", tmp_path / "a.bin")


def test_brackets_and_escapes_are_printed_as_they_are(tmp_path, monkeypatch, capsys):
    home = tmp_path / "[/]a[red]b\x1b[31m"
    monkeypatch.setenv("GHOST_MS_HOME", str(home))
    release = manifest()["ghostnet_100"][0]
    cached = fetch.cached_path(release)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"<!DOCTYPE html>")
    assert _run("list", "ghostnet_100") == 0
    assert _run("verify", "ghostnet_100") == 1
    assert _run("verify", "tinynet_a") == 0
    shown = capsys.readouterr().out.replace("\n", "")
    assert r"[/]a[red]b\x1b[31m" in shown and "\x1b" not in shown
    assert "it is a web page; `ghost-ms weights fetch ghostnet_100` replaces it" in shown
    assert "no file of 'tinynet_a' is in" in shown


def test_report_of_hostile_names(tmp_path, capsys):
    state = {**torch_state(create_model("tiny")), "\x1b]0;owned\x07.total_ops": np.zeros(1, np.float32)}
    path = torch_zip.save({"state_dict": state, "\x1b[2J": {"a": np.zeros(2, np.float32)}}, tmp_path / "a.pth")
    assert _run("convert", path, "--model", "tiny", "--num-classes", "4", "-o", tmp_path / "a.ckpt") == 0
    shown = capsys.readouterr().out
    assert r"\x1b]0;owned\x07.total_ops" in shown and r"\x1b[2J/a" in shown and "\x1b" not in shown
