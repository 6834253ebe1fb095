"""The README in both languages: every command as it stands is valid and, with --slow, run; the two say the same."""
import argparse
import contextlib
import io
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from mindspore import nn
from PIL import Image

from ghost_ms import config as recipes
from ghost_ms.cli import COMMANDS, main
from ghost_ms.runtime import lite

ROOT = pathlib.Path(__file__).parents[1]
README, CHINESE = ROOT / "README.md", ROOT / "README_CN.md"
#: Lines that no test here runs, and why.
ELSEWHERE = {
    "bash scripts/quickstart.sh": "downloads MindSpore; its four steps, as it prints them, are checked below",
    "bash scripts/test.sh": "runs this test",
    "bash scripts/setup_lite.sh": "downloads MindSpore Lite; what follows runs where $GHOST_MS_LITE_PYTHON has it",
}


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def without_comments(block):
    """Lines of a block without comments, which are in the document's language, and without space at the end."""
    return [re.sub(r"(^|\s+)#.*", "", line).rstrip() for line in block.splitlines()]


def commands(path):
    """The command lines of a document's sh blocks, as they stand; continued lines in one."""
    text = "".join(blocks(path, "sh")).replace("\\\n", " ")
    return [" ".join(line.split()) for line in without_comments(text) if line]


def prose(path):
    """A document without its blocks of code and the tables that a command writes."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```|<!-- (\w+) -->.*?<!-- /\1 -->", "", text, flags=re.M | re.S)


def inline_code(text):
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]


LINES = commands(README)
#: Commands in the text; the last two are spoken of without what they need.
INLINE = [code for code in inline_code(prose(README)) if re.match(r"ghost-ms (?!train\|)|python \w+\.py ", code)
          and code not in ("ghost-ms infer --file", "ghost-ms lite run")]
SHOWN = "".join(blocks(README, "text"))
PRINTED = re.findall(r"^(?:\[\d/4\] \w+: |  )((?:python|ghost-ms) .+?)(?:   .*)?$", SHOWN, re.M)


class Parsed(BaseException):
    """Ends a command where its options have been understood."""


@pytest.fixture
def parse_only(monkeypatch):
    """Commands end after their command line has been read by the real parser, and a recipe by the real schema."""
    def end_after(function):
        def parse(*arguments, **options):
            function(*arguments, **options)
            raise Parsed
        return parse

    for owner, name in ((argparse.ArgumentParser, "parse_args"), (recipes, "parse")):
        monkeypatch.setattr(owner, name, end_after(getattr(owner, name)))
    monkeypatch.chdir(ROOT)


def own_environment():
    """A shell's, without what tests or their runner have set for MindSpore and Python."""
    return {name: value for name, value in os.environ.items() if name not in ("GLOG_v", "PYTHONPATH", "PYTHON")}


def validate(line):
    """Whether a line of the README names scripts, commands, options and recipes that exist."""
    words = shlex.split(line)
    if words[0] == "bash":
        assert (ROOT / words[1]).is_file()
        if words[2:]:
            done = subprocess.run([*words, "--dry-run"], cwd=ROOT, env={**own_environment(), "PYTHON": sys.executable},
                                  stdout=subprocess.PIPE, text=True)
            assert done.returncode == 0 and done.stdout.splitlines()[-1].split()[-2:] == ["--config", words[2]]
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file()
        main([words[1].replace(".py", ""), *words[2:]])
    elif words[0] == "ghost-ms":
        main(words[1:])
    else:
        assert words == ["source", ".venv/bin/activate"]


@pytest.mark.parametrize("line", dict.fromkeys([*LINES, *INLINE, *PRINTED]))
def test_a_command_is_valid(line, parse_only):
    with pytest.raises(Parsed) if line.startswith(("python", "ghost-ms")) else contextlib.nullcontext():
        validate(line)


@pytest.mark.parametrize("line", ["ghost-ms export --sofmax", "python train.py --config configs/none.yaml",
                                  "ghost-ms train --optimizer.lrr 1", "ghost-ms lite fly", "ghost-ms fly"])
def test_a_command_that_is_not_valid_is_found(line, parse_only, capsys):
    with contextlib.suppress(SystemExit):
        assert validate(line) is None
    assert "error: " in capsys.readouterr().err


