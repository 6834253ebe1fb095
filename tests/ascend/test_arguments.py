"""How the launchers are called: in the order that users of MindSpore's models type, with names of every kind, from any
folder; and what is said before anything starts."""
import os
import re
import subprocess
import sys

import describe
import pytest

from tests.ascend.conftest import ROOT

RECIPE = ROOT / "configs/quickstart.yaml"
IMAGENET = ROOT / "configs/ghostnet/ghostnet_100_imagenet.yaml"
LAUNCHERS = ["scripts/run_distribute_train.sh", "scripts/run_standalone_train.sh", "scripts/run_eval.sh",
             "scripts/run_export.sh", "ascend/run_distribute_train.sh", "ascend/run_standalone_train.sh",
             "ascend/run_eval.sh", "ascend/run_export.sh", "ascend/run_infer.sh", "ascend/run_cluster_train.sh"]
#: Stands in for Python: what begins with train.py, eval.py or export.py is only told.
STAND_IN = """#!/usr/bin/env bash
case "$1" in
    */train.py | */eval.py | */export.py) printf '%s\\n' "$@"; exit "${{CODE:-0}}" ;;
    *) exec {python} "$@" ;;
esac
"""


@pytest.fixture
def python(tmp_path):
    path = tmp_path / "some python" / "pyth\xf6n"
    path.parent.mkdir()
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def things(tmp_path):
    """A data set, weights and a rank table as MindSpore's hccl_tools names it."""
    (tmp_path / "imagenet" / "train").mkdir(parents=True)
    (tmp_path / "w.ckpt").write_text("")
    subprocess.run([sys.executable, ROOT / "ascend/rank_table.py", "make", "--server-ip", "10.0.0.1", "--devices",
                    "2,3", "--hccn", _hccn(tmp_path), "-o", tmp_path / "hccl_2p.json"], check=True, timeout=60,
                   stdout=subprocess.DEVNULL)
    return tmp_path


def _hccn(folder):
    path = folder / "hccn.conf"
    path.write_text("".join(f"address_{i}=192.168.1.{i + 1}\n" for i in range(8)))
    return path


