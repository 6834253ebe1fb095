"""What scripts/setup_env.sh says on machines that are not ready; stand-ins for Python, nothing is installed."""
import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[1]
TOOLS = ("bash", "cat", "cksum", "dirname", "mkdir", "rm", "sed")
#: A Python that is new enough; what it does with -m is the case's.
GOOD = 'case "$*" in "-c import sys"*) exit 0 ;; --version) echo "Python 3.11.7" ;; {cases} esac'
TOO_NEW = 'case "$1" in --version) echo "Python 3.13.0" ;; *) exit 1 ;; esac'


@pytest.fixture
def clone(tmp_path):
    """clone(name=script, ...): a fresh copy of what the quickstart needs, with these commands alone on the PATH."""
    for name in ("scripts/quickstart.sh", "scripts/setup_env.sh", "setup.py", "constraints.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(shutil.which(name))

    def write(path, script):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{tools}/bash\n{script}\n")
        path.chmod(0o755)

    def run(scripts, **variables):
        for name, script in scripts.items():
            write(tmp_path / name, script)
        done = subprocess.run([str(tools / "bash"), "scripts/quickstart.sh"], cwd=tmp_path, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60,
                              env={"PATH": str(tools), "HOME": str(tmp_path), **variables})
        assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("error: ")
        assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1
        return done.stderr.splitlines()[-1]

    run.folder = tmp_path
    return run


def test_python_is_too_new(clone):
    said = clone({"tools/python3": TOO_NEW})
    assert "Python 3.9 to 3.12 is needed" in said and "none on the PATH" in said and "set PYTHON=" in said
    said = clone({}, PYTHON="/nowhere/python")
    assert "PYTHON=/nowhere/python is none" in said and not (clone.folder / ".venv").exists()


def test_python_without_venv(clone):
    """As Debian's: it leaves half an environment behind, which would puzzle the second try."""
    half = '"-m venv"*) mkdir -p .venv/bin; cat < /dev/null > .venv/bin/python; exit 1 ;;'
    said = clone({"tools/python3": GOOD.format(cases=half)})
    assert "python3 cannot make .venv" in said and "python3-venv" in said
    assert not (clone.folder / ".venv").exists()


def test_environment_of_another_python(clone):
    said = clone({".venv/bin/python": TOO_NEW})
    assert ".venv holds Python 3.13.0" in said and "rm -r .venv" in said


def test_no_way_to_the_package_index(clone):
    cases = '"-c import pip") exit 1 ;; "-m ensurepip") cat < /dev/null > called ;; "-m pip install"*) exit 1 ;;'
    said = clone({".venv/bin/python": GOOD.format(cases=cases)})
    assert "pip could not install" in said and "PIP_INDEX_URL" in said and "PIP_FIND_LINKS" in said
    assert (clone.folder / "called").exists() and not os.path.exists(clone.folder / ".venv/installed")
