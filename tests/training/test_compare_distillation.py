"""scripts/compare_distillation.sh with a stand-in for Python: which trainings it starts, and what if one fails."""
import os
import pathlib
import subprocess

import pytest

from ghost_ms import config

ROOT = pathlib.Path(__file__).parents[2]
#: Writes its arguments down, and fails for the training that $FAILS names.
PYTHON = """#!/usr/bin/env bash
echo "$OMP_NUM_THREADS $*" >> "$CALLS"
case "$*" in *"/${FAILS:-none} "*) echo "no room"; exit 1 ;; esac
"""


@pytest.fixture
def compare(tmp_path):
    """compare(words, **variables) -> (finished script, calls of Python in the order in which they came)."""
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "data").mkdir()

    def run(*words, **variables):
        calls = tmp_path / "calls"
        # nproc heeds the first.
        clean = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "FAILS")}
        done = subprocess.run(["bash", ROOT / "scripts/compare_distillation.sh", *words], cwd=tmp_path, text=True,
                              capture_output=True, timeout=60, env={**clean, "PYTHON": str(tmp_path / "python"),
                                                                    "CALLS": str(calls), **variables})
        lines = calls.read_text().splitlines() if calls.exists() else []
        return done, [line for line in lines if "train.py" in line or " runs " in line]

    return run


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_teacher_and_six_students(jobs, compare):
    done, calls = compare("data", "--jobs", str(jobs), "--output", "out", "--train.epochs", "2")
    assert done.returncode == 0, done.stderr
    assert len(calls) == 8 and "ghostnet_fashion_mnist.yaml --train.epochs 3" in calls[0] and "out/teacher" in calls[0]
    assert " runs out/teacher out/plain_seed1 " in calls[-1] and calls[-1].endswith("-o out/curves.png")
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    for kind in ("plain", "distilled"):
        for seed in "123":
            call, = (call for call in calls[1:-1] if f"--run.dir out/{kind}_seed{seed} " in call)
            assert call.startswith(f"{threads} ") and call.endswith("--train.epochs 2")
            assert f"--run.seed {seed} " in call
            assert ("_distilled.yaml" in call) == ("--distill.teacher out/teacher/checkpoints/best.ckpt" in call) \
                == (kind == "distilled")


def test_one_that_fails_is_named_and_the_others_go_on(compare):
    done, calls = compare("data", "--output", "out", FAILS="distilled_seed1")
    assert done.returncode == 1 and len(calls) == 7, "no table"
    assert "error: distilled_seed1 failed; see out/distilled_seed1.log" in done.stderr
    assert "error: the comparison is not whole" in done.stderr
    done, calls = compare("data", "--output", "other", FAILS="teacher")
    assert done.returncode == 1 and done.stderr == "error: teacher failed; see other/teacher.log\n" and len(calls) == 8


@pytest.mark.parametrize("words, said", [
    ([], "name the folder of Fashion-MNIST"), (["nowhere"], "there is no folder 'nowhere'"),
    (["data", "--jobs", "0"], "--jobs is 0; it is 1 or more"), (["data", "--output"], "--output takes a folder"),
    (["data", "--train.epochs"], "--train.epochs takes a value")])
def test_bad_input(words, said, compare):
    done, calls = compare(*words)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and said in done.stderr and not calls


def test_the_recipes_differ_in_the_teacher_alone():
    plain, distilled = (config.load(str(ROOT / f"configs/ghostnetv3/ghostnetv3_fashion_mnist{end}.yaml"))
                        for end in ("", "_distilled"))
    assert (plain.model.name, plain.distill.teacher, plain.data.train_share * 60000) == (
        "ghostnetv3_050", None, pytest.approx(6000))
    assert distilled.distill.teacher and distilled.distill.method == "soft"
    distilled.distill, distilled.run = plain.distill, plain.run
    assert distilled == plain
