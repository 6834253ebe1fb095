"""What is read of a run's folder, of whatever version; and what of one that somebody has prepared or damaged."""
import math
import os
import time

import pytest

from ghost_ms.checkpoints import run_folder
from ghost_ms.checkpoints.run_folder import read_run, recipe_of
from ghost_ms.cli import main
from ghost_ms.core.figures import NOTHING
from ghost_ms.tasks.registry import create_task

HEADER = "epoch,train_loss,test_loss,test_top1,test_top5"


@pytest.fixture
def folder(tmp_path):
    """A run of two epochs."""
    path = tmp_path / "run"
    path.mkdir()
    (path / "config.yaml").write_text("model: {name: ghostnet_100}\ndata: {dataset: image_folder, root: ../pets/}\n")
    (path / "metrics.csv").write_text(f"{HEADER}\n1,2.0,1.0,50.0,90.0\n2,1.5,0.9,60.0,95.0\n")
    return path


def test_rows_and_recipe(folder):
    run = read_run(str(folder))
    assert run.rows[1] == {"epoch": 2, "train_loss": 1.5, "test_loss": 0.9, "test_top1": 60, "test_top5": 95}
    assert (run.model, run.data, run.recipe["data.root"]) == ("ghostnet_100", "pets", "../pets/")
    assert run.text.startswith("model:")


@pytest.mark.parametrize("recipe, name", [
    ("data: {dataset: image_folder, root: /data/birds}", "birds"), ("data: {dataset: cifar10, root: /x}", "cifar10"),
    ("data: {dataset: image_folder, root: /}", "image_folder"),
    ("data: {dataset: image_folder, root: ..}", "image_folder"),
    ("data: {dataset: embedded}", "embedded"), ("data: {root: [1]}", "-"), ("data: 3", "-"), ("x: 1", "-")])
def test_the_data_are_called_by_their_folder(folder, recipe, name):
    (folder / "config.yaml").write_text(recipe)
    assert read_run(str(folder)).data == name


def _row(epoch, top1, loss=1.0, **more):
    return {"epoch": epoch, "test_top1": top1, "test_top5": 99.0, "test_loss": loss, **more}


def best(rows):
    return create_task("classification").figures.best_of(rows)


def test_the_best_epoch_is_the_one_that_best_ckpt_holds():
    """Higher accuracy of weights or means; of equals the lower loss, then the first; NaN is worse than any number."""
    means = {"ema_top1": 82.0, "ema_top5": 98.0, "ema_loss": 0.5}
    held = {"top1": 82, "top5": 98, "loss": 0.5}
    assert best([_row(1, 70), _row(2, 60, **means)]) == (2, True, held, "top1")
    held = {"top1": 82.5, "top5": 99, "loss": 1}
    assert best([_row(1, 82.5), _row(2, 60, **means)]) == (1, False, held, "top1")
    assert best([_row(1, 70, 1.0), _row(2, 70, 0.9), _row(3, 70, 0.9)]).epoch == 2
    assert best([_row(1, 82.0, 0.4, **means)]).averaged is False and best([_row(1, 82.0, 0.6, **means)]).averaged
    assert best([_row(1, math.nan), _row(2, 10), _row(3, math.nan)]).epoch == 2
    assert best([_row(1, 10, math.nan), _row(2, 10, 3.0)]).epoch == 2
    assert best([_row(1, 99, activation_slope=0.5), _row(2, 10, activation_slope=1.0)]).epoch == 2
    for rows in ([{"epoch": 1.0, "train_loss": 1.0}], [], [_row(1, math.nan)]):
        assert best(rows) == NOTHING
    assert best([{"epoch": 1.0, "test_top1": 5.0}]) == (1, False, {"top1": 5}, "top1")


def test_a_column_that_not_every_row_has(folder, capsys):
    """A run that an older version began, and a cell that was left empty."""
    (folder / "metrics.csv").write_text("epoch,test_top1,test_loss,lr\n1,50.0\n2,60.0,,0.1\n\n")
    run = read_run(str(folder))
    assert run.rows == [{"epoch": 1, "test_top1": 50}, {"epoch": 2, "test_top1": 60, "lr": 0.1}]
    assert main(["runs", str(folder)]) == 0
    assert "60.00" in capsys.readouterr().out
    page = folder.parent / "page.html"
    assert main(["report", str(folder), "--no-predictions", "-o", str(page)]) == 0
    assert "60.00 %" in page.read_text() and "nan" not in page.read_text().split("</style>")[1].split("<script")[0]


BAD_METRICS = {
    "no number": f"{HEADER}\n1,many,1,1,1\n", "no epoch in a line": f"{HEADER}\n1,1,1,1,1\n,1,1,1,1\n",
    "an endless epoch": f"{HEADER}\ninf,1,1,1,1\n", "more cells than titles": f"{HEADER}\n1,1,1,1,1,1\n",
    "two columns of one name": "epoch,epoch\n1,2\n", "a huge cell": f"{HEADER}\n1,{'1' * 200_000},1,1,1\n",
    "no line": HEADER, "nothing": "", "no table": "\x00\x01\x02", "binary": b"\xff\xfe\x00",
    "too many lines": "epoch\n" + "1\n" * (run_folder.MOST_ROWS + 1)}