def test_fine_tuning_by_options_and_by_a_recipe_is_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    line, = [line for line in LINES if "--model.pretrained" in line]
    by_options = recipes.parse(recipes.build_parser("test", ""), shlex.split(line)[2:])[0]
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    path = tmp_path / "configs" / "ghostnet" / "pets.yaml"
    path.write_text(re.search(r"## Fine-tuning\n\n```yaml\n(.*?)```", (ROOT / "docs/recipes.md").read_text(), re.S)[1])
    by_recipe = recipes.load(str(path))
    assert by_recipe == by_options and by_recipe.model.freeze == 2 and by_recipe.optimizer.layer_decay == 0.8


def test_options_in_the_text_exist():
    """Those between backquotes: each is in the help of a command."""
    pages = [README, ROOT / "docs" / "recipes.md"]
    options = {code.split()[0] for page in pages for code in inline_code(prose(page)) if code.startswith("--")}
    helps = io.StringIO()
    with contextlib.redirect_stdout(helps):
        main(["--help"])
    for words in (*([name] for name in COMMANDS), ["weights", "convert"], ["lite", "convert"]):
        with contextlib.redirect_stdout(helps), pytest.raises(SystemExit):
            main([*words, "--help"])
    known = set(re.findall(r"--[\w.-]+", helps.getvalue()))
    assert len(options) > 10 and options - known == set()


def test_the_quickstart_prints_what_the_readme_shows():
    script = (ROOT / "scripts" / "quickstart.sh").read_text()
    setting = dict(re.findall(r"^(run|image)=(\S+)", script, re.M))
    script = re.sub(r"\$(run|image)\b", lambda name: setting[name[1]], script)
    assert len(PRINTED) == 7
    for line in [*re.findall(r'^echo "(.+)"', script, re.M), *script.split("Next:")[1].splitlines()[1:-1]]:
        assert line in SHOWN