def _command(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def _said(done):
    """{label: value} of the lines that say what would start."""
    return dict(re.match(r"(?:# )?  (\w+) +(.*)", line).groups() for line in done.stdout.splitlines()
                if re.match(r"(?:# )?  \w+ ", line))


def test_rank_table_and_data_set(shell, things):
    """bash run_distribute_train.sh [RANK_TABLE_FILE] [DATASET_PATH] [PRETRAINED_CKPT_PATH]"""
    words = "hccl_2p.json", "imagenet", "w.ckpt", "--server-ip", "10.0.0.1", "--dry-run", "--log-dir", "/l"
    done = shell("scripts/run_distribute_train.sh", *words)
    assert done.stdout.startswith("# 'hccl_2p.json' is a rank table, for NPUs, so this runs: "
                                  "bash ascend/run_distribute_train.sh hccl_2p.json imagenet w.ckpt --server-ip ")
    command = _command(done)
    assert "scripts/start_ranks.py /l 2 0:2 1:3 " in command and "--data.root imagenet" in command
    assert f"--config {IMAGENET.with_name('ghostnet_100_imagenet_ascend.yaml')} --run.device Ascend" in command
    assert command.endswith("--model.pretrained w.ckpt")
    assert _command(shell("ascend/run_distribute_train.sh", *words)) == command
    # Without the ending, by what it holds.
    (things / "table").write_text((things / "hccl_2p.json").read_text())
    assert "start_ranks.py /l 2 0:2 1:3 " in _command(shell("scripts/run_distribute_train.sh", "table", *words[1:]))


def test_a_rank_table_that_is_not_used_is_told(shell, things):
    done = shell("ascend/run_distribute_train.sh", "hccl_2p.json", "--start", "msrun", "--dry-run")
    assert "# note: --start msrun does not read the rank table 'hccl_2p.json'" in done.stdout.splitlines()
    done = shell("scripts/run_distribute_train.sh", "hccl_2p.json", "--dry-run", DEVICE_TARGET="CPU")
    assert done.returncode == 1 and "--start rank-table is HCCL's and needs NPUs" in done.stderr
    done = shell("ascend/run_distribute_train.sh", "hccl_2p.json", "--devices", "0,1", "--dry-run")
    assert done.returncode == 1 and "the rank table says which cards train" in done.stderr


@pytest.mark.parametrize("script, words, handed, ends", [
    ("run_standalone_train.sh", ["3", "imagenet"], "run_standalone_train.sh",
     "--run.device Ascend --data.root imagenet"),
    ("run_standalone_train.sh", ["3", "imagenet", "w.ckpt"], "run_standalone_train.sh", "--model.pretrained w.ckpt"),
    ("run_eval.sh", ["3", "imagenet", "w.ckpt"], "run_eval.sh",
     "--ckpt w.ckpt --run.device Ascend --data.root imagenet"),
    ("run_eval.sh", ["--devices", "3", "w.ckpt"], "run_eval.sh", "--ckpt w.ckpt --run.device Ascend")])
def test_device_id_first(script, words, handed, ends, shell, things):
    """bash run_standalone_train.sh [DEVICE_ID] [DATASET_PATH]; run_eval.sh [DEVICE_ID] [DATASET_PATH] [CKPT_PATH]"""
    done = shell(f"scripts/{script}", *words, "--dry-run", "--log-dir", "/l")
    assert done.stdout.startswith("# 3 is a number of an NPU card, so this runs: bash ascend/" + handed)
    assert _command(done).endswith(ends) and "export ASCEND_RT_VISIBLE_DEVICES=3" in done.stdout.splitlines()
    assert _said(done)["cards"] == "NPU 3"
    done = shell(f"scripts/{script}", *words, "--log-dir", things / "l", HOME=str(things))
    assert done.returncode == 1 and "CANN is not found" in done.stderr
    assert "DEVICE_TARGET=CPU runs on the CPU" in done.stderr


def test_a_number_of_processes_and_a_data_set(shell, things):
    done = shell("scripts/run_distribute_train.sh", "4", "imagenet", "--dry-run", "--log-dir", "/l")
    assert "--worker_num=4 --local_worker_num=4" in _command(done)
    assert _command(done).endswith(f"--config {IMAGENET} --data.root imagenet")
    assert _said(done)["recipe"] == f"{IMAGENET} (none was named)"
    assert _said(done)["data"] == "image_folder, in imagenet"
    done = shell("scripts/run_distribute_train.sh", "2", "0,1", "imagenet", "--dry-run", "--log-dir", "/l")
    assert done.stdout.startswith("# '0,1' are cards of NPUs, so this runs: bash ascend/run_distribute_train.sh 2 ")
    assert "--worker_num=2" in _command(done) and "export ASCEND_RT_VISIBLE_DEVICES=0\\,1" in done.stdout
    for script in ("scripts/run_distribute_train.sh", "ascend/run_distribute_train.sh"):
        done = shell(script, "8", "1", "imagenet", "--dry-run")
        assert done.returncode == 1 and done.stderr == (
            "error: '8 1' are several numbers, and the number of processes is one. Did you mean "
            f"bash {script} 8 imagenet (several servers: ascend/run_cluster_train.sh)?\n")


@pytest.mark.parametrize("script, words, said", [
    ("scripts/run_distribute_train.sh", ["a.yaml", "b.yaml"], "'b.yaml' is one argument too many: the recipe"),
    ("scripts/run_distribute_train.sh", ["imagenet", "other"], "'other' is one argument too many: the folder"),
    ("scripts/run_distribute_train.sh", ["2", "--workers", "3"], "'2' is one argument too many"),
    ("scripts/run_distribute_train.sh", ["-n"], "'-n' is neither an option nor a folder"),
    ("scripts/run_distribute_train.sh", [""], "an argument is empty"),
    ("scripts/run_standalone_train.sh", ["t.json"], "one process needs no rank table"),
    ("scripts/run_standalone_train.sh", ["--workers", "2"], "--workers is no option of run_standalone_train.sh"),
    ("scripts/run_distribute_train.sh", ["--start", "mpirun"], "--start is no option of run_distribute_train.sh"),
    ("scripts/run_export.sh", ["3"], "'3' is one argument too many"),
    ("scripts/run_export.sh", ["imagenet"], "there is no checkpoint 'imagenet'"),
    ("ascend/run_standalone_train.sh", ["0", "1"], "'0 1' are several numbers"),
    ("ascend/run_eval.sh", ["0,1", "w.ckpt", "--dry-run"], "--devices names 2 cards"),
    ("ascend/run_eval.sh", ["--hosts", "h"], "--hosts is no option of run_eval.sh"),
    ("ascend/run_distribute_train.sh", ["--profile"], "--profile is no option of run_distribute_train.sh"),
    ("ascend/run_export.sh", ["imagenet"], "'imagenet' is neither a checkpoint nor a recipe"),
])
def test_arguments_that_make_no_sense(script, words, said, shell, things):
    done = shell(script, *words)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and said in done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stdout == ""


@pytest.mark.parametrize("script", LAUNCHERS)
@pytest.mark.parametrize("option", ["--log-dir", "--some.key"])
def test_an_option_without_its_value(script, option, shell, things):
    done = shell(script, "w.ckpt", option)
    assert done.returncode == 1 and done.stderr == f"error: {option} needs a value; -h shows the usage\n"
    assert done.stdout == ""


def test_options_may_be_joined_to_their_value(shell, things):
    done = shell("scripts/run_distribute_train.sh", f"--config={RECIPE}", "--workers=3", "--port=9001", "--log-dir=/l",
                 "--dry-run", "--run.dir=a=b", "--data.batch_size", "8")
    assert "--worker_num=3" in _command(done) and "--master_port=9001" in _command(done)
    assert _command(done).endswith(f"--config {RECIPE} --run.dir=a=b --data.batch_size 8")
    assert _said(done) == {"python": sys.executable, "recipe": str(RECIPE), "data": "embedded", "run": "a=b",
                           "device": "auto: the first of Ascend, GPU and CPU that is here", "port": "9001",
                           "logs": "/l"}
    done = shell("ascend/run_cluster_train.sh", "--node-rank=1", "--nodes=2", "--master-addr=10.0.0.1", "--devices=0,1",
                 "--dry-run", "--log-dir=/l")
    assert "--worker_num=4 --local_worker_num=2 --master_addr=10.0.0.1" in _command(done)
    assert done.stdout.startswith("# starting 2 processes on this host, ranks 2 to 3, by msrun, node 1 of 2 with node "
                                  "0 at 10.0.0.1\n#   cards    NPU 0,1\n")


@pytest.mark.parametrize("script", LAUNCHERS)
def test_the_help_names_every_option_that_is_taken(script):
    """And no other; what TAKES has is what the parser takes."""
    text = (ROOT / script).read_text()
    taken = set(re.search(r'^TAKES="(.*)"$', (ROOT / "scripts/launch.sh").read_text(), re.M)[1].split())
    for line in re.findall(r'^TAKES="(.*)"$', text, re.M):
        taken = set(line.split()) - {"$TAKES"} | (taken if "$TAKES" in line else set())
    head = text.split("\n\n")[0]
    named = set(re.findall(r"(?<![\w.-])--[a-z-]+\b(?!\.\w)", head))
    assert named - {"--output", "--top"} == taken | {"--dry-run"} and "start nothing" in head


def test_a_dry_run_is_a_script(shell, things, tmp_path):
    """What it prints can be run as it is: comments, variables, one command."""
    done = shell("ascend/run_distribute_train.sh", "imagenet", "--dry-run", "--log-dir", "/l")
    (tmp_path / "script").write_text(done.stdout.replace(sys.executable, "echo", 1).replace(
        f"\n{sys.executable} -m", "\necho -m"))
    ran = subprocess.run(["bash", "-eu", tmp_path / "script"], stdout=subprocess.PIPE, text=True, timeout=60)
    assert ran.returncode == 0 and ran.stdout.startswith("-m mindspore.parallel.cluster.run --worker_num=8 ")
    assert [line for line in done.stdout.splitlines() if not line.startswith(("# ", "export "))] == [_command(done)]
    assert not (tmp_path / "runs").exists()


def test_what_starts_is_said_before_it_starts(shell, things, python):
    done = shell("scripts/run_standalone_train.sh", RECIPE, "--log-dir", things / "l", "--run.dir", "there",
                 PYTHON=python)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "starting one process on this host"
    assert lines[-1] == f"done: every rank ended well; logs in {things}/l"
    assert _said(done) == {"python": python, "recipe": str(RECIPE), "data": "embedded", "run": "there",
                           "device": "auto: the first of Ascend, GPU and CPU that is here", "logs": str(things / "l")}
    assert lines.index(f"  logs     {things}/l") < lines.index(f"{ROOT}/train.py")


AUTO = "device auto: the first of Ascend, GPU and CPU that is here\n"


@pytest.mark.parametrize("overrides, expected", [
    ([], f"data image_folder\n{AUTO}run runs/ghostnet_100_imagenet\n"),
    (["--data.root", "/x y", "--run.device=CPU", "--run.dir", "a", "--run.dir=b"],
     "data image_folder, in /x y\ndevice CPU\nrun b\n"),
    (["--data.dataset", "cifar10", "--run.dir", "a\x1b[2J\n"], f"data cifar10\n{AUTO}run a\\x1b[2J\\x0a\n")])
def test_a_recipe_is_described(overrides, expected, capsys):
    """Its base, then what the command line sets."""
    assert describe.main([str(IMAGENET), *overrides]) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("text", ["{", "- 1", "model: {nam: x}", "base: none.yaml"])
def test_a_recipe_that_cannot_be_read_is_left_to_the_training(text, tmp_path, capsys):
    (tmp_path / "r.yaml").write_text(text)
    assert describe.main([str(tmp_path / "r.yaml"), "--data.root", "d"]) == 0
    as_it_says = "as the recipe says"
    assert capsys.readouterr().out == f"data {as_it_says}, in d\ndevice {as_it_says}\nrun {as_it_says}\n"


# Any folder, any name.

@pytest.mark.parametrize("name, code", [("it's $(id) ö 中 [x]*", 0), ("it's $(id) ö 中 [x]*", 3), ("-dash", 3)])
def test_names_of_every_kind(name, code, tmp_path, python):
    """The project, the working folder, the recipe, the data set and the logs."""
    project, work = tmp_path / name, tmp_path / f"work {name}"
    project.symlink_to(ROOT)
    for folder in (work / name, work / f"logs {name}"):
        folder.mkdir(parents=True)
    (work / f"{name}.yaml").write_text(RECIPE.read_text())
    done = subprocess.run(["bash", str(project / "scripts/run_standalone_train.sh"), f"{name}.yaml", name, "--log-dir",
                           f"logs {name}", "--run.dir", name], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60, env={**os.environ, "PYTHON": python, "CODE": str(code)})
    assert done.returncode == bool(code), done.stderr
    own = f"./{name}" if name.startswith("-") else name
    log = (work / f"logs {name}" / "worker_0.log").read_text().splitlines()
    assert log == [f"{project}/train.py", "--config", f"{own}.yaml", "--data.root", own, "--run.dir", name]
    assert done.stderr == "" if code == 0 else done.stderr.endswith(
        "error: rank 0 failed: it ended with exit code 3 and without a message\n")
    assert "No such file" not in done.stderr


def test_from_any_folder(tmp_path, python):
    """By a relative path, with a CDPATH that leads elsewhere, and through a folder whose name begins with a dash."""
    (tmp_path / "decoy" / "scripts").mkdir(parents=True)
    (tmp_path / "-d").symlink_to(ROOT)
    (tmp_path / "w.ckpt").write_text("")
    for folder, *words in ((ROOT, "scripts/run_standalone_train.sh"), (ROOT / "scripts", "run_standalone_train.sh"),
                           (tmp_path, "./-d/scripts/run_standalone_train.sh"),
                           (tmp_path / "-d", "scripts/run_eval.sh", str(tmp_path / "w.ckpt"))):
        done = subprocess.run(["bash", *words, "--dry-run"], cwd=folder, stdout=subprocess.PIPE, text=True, timeout=60,
                              stderr=subprocess.PIPE,
                              env={**os.environ, "CDPATH": str(tmp_path / "decoy"), "PYTHON": python})
        assert done.returncode == 0 and done.stderr == "", done.stderr
        assert "/decoy/" not in done.stdout and re.search(r"/(train|eval)\.py --", _command(done))


def test_a_python_of_a_relative_path(tmp_path, python):
    done = subprocess.run(["bash", str(ROOT / "scripts/run_standalone_train.sh"), "--dry-run"], cwd=tmp_path,
                          stdout=subprocess.PIPE, text=True, timeout=60,
                          env={**os.environ, "PYTHON": os.path.relpath(python, tmp_path)})
    assert _said(done)["python"] == f"{tmp_path}/{os.path.relpath(python, tmp_path)}"


@pytest.mark.parametrize("script", ["quickstart", "check", "setup_lite", "compare_speed"])
def test_a_word_that_a_script_does_not_take(script):
    done = subprocess.run(["bash", f"scripts/{script}.sh", "--epochs"], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"error: {script}.sh takes no arguments") and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "scripts").glob("*.sh")
                                          if path.name not in ("launch.sh", "words.sh", "watch.sh", "setup_env.sh")))
def test_both_spellings_of_help(script):
    said = {word: subprocess.run(["bash", f"scripts/{script}", word], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                                 stderr=subprocess.PIPE, timeout=60) for word in ("-h", "--help")}
    assert said["-h"].stdout == said["--help"].stdout and f"scripts/{script}" in said["-h"].stdout
    assert {done.returncode for done in said.values()} == {0} and {done.stderr for done in said.values()} == {""}
