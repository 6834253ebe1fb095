"""`ghost-ms runs` on folders written by hand: what it finds, tells and draws."""
import pathlib

import pytest
import yaml
from PIL import Image

from ghost_ms.cli import main
from ghost_ms.tasks.registry import create_task
from ghost_ms.training.curves import draw_curves, write_metrics
from ghost_ms.training.progress import Waiting, peak_memory


def _row(epoch, top1, **more):
    return {"epoch": epoch, "train_loss": 2.0 / epoch, "images_per_second": 100.0 * epoch, "test_loss": 1.0,
            "test_top1": top1, "lr": 0.1, "seconds": 1800.4, "peak_mb": 1000.0 + epoch, "data_wait": 2.5, **more}


def _write(folder, rows, **recipe):
    folder.mkdir(parents=True)
    write_metrics(str(folder / "metrics.csv"), rows)
    (folder / "config.yaml").write_text(yaml.safe_dump({"run": {"dir": str(folder)}, **recipe}))


@pytest.fixture
def folder(tmp_path):
    """Two runs: one without EMA weights; one with, whose second epoch is the best."""
    _write(tmp_path / "runs" / "a", [_row(1, 50.0), _row(2, 50.0), _row(3, 40.0)],
           model={"name": "tiny", "args": {}}, optimizer={"lr": 0.1, "name": "sgd"})
    _write(tmp_path / "runs" / "b", [_row(1, 30.0, ema_top1=20.0), _row(2, 60.5, ema_top1=61.25)],
           model={"name": "tiny", "args": {"width": 2}}, optimizer={"lr": 0.2, "name": "sgd"}, ema={"decay": 0.9})
    return tmp_path


def _cells(printed):
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in printed.splitlines()]


def test_the_tables(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["runs", "runs/*"]) == 0
    lines = _cells(capsys.readouterr().out)
    assert lines[0] == ["run", "model", "epochs", "best top-1 (%)", "epoch", "weights", "raw top-1 (%)",
                        "EMA top-1 (%)", "max lr", "images/s", "peak memory (MB)", "time"]
    assert lines[1] == ["a", "tiny", "3", "50.00", "1", "raw", "50.00", "-", "0.1", "200.0", "1,003", "1:30:01"]
    assert lines[2] == ["b", "tiny", "2", "61.25", "2", "EMA", "60.50", "61.25", "0.1", "150.0", "1,002", "1:00:01"]
    assert lines[4:6] == [["recipes differ in:"], ["key", "a", "b"]]
    assert sorted(lines[6:]) == [["ema.decay", "-", "0.9"], ["model.args", "{}", "-"], ["model.args.width", "-", "2"],
                                 ["optimizer.lr", "0.1", "0.2"]]


def test_a_folder_that_is_no_run_gets_a_sentence(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "runs" / "c").mkdir()
    (folder / "runs" / "d").mkdir()
    (folder / "runs" / "d" / "metrics.csv").write_text("epoch,train_loss\n")
    (folder / "runs" / "d" / "config.yaml").write_text("model: {name: tiny}\n")
    assert main(["runs", "runs/*", "x*"]) == 0
    streams = capsys.readouterr()
    assert [line[0] for line in _cells(streams.out)[1:3]] == ["a", "b"]
    assert streams.err.splitlines() == [
        "ghost-ms: 'runs/c' is no run of `ghost-ms train` that has ended an epoch: it has no metrics.csv and no "
        "config.yaml", "ghost-ms: 'runs/d/metrics.csv' holds no epoch of a training",
        "ghost-ms: there is no folder 'x*'"]
    assert main(["runs", "runs/c"]) == 1
    assert capsys.readouterr().err.startswith("ghost-ms: error: 'runs/c' is no run")
    (folder / "runs" / "d" / "metrics.csv").write_text("epoch,train_loss,test_top1\n1,0.5,many\n")
    assert main(["runs", "runs/d"]) == 1
    assert "the run 'runs/d' cannot be read: could not convert string to float: 'many'" in capsys.readouterr().err


