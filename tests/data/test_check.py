"""Every image of a split is looked at before a training, and what was found is remembered."""
import json
import os
import re
import sys

import numpy as np
import pytest
from PIL import Image

from ghost_ms.config import DataConfig
from ghost_ms.data import check, decode
from ghost_ms.data.check import check_images, check_split, fault_of
from ghost_ms.data.datasets import open_source
from tests.data import fuzz_images
from tests.data.test_decode import LARGE

CALLS = []


@pytest.fixture
def counted(monkeypatch):
    """Names of the files that are looked at."""
    CALLS.clear()
    monkeypatch.setattr(check, "fault_of", lambda path: CALLS.append(os.path.basename(path)) or fault_of(path))
    return CALLS


def _noise(path, size=(300, 200), **options):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def root(tmp_path):
    """Two classes of 3 small images each, to train and to test."""
    for split in ("train", "val"):
        for name in ("ant", "bee"):
            os.makedirs(tmp_path / split / name)
            for index in range(3):
                _noise(tmp_path / split / name / f"{name}{index}.{'jpg' if index else 'png'}", (20, 30))
    return tmp_path


def _source(root, split="train"):
    return open_source(DataConfig("image_folder", str(root)), split)


@pytest.mark.parametrize("name", sorted(fuzz_images.sources()))
def test_a_sound_file_has_no_fault(name, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(fuzz_images.sources()[name])
    assert fault_of(str(path)) is None


@pytest.mark.parametrize("fast", [True, False], ids=["", "pillow"])
@pytest.mark.parametrize("format", ["jpg", "png", "webp", "gif", "bmp", "tif", "ppm"])
def test_files_that_are_cut_short_or_too_large_are_found(format, fast, tmp_path, monkeypatch):
    if not fast:
        monkeypatch.setattr(decode, "simplejpeg", None)
    path = tmp_path / f"a.{format}"
    _noise(path)
    content = path.read_bytes()
    assert len(content) > check.HEAD / 4 and fault_of(str(path)) is None
    for keep in (0, 1, 10, len(content) // 3, len(content) // 2, len(content) - 500):
        path.write_bytes(content[:keep])
        assert fault_of(str(path)).startswith("not a readable image: "), keep
    path.write_bytes(content)
    monkeypatch.setattr(decode, "MAX_PIXELS", 300 * 200 - 1)
    assert "pixels are the limit" in fault_of(str(path))


@pytest.mark.parametrize("name", LARGE)
def test_absurd_sizes_are_found(name, tmp_path):
    (tmp_path / "a").write_bytes(LARGE[name]())
    assert "GHOST_MS_MAX_PIXELS" in fault_of(str(tmp_path / "a"))


def test_long_heads_and_long_files_are_sound(tmp_path):
    path = str(tmp_path / "a.jpg")
    _noise(path, (900, 900), quality=95, icc_profile=bytes(200000))
    assert fault_of(path) is None
    with open(path, "ab") as file:
        file.write(b"trailer of a camera")
    assert fault_of(path) is None, "the end tells nothing, so the whole is decoded"
    _noise(str(tmp_path / "a.png"), (300, 300), icc_profile=os.urandom(200000))
    assert fault_of(str(tmp_path / "a.png")) is None


def test_what_cannot_be_opened_has_a_reason(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    assert fault_of(str(tmp_path / "pipe.png")) == "not a readable image: it is a named pipe, not a file"
    assert fault_of(str(tmp_path / "gone.png")) == "No such file or directory"
    (tmp_path / "a.png").write_bytes(b"")
    assert fault_of(str(tmp_path / "a.png")) == "not a readable image: the file is empty"


def test_faults_are_listed_in_order(root):
    source = _source(root)
    assert check_images(source) == []
    os.truncate(source.paths[4], 100)
    os.remove(source.paths[1])
    faults = check_images(source, workers=3)
    assert [name for name, _ in faults] == [source.paths[1], source.paths[4]]
    assert faults[0][1] == "No such file or directory" and "not a readable image" in faults[1][1]
    assert check_images(open_source(DataConfig("embedded"), "val")) == []


def test_what_was_found_is_remembered_until_something_changes(root, counted):
    source, cache = _source(root), str(root / "home" / "checked.json")
    os.truncate(source.paths[4], 100)
    first = check_images(source, cache=cache)
    assert len(first) == 1 and len(counted) == 6
    counted.clear()
    assert check_images(source, cache=cache) == first and counted == ["bee1.jpg"], "what is faulty may have been mended"
    counted.clear()
    _noise(source.paths[4], (20, 30))
    assert check_images(source, cache=cache) == [] and sorted(counted) == ["bee0.png", "bee1.jpg", "bee2.jpg"]
    counted.clear()
    assert check_images(source, cache=cache) == check_images(_source(root), cache=cache) == [] and counted == []
    status = os.stat(source.paths[0])
    os.utime(source.paths[0], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert check_images(source, cache=cache) == [] and sorted(counted) == ["ant0.png", "ant1.jpg", "ant2.jpg"]
    counted.clear()
    assert check_images(_source(root, "val"), cache=cache) == [] and len(counted) == 6
    counted.clear()
    assert check_images(source, cache=cache) == [] and counted == [], "other folders are not forgotten"


def test_another_limit_of_pixels_is_another_question(root, counted, monkeypatch):
    source, cache = _source(root), str(root / "checked.json")
    assert check_images(source, cache=cache) == []
    monkeypatch.setattr(decode, "MAX_PIXELS", 599)
    assert len(check_images(source, cache=cache)) == 6


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"7", b'{"a": 1}', b'{"a": [1]}', b"[" * 200000, b"\xff\xfe", b'{"a": {"b": ["c"]}}'])
def test_a_strange_cache_is_none(content, root, counted):
    cache = root / "checked.json"
    cache.write_bytes(content)
    assert check_images(_source(root), cache=str(cache)) == [] and len(counted) == 6
    assert all(isinstance(names, list) for names in json.loads(cache.read_text()).values())
    counted.clear()
    assert check_images(_source(root), cache=str(cache)) == [] and counted == []


def test_a_cache_that_is_large_or_no_file_is_none(root, counted, monkeypatch):
    monkeypatch.setattr(check, "CACHE_BYTES", 10)
    for _ in range(2):
        assert check_images(_source(root), cache=str(root / "checked.json")) == []
    assert len(counted) == 12
    os.mkfifo(root / "pipe")
    assert check_images(_source(root), cache=str(root / "pipe")) == []


def test_the_cache_is_bounded(root, monkeypatch):
    cache = str(root / "checked.json")
    monkeypatch.setattr(check, "CACHE_FOLDERS", 3)
    for split in ("train", "val"):
        check_images(_source(root, split), cache=cache)
    kept = json.loads(open(cache).read())
    assert len(kept) == 3
    for path in _source(root).paths:
        os.truncate(path, 10)
    monkeypatch.setattr(check, "CACHE_FAULTS", 2)
    check_images(_source(root), cache=cache)
    assert json.loads(open(cache).read()) == kept, "a folder of many faults is looked at again each time"


def test_a_cache_that_cannot_be_written_is_said(root, capsys):
    (root / "home").write_text("a file")
    assert check_images(_source(root), cache=str(root / "home" / "checked.json")) == []
    assert "the images will be checked anew at the next start" in capsys.readouterr().err


def test_the_bar_is_on_a_terminal_alone(root, monkeypatch, capsys):
    check_images(_source(root))
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    check_images(_source(root))
    out, err = capsys.readouterr()
    assert out == "" and "checking the images" in err
    check_images(_source(root), progress=False)
    assert capsys.readouterr() == ("", "")


def test_the_verdict_on_a_split(root):
    config, train, test = DataConfig(max_corrupt_share=0.4), _source(root), _source(root, "val")
    assert check_split(train, "train", config) == check_split(test, "val", config) == []
    for path in (train.paths[0], train.paths[5], test.paths[3]):
        os.truncate(path, 0)
    (line,) = check_split(train, "train", config)
    reason = "(not a readable image: the file is empty)"
    assert line == ("2 of the 6 training images cannot be read and will be replaced by others: "
                    f"{train.paths[0]} {reason}; {train.paths[5]} {reason}")
    empty = re.escape(reason)
    with pytest.raises(ValueError, match=f"2 of the 6 training images cannot be read, more than data.max_corrupt_share "
                                         rf"\(0.3\) allows: .*ant0.png {empty}; .*bee2.jpg {empty}; remove or replace"):
        check_split(train, "train", DataConfig(max_corrupt_share=0.3))
    with pytest.raises(ValueError, match=f"1 of the 6 test images cannot be read, and none may be missing: .*bee0.png "
                                         f"{empty}; remove or replace"):
        check_split(test, "val", config)
    for path in train.paths:
        os.truncate(path, 0)
    with pytest.raises(ValueError, match="; and 1 more; remove"):
        check_split(train, "train", config)