BAD_RECIPES = {
    "no mapping": "[1, 2]", "no YAML": "a: [", "tags": "!!python/object/apply:os.system [\"touch HERE\"]",
    "a bomb": "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join('*' + a for _ in range(9))}]\n"
                                         for a, b in zip("abcdefgh", "bcdefghi")),
    "deep": "a: " + "[" * 100_000, "large": "a: 1\n" + "#" * (2 << 20), "binary": b"\xff\xfe\x00", "nothing": ""}


@pytest.mark.parametrize("name, content", [*(("metrics.csv", one) for one in BAD_METRICS.values()),
                                           *(("config.yaml", one) for one in BAD_RECIPES.values())],
                         ids=[*BAD_METRICS, *(f"recipe: {one}" for one in BAD_RECIPES)])
def test_damage_is_one_sentence_of_both_commands_and_of_no_harm(folder, name, content, capsys, monkeypatch):
    monkeypatch.chdir(folder.parent)
    if isinstance(content, str):
        content = content.replace("HERE", str(folder.parent / "ran")).encode()
    (folder / name).write_bytes(content)
    start = time.perf_counter()
    for command in (["runs", "run"], ["report", "run", "-o", "page.html"]):
        assert main(command) == 1
        said = capsys.readouterr().err
        assert said.startswith("ghost-ms: error: ") and "run" in said and said.count("\n") == 1 and len(said) < 600
        assert "bug" not in said
    assert time.perf_counter() - start < 5
    assert os.listdir(folder.parent) == ["run"]


def test_a_pipe_a_folder_and_a_link_to_itself_are_no_files_of_a_run(folder, capsys):
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink(path, path)):
        (folder / "metrics.csv").unlink(missing_ok=True)
        make(folder / "metrics.csv")
        assert main(["runs", str(folder)]) == 1 and "it has no metrics.csv" in capsys.readouterr().err
        if (folder / "metrics.csv").is_dir():
            (folder / "metrics.csv").rmdir()


def test_numbers_that_nobody_measured_are_shown_as_they_are(folder, capsys):
    """Infinite, tiny and huge ones; the page and the plot are written all the same."""
    rows = ["1,nan,inf,nan,-inf", "2,1e308,-1e308,60,1e300", "1e300,5e-324,0,50,nan"]
    (folder / "metrics.csv").write_text("\n".join([HEADER.replace("test_loss", "lr"), *rows]))
    assert main(["runs", str(folder), "-o", str(folder / "all.png")]) == 0
    assert "60.00" in capsys.readouterr().out and (folder / "all.png").stat().st_size > 1000
    assert main(["report", str(folder), "--no-predictions", "-o", str(folder / "page.html")]) == 0
    assert "60.00 %" in (folder / "page.html").read_text()
    (folder / "metrics.csv").write_text(f"{HEADER}\n1,2,nan,50,90\n")
    assert main(["report", str(folder), "--no-predictions", "-o", str(folder / "page.html")]) == 0
    assert "<b>nan</b><span>test loss" in (folder / "page.html").read_text()


def test_names_of_folders_and_values_reach_no_terminal_raw(folder, capsys):
    evil = folder.parent / "a\x1b[31m$x$_\nb"
    folder.rename(evil)
    (evil / "config.yaml").write_text("model: {name: \"n\\e[31m\"}\nrun: {seed: \"\\e]0;x\\a\"}\n")
    other = folder.parent / "_other"
    other.mkdir()
    for name in ("metrics.csv", "config.yaml"):
        (other / name).write_bytes((evil / name).read_bytes())
    (other / "config.yaml").write_text("model: {name: tiny}\n")
    assert main(["runs", str(evil), str(other), "/x\x1b", "-o", str(other / "all.png")]) == 0
    streams = capsys.readouterr()
    assert not {"\x1b", "\a"} & set(streams.out + streams.err) and "a\\x1b[31m$x$_\\x0ab" in streams.out


def test_only_the_folder_of_a_run_has_the_recipe_of_a_checkpoint(folder, monkeypatch):
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir()
    assert recipe_of(str(checkpoints / "best.ckpt")) == str(folder / "config.yaml")
    assert recipe_of(str(folder / "weights" / "best.ckpt")) is None
    assert recipe_of(str(folder / "best.ckpt")) is None
    monkeypatch.chdir(checkpoints)
    assert recipe_of("best.ckpt") == "../config.yaml"
    monkeypatch.chdir(folder)
    assert recipe_of("checkpoints/best.ckpt") == "config.yaml"
    (folder / "metrics.csv").unlink()
    assert recipe_of("checkpoints/best.ckpt") is None
    (folder / "log.txt").write_text("epoch 1\n")
    assert recipe_of("checkpoints/best.ckpt") == "config.yaml"
    (folder / "config.yaml").unlink()
    assert recipe_of("checkpoints/best.ckpt") is None
