"""Which files are images, the same for every command, and what is said of the others."""
import collections
import os
import socket

import pytest

from ghost_ms.core.text import natural, some
from ghost_ms.data.decode import FORMATS
from ghost_ms.data.images import ENDINGS, class_folders, find_images, is_hidden, is_image, passed_over_line


def _touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def _names(root):
    return [os.path.relpath(path, root) for path in find_images(root).paths]


def test_whatever_is_decoded_is_found_whatever_its_case(tmp_path):
    names = [f"a{ending}" for ending in (".jpg", ".Jpg", ".JPEG", ".jfif", ".JPE", ".png", ".PNG", ".bmp", ".tif",
                                         ".TIFF", ".webp", ".WebP", ".gif", ".ppm", ".PGM", ".pbm", ".pnm", ".dib")]
    _touch(tmp_path, *names)
    assert sorted(_names(tmp_path)) == sorted(names) and not find_images(tmp_path).passed_over
    assert {ending for endings in FORMATS.values() for ending in endings} == ENDINGS
    assert is_image("a.b.JPG") and not any(map(is_image, ("jpg", ".jpg", "a.jpg.txt", "a", "a.")))


def test_folders_are_searched_to_the_bottom_in_plain_order(tmp_path):
    _touch(tmp_path, "b.png", "a/2.png", "a/10.png", "a/deep/er/1.jpg", "a b/1.png", "Z.png")
    assert _names(tmp_path) == ["Z.png", "a b/1.png", "a/10.png", "a/2.png", "a/deep/er/1.jpg", "b.png"]
    assert find_images(str(tmp_path)).paths == find_images(tmp_path).paths == sorted(find_images(tmp_path).paths)


def test_hidden_files_and_litter_are_left_out(tmp_path):
    hidden = [".hidden.png", "._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints/a.png",
              "__MACOSX/a.png", "@eaDir/a.png", "sub/.a.jpg", "lost+found/a.png"]
    _touch(tmp_path, "a.png", *hidden)
    found = find_images(tmp_path)
    assert _names(tmp_path) == ["a.png"] and found.passed_over == {"hidden": len(hidden)} and found.lost() == 0
    assert is_hidden("THUMBS.DB") and not is_hidden("thumbs.png")


def test_what_is_passed_over_is_counted_by_its_reason(tmp_path):
    _touch(tmp_path, "a.png", "b.txt", "sub/c.TXT", "d.heic", "e", "f.averyverylongending", ".x", "g.\x1b[2J", "h.svg")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.png"))
        found = find_images(tmp_path)
    assert _names(tmp_path) == ["a.png"] and found.lost() == 12
    assert found.passed_over == {
        ".txt": 2, ".heic (cannot be decoded here)": 1, ".svg (cannot be decoded here)": 1, "without an ending": 1,
        "with a long ending": 1, "hidden": 1, ".\\x1b[2j": 1, "pipe, socket or device": 3, "link to nothing": 2}


def test_links_are_followed_once_and_not_in_circles(tmp_path):
    _touch(tmp_path, "data/a/1.png", "data/b/2.png", "elsewhere/3.png", "elsewhere/file.png")
    data = tmp_path / "data"
    for link, target in (("up", ".."), ("self", "."), ("a/back", ".."), ("out", "../elsewhere"), ("z", "a")):
        (data / link).symlink_to(target)
    (data / "4.png").symlink_to(tmp_path / "elsewhere" / "file.png")
    found = find_images(data)
    assert sorted(os.path.realpath(path) for path in found.paths) == sorted(map(str, (
        data / "a/1.png", data / "b/2.png", tmp_path / "elsewhere/3.png", tmp_path / "elsewhere/file.png",
        tmp_path / "elsewhere/file.png"))), "a link to a file is a file"
    assert set(found.passed_over) == {"link to a folder that is searched already"}


def test_folders_that_link_to_each_other_many_times_are_searched_soon(tmp_path):
    """30 folders, each with two links to the next one: a billion ways to the last."""
    for index in range(30):
        _touch(tmp_path, f"{index}/a.png")
        for name in "lr":
            (tmp_path / str(index) / name).symlink_to(f"../{index + 1}")
    assert len(find_images(tmp_path / "0").paths) == 30


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_nobody_may_read_is_named_by_rights(tmp_path):
    (tmp_path / "secret").mkdir(mode=0)
    with pytest.raises(OSError, match="cannot read the folder '.*secret': Permission denied"):
        find_images(tmp_path)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(OSError, match="^cannot read the folder '.*': Permission denied$"):
        find_images(tmp_path)


def test_class_folders(tmp_path):
    _touch(tmp_path, "cat/1.png", "dog/1.png", ".ipynb_checkpoints/1.png", "__MACOSX/1.png", "readme.txt", "stray.png")
    (tmp_path / "linked").symlink_to("cat")
    folders, passed_over = class_folders(tmp_path)
    assert folders == {name: str(tmp_path / name) for name in ("cat", "dog", "linked")}
    assert passed_over == {"hidden": 2, "beside the class folders": 2}


def test_natural_order():
    assert sorted(["10", "2", "1", "01"], key=natural) == ["01", "1", "2", "10"]
    assert sorted(["b10", "B2", "a3", "C", "a20", "a3b", "Ä", "²", "x٣"], key=natural) == \
        ["a3", "a3b", "a20", "B2", "b10", "C", "x٣", "²", "Ä"]
    assert sorted(["n01440764", "n01443537"], key=natural) == ["n01440764", "n01443537"]


def test_the_line_on_what_was_passed_over():
    counted = collections.Counter({".txt": 9, "hidden": 2, ".heic (cannot be decoded here)": 1})
    assert passed_over_line(counted, "DIR") == \
        "passed over 12 files in DIR: 9 .txt, 2 hidden, 1 .heic (cannot be decoded here)"
    assert passed_over_line(collections.Counter({".a": 1}), "\x1b[2J") == "passed over 1 file in \\x1b[2J: 1 .a"
    assert passed_over_line(collections.Counter(), "DIR") == ""
    many = collections.Counter({f".{index}": 20 - index for index in range(9)})
    assert passed_over_line(many, "DIR").endswith("20 .0, 19 .1, 18 .2, 17 .3, 16 .4, 15 .5, 39 of 3 other kinds")


def test_some_names():
    assert some(["a", "b\n"]) == "'a', 'b\\x0a'" and some(list("abcde")) == "'a', 'b', 'c' and 2 more"
