"""What `ghost-ms doctor` says of machines and packages, most of which are not here."""
import pytest

from ghost_ms.analysis import doctor
from ghost_ms.analysis.doctor import ABSENT, BAD, GOOD
from ghost_ms.cli import main
from ghost_ms.core import device, onednn


def _versions(**known):
    return known.get


@pytest.mark.parametrize("version, state", [((3, 8), BAD), ((3, 9), GOOD), ((3, 12), GOOD), ((3, 13), BAD)])
def test_python(version, state):
    assert doctor.check_python(version).state == state


@pytest.mark.parametrize("versions, states, words", [
    (dict(mindspore="2.8.0", numpy="1.26.4"), [GOOD, GOOD], "2.8.0"),
    (dict(numpy="1.26.4"), [BAD, GOOD], "pip install"),
    (dict(mindspore="2.10.0", numpy="1.26.4"), [GOOD, GOOD], "2.10.0"),
    (dict(mindspore="2.6.0", numpy="1.26.4"), [BAD, GOOD], "2.7 or newer is needed"),
    (dict(mindspore="2.8.0", numpy="2.1.0"), [GOOD, BAD], "'numpy<2'"), (dict(mindspore="2.8.0"), [GOOD, BAD], "not")])
def test_packages_that_fit_each_other(versions, states, words):
    found = doctor.check_packages(_versions(**versions))
    assert [one.state for one in found] == states and any(words in one.found for one in found)


@pytest.mark.parametrize("version, flags, slow", [
    ("2.8.0", {"avx2", "avx512f"}, False), ("2.9.0", {"avx2", "avx512f"}, True), ("2.10.1", {"avx512f"}, True),
    ("2.10.0", {"avx2"}, False), ("2.10.0", set(), False), ("3.0.0rc1", {"avx512f"}, True)])
def test_slow_convolutions(version, flags, slow, monkeypatch):
    monkeypatch.delenv(onednn.VARIABLE, raising=False)
    said = onednn.slow_convolutions(version, frozenset(flags))
    assert bool(said) == slow
    if slow:
        assert version in said and "mindspore==2.8.0" in said
    found = doctor.check_processor("X", 2, sorted(flags), version)
    assert [one.state for one in found] == [GOOD] + [ABSENT] * slow


def test_tools():
    nothing = doctor.check_tools(_versions(), lambda name: None, None)
    assert [one.state for one in nothing] == [ABSENT] * 3
    assert "pip install onnx onnxruntime" in nothing[0].found and "setup_lite.sh" in nothing[1].found
    everything = doctor.check_tools(_versions(onnx="1.16", onnxruntime="1.19"), "/usr/bin/{}".format, "/lite/python")
    assert [one.state for one in everything] == [GOOD] * 3
    assert "cmake" in doctor.check_tools(_versions(), lambda name: None if name == "cmake" else name, None)[2].found


def test_a_card_that_cannot_be_used_is_no_good(monkeypatch):
    monkeypatch.setattr(device, "setup", lambda *_: "CPU")
    monkeypatch.setattr(device, "passed_over", lambda: {"Ascend": "no driver", "GPU": "not built for it"})
    monkeypatch.setattr(device, "cards", lambda: {"Ascend": ["/dev/davinci0"], "GPU": []})
    assert [(one.state, one.what) for one in doctor.check_device()] == [
        (GOOD, "device"), (BAD, "Ascend"), (ABSENT, "GPU")]
    assert "/dev/davinci0 cannot be used: no driver" in doctor.check_device()[1].found


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    assert doctor.check_cache(str(tmp_path / "a" / "b")).state == GOOD
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert doctor.check_cache(str(tmp_path)).state == BAD


def test_the_command_here(capsys):
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("ghost-ms ") and "ok  MindSpore" in said and "ok  device" in said


def test_the_command_says_what_is_wrong(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "version_of", _versions(mindspore="2.8.0", numpy="2.0.0"))
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "!!  NumPy" in said and "device" not in said


def test_cpu_kernels(monkeypatch):
    monkeypatch.setattr(doctor.build, "outlook", lambda: "/somewhere/library.so")
    assert doctor.check_kernels() == (doctor.GOOD, "CPU kernels", "/somewhere/library.so")

    def none():
        raise doctor.build.Unavailable("there is no C++ compiler (c++): install g++")

    monkeypatch.setattr(doctor.build, "outlook", none)
    assert doctor.check_kernels().state == doctor.ABSENT