def test_one_run_and_equal_recipes(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["runs", "runs/a", "./runs/a", str(folder / "runs" / "a")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    (folder / "old" / "a").mkdir(parents=True)
    for name in ("metrics.csv", "config.yaml"):
        (folder / "old" / "a" / name).write_bytes((folder / "runs" / "a" / name).read_bytes())
    assert main(["runs", "runs/a", "old/a"]) == 0
    lines = _cells(capsys.readouterr().out)
    assert [line[0] for line in lines[1:3]] == ["runs/a", "old/a"] and lines[-1] == ["the recipes are the same"]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, with the format of each."""
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **how: figures.append((figure, how.get("format"))))
    return figures


def test_the_plot_has_a_line_for_every_run_and_mean(folder, drawn):
    assert main(["runs", str(folder / "runs" / "*"), "-o", str(folder / "all.svg")]) == 0
    (figure, kind), = drawn
    assert kind == "svg"
    lines = [[(line.get_linestyle(), list(line.get_ydata())) for line in axes.lines] for axes in figure.axes]
    assert lines[2] == [("-", [50.0, 50.0, 40.0]), ("-", [30.0, 60.5]), ("--", [20.0, 61.25])]
    assert [len(panel) for panel in lines] == [2, 2, 3]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_the_plot_is_written(folder, capsys):
    assert main(["runs", str(folder / "runs" / "a"), "-o", str(folder / "all.png")]) == 0
    with Image.open(folder / "all.png") as picture:
        assert picture.size == (1560, 480)
    assert main(["runs", str(folder / "runs" / "a"), "-o", "all.txt"]) == 1
    assert "--output is 'all.txt'; it ends in .png, .svg, .pdf" in capsys.readouterr().err


def test_curves_show_every_column_even_of_a_run_that_began_without_it(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: drawn.append(figure))
    old = {key: value for key, value in _row(1, 10.0).items() if key not in ("peak_mb", "data_wait")}
    rows = [old, _row(2, 20.0, ema_top1=25.0)]
    draw_curves(str(tmp_path / "curves.png"), rows, create_task("classification").figures)
    panels = {axes.get_title(): [list(line.get_ydata()) for line in axes.lines] for axes in drawn[0].axes}
    assert panels["speed (images/s)"] == [[100.0, 200.0]] and panels["learning rate"] == [[0.1, 0.1]]
    assert panels["peak memory (MB)"][0][1] == 1002.0 and panels["wait for data (% of the time)"][0][1] == 2.5
    assert len(panels["loss"]) == 2 and panels["top-1 (%)"][1][1] == 25.0


def test_waiting_counts_only_the_time_of_the_iterator(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("ghost_ms.training.progress.time.perf_counter", lambda: clock[0])

    def batches():
        for item in "ab":
            clock[0] += 2.0
            yield item
        clock[0] += 1.0

    waiting, got = Waiting(batches()), []
    for item in waiting:
        clock[0] += 10.0
        got.append(item)
    assert got == ["a", "b"] and waiting.seconds == 5.0


def test_peak_memory_is_what_the_system_says():
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc")
    high = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    assert peak_memory() == pytest.approx(int(high.split()[1]) * 1024 / 1e6, rel=0.02)


def test_runs_that_differ_in_their_seed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for seed, accuracies in ((1, (60.0, 50.0)), (2, (40.0, 53.0)), (3, (41.0, 56.0))):
        rows = [_row(epoch, top1, ema_top1=top1 + 2 * seed) for epoch, top1 in enumerate(accuracies, 1)]
        _write(tmp_path / f"plain-{seed}", rows, model={"name": "tiny"}, run={"dir": f"plain-{seed}", "seed": seed})
    _write(tmp_path / "other", [_row(1, 30.0)], model={"name": "tiny"}, optimizer={"lr": 1}, run={"seed": 1})
    assert main(["runs", "other", "plain-*"]) == 0
    printed = capsys.readouterr().out
    assert "over seeds, mean ± sample deviation:" in printed
    # Last 50, 53, 56; EMA weights 52, 57, 62; best, of EMA weights, 62, 57, 62.
    assert _cells(printed)[-1] == ["plain-1, plain-2, plain-3", "3", "53.00 ± 3.00", "57.00 ± 5.00", "60.33 ± 2.89"]
    assert main(["runs", "other", "plain-1"]) == 0
    assert "over seeds" not in capsys.readouterr().out
