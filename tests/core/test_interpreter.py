"""A module of this package in a process of its own is this package's, wherever it is started."""
import os
import subprocess
import sys

import ghost_ms
from ghost_ms.core import interpreter


def test_nothing_is_imported_from_the_current_folder(tmp_path):
    for name in ("numpy.py", "json.py", "runpy.py", "ghost_ms.py"):
        (tmp_path / name).write_text("raise SystemExit('the current folder was asked')")
    (tmp_path / "argument").write_text("")
    # Any module that ends at once: it prints what it was given.
    command = interpreter.command("ghost_ms.core.text", "argument")
    command[2] += "\nimport json, os, numpy, ghost_ms; print(json.dumps([sys.argv, ghost_ms.__file__, numpy.__file__]))"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f'"argument"], "{ghost_ms.__file__}"' in done.stdout and str(tmp_path) not in done.stdout
    assert subprocess.run([sys.executable, "-m", "json"], cwd=tmp_path, env=environment,
                          capture_output=True).returncode == 1, "which `python -m` does"


def test_the_exit_code_is_the_modules_own():
    done = subprocess.run(interpreter.command("ghost_ms.core.nothing"), capture_output=True, text=True)
    assert done.returncode == 1 and "No module named ghost_ms.core.nothing" in done.stderr