def test_the_python_example(capsys):
    code, = blocks(README, "python")
    names = {}
    exec(compile(code, str(README), "exec"), names)
    assert isinstance(names["net"], nn.Cell) and names["net"](names["images"]).shape == (2, 100)
    for name in ("logits", "features"):
        shown = re.search(rf"^{name} = .*# (\(.*\))$", code, re.M)[1]
        assert str(names[name].shape) == shown
    strides = [224 // each.shape[2] for each in names["maps"]]
    assert f"strides {', '.join(map(str, strides))}" in code
    assert capsys.readouterr().out.startswith("73.98 ['ghostnet_050', 'ghostnet_100',")
    names.clear()


# The project of someone who follows the README: the repository with recipes for seconds, and files of his own.

def photograph(path, seed):
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    coarse.resize((320, 240), Image.Resampling.BICUBIC).save(path)


def image_folder(root, classes, train=4, val=2):
    for split, count in (("train", train), ("val", val)):
        for label in range(classes):
            folder = root / split / f"class_{label}"
            folder.mkdir(parents=True)
            for index in range(count):
                photograph(folder / f"{index}.jpg", [split == "val", label, index])


def shorten(path, **sections):
    """Change keys of a recipe file."""
    recipe = yaml.safe_load(path.read_text())
    for section, keys in sections.items():
        recipe.setdefault(section, {}).update(keys)
    path.write_text(yaml.safe_dump(recipe))


def released_file(path):
    """GhostNet 1.0x with weights of no use under the names of the public file."""
    from safetensors.numpy import save_file

    from ghost_ms import create_model
    from ghost_ms.weights.convert import torch_state

    save_file(torch_state(create_model("ghostnet_100")), path)


@pytest.fixture
def project(tmp_path):
    for name in ("configs", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("train", "eval", "export", "infer"):
        shutil.copy(ROOT / f"{name}.py", tmp_path)
    (tmp_path / "ghost_ms").symlink_to(ROOT / "ghost_ms")
    few = {"batch_size": 4, "eval_batch_size": 4, "workers": 1}
    shorten(tmp_path / "configs/ghostnet/_base_imagenet.yaml", data=few, schedule={"warmup_epochs": 0},
            train={"epochs": 1})
    shorten(tmp_path / "configs/quickstart.yaml", model={"in_channels": 1}, train={"epochs": 1},
            data={"dataset": "synthetic", "synthetic_size": 64, "eval_batch_size": 32})
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "activate").write_text(f'PATH="{binaries}:$PATH"\n')
    for name, words in (("python", ""), ("ghost-ms", "-m ghost_ms ")):
        (binaries / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        (binaries / name).chmod(0o755)
    image_folder(tmp_path / "path/to/imagenet", 2)
    image_folder(tmp_path / "path/to/pets", 3)
    (tmp_path / "images").mkdir()
    for place in (*(f"images/{index}.jpg" for index in range(4)), "cat.jpg", "shoe.png"):
        photograph(tmp_path / place, len(place))
    (tmp_path / "recipe.yaml").write_text("base: configs/ghostnet/ghostnet_100_imagenet.yaml\n"
                                          f"data: {{root: {tmp_path}/path/to/imagenet}}\n")
    released_file(tmp_path / "state_dict_73.98.pth")
    return tmp_path


def as_script(lines, folder):
    """The lines one after the other, each announced; /path/to is in the folder."""
    told = "\n".join(f"echo {shlex.quote('$ ' + line)} >&2\n{line}" for line in lines)
    return "set -euo pipefail\n" + told.replace("/path/to/", f"{folder}/path/to/")


@pytest.mark.slow
def test_every_command_runs(project):
    """In the order of the README, in one shell, with networks of full size."""
    needs_lite = lite.lite_python() is None
    lines = [line for line in LINES if line not in ELSEWHERE
             and not (needs_lite and re.search(r"^ghost-ms lite|--backend.* lite", line))]
    script = as_script([".venv/bin/python train.py --config configs/quickstart.yaml", *lines], project)
    done = subprocess.run(["bash", "-c", script], cwd=project, env=own_environment(), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    made = ["ghostnet_100.mindir", "ghostnet_100.json", "ghostnet_100.onnx", "ghostnet_100_int8.onnx", "runs.png",
            "report.html", "runs/ghostnet_100_imagenet/checkpoints/best.ckpt", "runs/pets/checkpoints/best.ckpt"]
    assert [name for name in made if not (project / name).stat().st_size] == []
    assert len(re.findall(r"max difference \d\.\de-\d\d", done.stdout)) >= 3
    _check_fine_tuned(project)
    if needs_lite:
        pytest.skip("all but MindSpore Lite ran; scripts/setup_lite.sh installs that")
    assert "ghostnet_100.ms equals ghostnet_100.ckpt" in done.stdout and (project / "bench.png").stat().st_size


def _check_fine_tuned(project):
    """Two stages stayed as they were, the rest moved, and the classifier is for the three classes."""
    from ghost_ms.checkpoints.checkpoint import read_checkpoint
    from ghost_ms.training.groups import stage_of_parameters

    before, _ = read_checkpoint(str(project / "ghostnet_100.ckpt"))
    after, description = read_checkpoint(str(project / "runs/pets/checkpoints/best.ckpt"))
    assert description.classes == ["class_0", "class_1", "class_2"] and after["classifier.weight"].shape[0] == 3
    stages = stage_of_parameters(description.build())
    same = {name: np.array_equal(before[name].asnumpy(), after[name].asnumpy()) for name in stages
            if not name.startswith("classifier")}
    assert {same[name] for name in same if stages[name] < 2} == {True}
    assert np.mean([same[name] for name in same if stages[name] >= 2]) < 0.1


# The two languages.

def test_both_languages_hold_the_same_code():
    for language in ("sh", "python", "text", "yaml"):
        ours, theirs = ([without_comments(block) for block in blocks(path, language)] for path in (README, CHINESE))
        assert theirs == ours, language
        assert ours or language == "yaml"


def test_both_languages_link_to_each_other_and_to_the_same_pages():
    for path, other in ((README, CHINESE), (CHINESE, README)):
        assert f"]({other.name})" in path.read_text(encoding="utf-8").split("\n\n")[1]
    links = [set(re.findall(r"\]\((?!README)([^)]+)\)|src=\"([^\"]+)", prose(path))) for path in (README, CHINESE)]
    assert links[0] == links[1]


def test_both_languages_name_the_same_things_and_figures():
    """Section by section: what stands between backquotes, and every number."""
    ours, theirs = (re.split(r"^## .*$", prose(path), flags=re.M) for path in (README, CHINESE))
    assert len(ours) == len(theirs) > 8
    number = r"(?<![A-Za-z0-9_.])\d[\d,.]*\d|(?<![A-Za-z0-9_.])\d"
    for english, chinese in zip(ours, theirs):
        assert sorted(inline_code(chinese)) == sorted(inline_code(english)), english[:80]
        assert sorted(re.findall(number, chinese)) == sorted(re.findall(number, english)), english[:80]
