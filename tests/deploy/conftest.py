"""The C++ programs, built once for all tests, and two photographs for them."""
import fcntl
import os
import pathlib
import re
import shutil
import subprocess

import mindspore
import numpy as np
import pytest
from PIL import Image

from ghost_ms.runtime import lite

SOURCES = pathlib.Path(__file__).parents[2] / "ghost_ms" / "deploy" / "cpp"


def _lite_root():
    """The folder of the Python package mindspore_lite; skips where there is none, or none with headers."""
    python = lite.lite_python()
    if python is None:
        pytest.skip("no MindSpore Lite: bash scripts/setup_lite.sh")
    code = "import importlib.util as u; print(u.find_spec('mindspore_lite').submodule_search_locations[0])"
    root = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    if not os.path.isfile(os.path.join(root, "include", "api", "model.h")):
        pytest.skip(f"no C++ headers in {root}")
    return root


def configure(folder, lite_root):
    json_headers = os.path.join(os.path.dirname(mindspore.__file__), "include", "third_party")
    return subprocess.run(["cmake", "-S", SOURCES, "-B", folder, f"-DMSLITE_ROOT={lite_root}",
                           "-DCMAKE_CXX_FLAGS=-Werror", f"-DNLOHMANN_JSON_INCLUDE_DIR={json_headers}"],
                          capture_output=True, text=True)


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """Path of the built program; built once, whichever of pytest's processes comes first."""
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")
    lite_root = _lite_root()
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cpp"
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ghost_ms_classify").is_file():
            configured = configure(folder, lite_root)
            missing = re.search(r"Could NOT find (JPEG|PNG)", configured.stderr)
            if missing:
                pytest.skip(f"no development files of lib{missing.group(1).lower()}")
            assert configured.returncode == 0, configured.stderr
            built = subprocess.run(["cmake", "--build", folder, "-j2"], capture_output=True, text=True)
            assert built.returncode == 0, built.stdout + built.stderr
    return str(folder / "ghost_ms_classify")


@pytest.fixture(scope="session")
def waves(tmp_path_factory):
    """Two photographs' worth of waves, wide and tall, one grey."""
    folder, (y, x) = tmp_path_factory.mktemp("waves"), np.mgrid[0:211, 0:330]
    pixels = np.stack([127 + 120 * np.sin(x / 19 + y / 31), 127 + 120 * np.cos(y / 17), x * y % 256], -1)
    wide = Image.fromarray(pixels.astype(np.uint8))
    wide.save(folder / "wide.png")
    wide.rotate(90, expand=True).convert("L").resize((50, 77)).save(folder / "tall.jpg")
    return [folder / "wide.png", folder / "tall.jpg"]
