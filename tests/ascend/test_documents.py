"""ascend/README.md in both languages: its commands as they stand are understood, and the two say the same."""
import os
import pathlib
import re
import shlex
import subprocess
import sys

import explain
import pytest

from tests.ascend.conftest import ROOT
from tests.test_readme import blocks, commands, inline_code, prose, without_comments

ENGLISH, CHINESE = ROOT / "ascend" / "README.md", ROOT / "ascend" / "README_CN.md"
#: Steps of a list hold their code and their tables set in.
SET_IN = re.compile(r"^ {2,3}(?=\S)", re.M)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Both documents, lists and all, with what is set in brought to the margin: (English, Chinese)."""
    folder = tmp_path_factory.mktemp("pages")
    made = []
    for page in (ENGLISH, CHINESE):
        path = folder / page.name
        path.write_text(SET_IN.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")
        made.append(path)
    return made


def test_both_languages_hold_the_same_code(pages):
    ours, theirs = ([without_comments(block) for block in blocks(page, "sh")] for page in pages)
    assert theirs == ours and len(ours) >= 8


def test_both_languages_link_to_each_other_and_to_the_same_pages():
    for page, other in ((ENGLISH, CHINESE), (CHINESE, ENGLISH)):
        assert f"]({other.name})" in page.read_text(encoding="utf-8").split("\n\n")[1]
    ours, theirs = (set(re.findall(r"\]\((?!README)([^)]+)\)", page.read_text(encoding="utf-8")))
                    for page in (ENGLISH, CHINESE))
    assert theirs == ours and len(ours) > 3


def test_both_languages_name_the_same_things_and_figures(pages):
    """Section by section: what stands between backquotes, and every number."""
    ours, theirs = (re.split(r"^##+ .*$", prose(page), flags=re.M) for page in pages)
    assert len(ours) == len(theirs) > 8
    number = r"(?<![A-Za-z0-9_.])\d[\d,.]*\d|(?<![A-Za-z0-9_.])\d"
    for english, chinese in zip(ours, theirs):
        assert sorted(inline_code(chinese)) == sorted(inline_code(english)), english[:80]
        assert sorted(re.findall(number, chinese)) == sorted(re.findall(number, english)), english[:80]
        assert chinese.count("\n| ") == english.count("\n| "), english[:80]


def test_both_tables_of_messages_are_the_one_that_the_launchers_use():
    for page in (ENGLISH, CHINESE):
        text = page.read_text(encoding="utf-8")
        for pattern, _, address in explain.rules():
            cell = pattern.replace("|", "\\|")
            row = rf"^\| `{re.escape(cell)}` \| .+ \| {re.escape(address)} \|$"
            assert re.search(row, text, re.M), (page.name, cell)


#: Words of the document that stand for what a reader has, and what stands for them here.
STANDS_FOR = {"CONFIG": "configs/quickstart.yaml", "R": "1", "/data/imagenet": "data"}


def test_every_command_is_understood(pages, tmp_path):
    """By the launchers' dry runs and the parsers of the tools, in the project's folder."""
    lines = [line for line in commands(pages[0]) if "[" not in line]
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "data" / "val").mkdir()
    for name in ("ascend", "scripts", "configs", "ghost_ms"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {**os.environ, "PYTHON": sys.executable, "HOME": str(tmp_path)}
    ran = []
    for line in lines:
        words = [STANDS_FOR.get(word, word) for word in shlex.split(line)]
        if words[:2] == ["bash", "ascend/preflight.sh"]:
            words = [sys.executable, "ascend/preflight.py", *words[2:], "--remote-shell", "false"]
        elif words[0] == "bash":
            words += ["--dry-run"]
        elif words[0] == "python":
            words[0] = sys.executable
            words += ["--hccn", str(_hccn(tmp_path)), "--server-ip", "10.0.0.1"] if words[2] == "make" else []
        elif words[0] == "printf":
            (tmp_path / "hosts").write_text("10.0.0.1\n10.0.0.2\n")
            continue
        else:
            assert words[:4] == ["python3", "-m", "venv", ".venv"]
            continue
        if "rank-table" in words:
            words += ["--server-ip", "10.0.0.1"]
        done = subprocess.run(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=120)
        # There is no NPU here, which is all that preflight may complain of.
        expected = 1 if "preflight.py" in " ".join(words[:2]) else 0
        assert done.returncode == expected and (expected == 0 or "not ready" in done.stdout), (line, done.stderr)
        ran.append(line)
    assert len(ran) >= 9


def _hccn(folder):
    path = folder / "hccn.conf"
    path.write_text("".join(f"address_{i}=192.168.1.{i + 1}\n" for i in range(8)))
    return path


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=lambda page: page.name)
def test_files_and_options_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:ascend|scripts|configs|tests)/[\w./-]+|\w+\.(?:sh|py|tsv))`", text))
    known = {path.name for folder in ("ascend", "scripts") for path in (ROOT / folder).iterdir()} | {
        path.name for path in (ROOT / "tests/ascend").iterdir()}
    missing = {name for name in named if not (ROOT / name).exists() and pathlib.Path(name).name not in known}
    assert missing <= {"set_env.sh", "setup.py"} and len(named) > 10
    options = set(re.findall(r"(?<![\w.-])--[a-z-]+\b(?![.\w]\w)", " ".join(inline_code(text))))
    source = "".join(path.read_text() for folder in ("ascend", "scripts") for path in (ROOT / folder).iterdir()
                     if path.suffix in (".sh", ".py"))
    assert {option for option in options if option not in source} <= {"--optimize", "--slow"}
