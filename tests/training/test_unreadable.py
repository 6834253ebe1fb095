"""Training images that cannot be read are named in the log, and all listed in a file."""
import numpy as np
import pytest
from PIL import Image

from ghost_ms.core.device import World
from ghost_ms.data.datasets import Dataset
from ghost_ms.training import curves, unreadable
from ghost_ms.training.callbacks import Callback
from ghost_ms.training.fit import fit
from ghost_ms.training.unreadable import Unreadable
from tests.tiny import registered
from tests.training.recipes import small


def _source(names):
    return Dataset(["a"], np.zeros(len(names), np.int32), 3, True, None, names)


def test_each_is_told_once_and_listed(tmp_path):
    names = [f"{number}.jpg" for number in range(8)] + ["x\x1b[2J\n.jpg"]
    found = Unreadable(str(tmp_path), _source(names), World(), True)
    assert found.add([]) == "" and list(tmp_path.iterdir()) == []
    assert found.add(["3.jpg"]) == (f"1 training image cannot be read and was replaced: 3.jpg; "
                                    f"'{tmp_path}/unreadable.txt' lists all such")
    assert found.add(["3.jpg"]) == ""
    line = found.add([*names[:7], "x\x1b[2J\n.jpg"])
    assert line.startswith("7 training images cannot be read and were replaced: 0.jpg, 1.jpg, 2.jpg, 4.jpg, 5.jpg and "
                           "2 more; ")
    expected = ["3.jpg", "0.jpg", "1.jpg", "2.jpg", "4.jpg", "5.jpg", "6.jpg", "x\\x1b[2J\\x0a.jpg"]
    assert (tmp_path / "unreadable.txt").read_text().splitlines() == expected
    # A training that goes on knows them; a new one begins a new list.
    assert Unreadable(str(tmp_path), _source(names), World(), False).add(["6.jpg"]) == ""
    assert Unreadable(str(tmp_path), _source(names), World(), True).add([]) == ""
    assert not (tmp_path / "unreadable.txt").exists()


def test_those_of_other_ranks_are_in_the_list(tmp_path, monkeypatch):
    """Another rank has met 5.jpg, and this one none or 1.jpg."""
    names = [f"{number}.jpg" for number in range(8)]

    def added(values, world):
        return [value + (len(values) == 1 or sample == 5) for sample, value in enumerate(values)]

    monkeypatch.setattr(unreadable, "sum_over_ranks", added)
    found = Unreadable(str(tmp_path), _source(names), World(0, 2), True)
    assert "1 training image cannot be read and was replaced: 5.jpg;" in found.add([])
    assert "1 training image cannot be read and was replaced: 1.jpg;" in found.add(["1.jpg"])
    assert Unreadable(str(tmp_path), _source(names), World(1, 2), True).add(["1.jpg"])
    assert (tmp_path / "unreadable.txt").read_text() == "5.jpg\n1.jpg\n"


@pytest.mark.parametrize("stop_at", [None, 2])
def test_a_run_lists_them(stop_at, tmp_path, monkeypatch, capsys):
    """Also where it is broken off within an epoch."""
    monkeypatch.setattr(curves, "draw_curves", lambda *_: None)
    draw = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 2)):
        for name in ("cat", "dog"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 256, (16, 16, 3), np.uint8)).save(
                    tmp_path / "data" / split / name / f"{number}.png")
    for name in ("cat/0.png", "dog/1.png"):
        path = tmp_path / "data" / "train" / name
        # Sound at both ends: no look at the header finds it.
        content = bytearray(path.read_bytes())
        content[60:-20] = bytes(len(content) - 80)
        path.write_bytes(content)

    class Stop(Callback):
        def on_step(self, training, loss):
            if training.progress.step == stop_at:
                training.stop("enough")

    recipe = small(tmp_path / "run", dict(dataset="image_folder", root=str(tmp_path / "data"), batch_size=4,
                                          max_corrupt_share=0.5), epochs=2)
    with registered():
        if stop_at:
            with pytest.raises(Exception, match="enough"):
                fit(recipe, [Stop()])
        recipe.train.resume = "auto"
        fit(recipe)
    listed = (tmp_path / "run" / "unreadable.txt").read_text().splitlines()
    assert sorted(listed) == [str(tmp_path / "data/train/cat/0.png"), str(tmp_path / "data/train/dog/1.png")]
    log = (tmp_path / "run" / "log.txt").read_text()
    assert sum(log.count(f"{name}, ") + log.count(f"{name};") for name in listed) == 2
