"""What needs no PyTorch of scripts/compare_data_speed.py on its own pictures."""
import json
import os
import pathlib
import subprocess
import sys

from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]


def test_sides_are_measured_on_pictures_like_those_of_imagenet(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import compare_data_speed

    compare_data_speed.make_images(str(tmp_path), 128)
    files = sorted((tmp_path / "train").glob("*/*.jpg"))
    assert len(files) == 128 and len({file.parent for file in files}) == 8
    assert {Image.open(file).size for file in files} == {(500, 375), (375, 500)}
    assert 60e3 < sum(file.stat().st_size for file in files) / 128 < 140e3
    for side in set(compare_data_speed.SIDES) - {"torchvision"}:
        done = subprocess.run([sys.executable, compare_data_speed.__file__, "--side", side, "--folder", str(tmp_path),
                               "--workers", "1"], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
                              stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        assert found["rate"] > 1 and 0.1 < found["cpu"] < 1000
