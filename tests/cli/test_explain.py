"""`ghost-ms explain` on several images: a picture for each, where it is looked for, and none lost by a bad one."""
import pathlib

import numpy as np
import pytest
from PIL import Image

from ghost_ms.analysis.explain import explain
from ghost_ms.cli import main
from tests.cli import photos
from tests.tiny import registered


@pytest.fixture
def here(tmp_path, monkeypatch):
    """photos/: cat.jpg and cat.png, a folder with another cat.png, and a broken image."""
    with registered():
        photos.make(tmp_path)
        for place, seed in (("cat.jpg", 0), ("cat.png", 1), ("sub/cat.png", 2)):
            photos.picture(tmp_path / "photos" / place, seed)
        (tmp_path / "photos" / "a.png").write_text("hello")
        monkeypatch.chdir(tmp_path)
        yield


def _pictures(folder):
    return sorted(str(path) for path in pathlib.Path(folder).rglob("*_gradcam.png"))


def test_every_image_has_a_picture_of_its_own(here, capsys):
    """In a second call too, which finds what the first one wrote."""
    images = ["photos/cat.jpg", "photos/cat.png", "photos/sub", "photos/a.png"]
    for _ in range(2):
        assert main(["explain", "--ckpt", "tiny.ckpt", "--image", *images]) == 1
        streams = capsys.readouterr()
        lines = streams.out.splitlines()
        assert [line.split(": ")[0] for line in lines] == [
            "photos/cat_jpg_gradcam.png", "photos/cat_png_gradcam.png", "photos/sub/cat_png_gradcam.png"]
        assert "photos/a.png' is not a readable image" in streams.err.splitlines()[-1]
    assert _pictures("photos") == sorted(line.split(": ")[0] for line in lines)
    first, second = (np.asarray(Image.open(f"photos/cat_{ending}_gradcam.png")) for ending in ("jpg", "png"))
    assert not np.array_equal(first, second)


def test_a_folder_takes_the_pictures_in_folders_as_the_images_lie(here, capsys):
    assert main(["explain", "--ckpt", "tiny.ckpt", "photos/cat.jpg", "photos/**/cat.png", "-o", "out/deep"]) == 0
    assert _pictures("out") == ["out/deep/cat_jpg_gradcam.png", "out/deep/cat_png_gradcam.png",
                                "out/deep/sub/cat_png_gradcam.png"]
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["explain", "--ckpt", "tiny.ckpt", "photos/cat.jpg", "-o", "one.png"]) == 0
    assert Image.open("one.png").size[0] > 300


def test_nothing_is_left_behind_where_it_cannot_be_explained(here, capsys):
    assert main(["explain", "--ckpt", "tiny.ckpt", "photos/cat.jpg", "--stage", "7", "-o", "out"]) == 1
    assert "--stage is 7" in capsys.readouterr().err and not pathlib.Path("out").exists()
    assert main(["explain", "--ckpt", "tiny.ckpt"]) == 1
    assert "name at least one image" in capsys.readouterr().err
    assert main(["explain", "--ckpt", "tiny.ckpt", "photos/sub"]) == 0
    pathlib.Path("photos/sub/cat.png").unlink()
    assert main(["explain", "--ckpt", "tiny.ckpt", "photos/sub"]) == 1
    assert "earlier calls have written" in capsys.readouterr().err


def test_a_name_is_no_formula_and_no_escape_sequence(here, capsys):
    from ghost_ms.checkpoints.checkpoint import read_checkpoint, save_checkpoint
    from tests.tiny import Tiny

    _, description = read_checkpoint("tiny.ckpt")
    description.classes[:] = ["$\\frac$", "$x_{$", "\x1b[31m", "a\nb"]
    save_checkpoint(Tiny(), "odd.ckpt", description)
    for target in range(4):
        assert main(["explain", "--ckpt", "odd.ckpt", "photos/cat.jpg", "-o", f"{target}.png", "--class",
                     str(target)]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 4 and "\x1b" not in out and "\\x1b[31m" in out


@pytest.mark.parametrize("paths", [
    ["a/x.jpg", "b/x.jpg", "a/x.png"], ["x.jpg", "x_jpg.png", "x.jpg.png", "x", "x_", "x.JPG"],
    ["/tmp/x/y.png", "y.png", "../y.png"]])
@pytest.mark.parametrize("where", [None, "out"])
def test_no_two_images_have_one_picture(paths, where):
    found = explain.outputs(paths * 2, "gradcam", where)
    assert list(found) == paths and len(set(found.values())) == len(paths)
    assert all(explain.is_explanation(path) for path in found.values())
    if where:
        assert all(path.startswith("out/") and ".." not in path for path in found.values())
