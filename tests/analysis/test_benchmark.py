"""`ghost-ms bench`: what it measures and how it is told."""
import csv
import dataclasses
import io
import sys

import numpy as np
import pytest
from PIL import Image

from ghost_ms.analysis.measure import bench_worker, benchmark, plots
from ghost_ms.cli import main
from ghost_ms.core import tables
from ghost_ms.models import model_card
from ghost_ms.runtime import lite
from tests.tiny import registered

#: Speaks the worker's protocol with times that are known: 1 ms, 2 ms, ... for the calls of a round.
PEER = """
import json, sys
task = json.loads(sys.stdin.readline())
print(json.dumps({"compile_s": 3.0, "size_mb": task["batch"] * 2.0}), flush=True)
for line in sys.stdin:
    print(json.dumps({"ms": [float(i + 1) for i in range(json.loads(line)["calls"])]}), flush=True)
print(json.dumps({"peak_mb": 7.0}), flush=True)
"""


def _result(**values):
    return benchmark.Result(**{"model": "ghostnet_050", "backend": "mindspore", "batch": 4, "input_size": (32, 64),
                               "threads": 1, "params": 2_587_292, **values})


def test_statistics_are_of_the_times_that_the_process_reports():
    worker = benchmark._Worker(_result(), [sys.executable, "-c", PEER])
    worker.times = worker.time(4) + worker.time(3)
    result = worker.finish()
    assert (result.compile_s, result.size_mb, result.peak_mb, result.error) == (3.0, 8.0, 7.0, None)
    assert (result.low_ms, result.median_ms, result.high_ms) == (1.0, 2.0, 3.0)
    assert result.images_per_second == 2000.0
    assert worker.process.process.returncode is not None


@pytest.mark.parametrize("script, words", [
    ("import sys; sys.exit('out of luck')", "out of luck"),
    ("import os; os._exit(5)", "code 5"),
])
def test_a_process_that_dies_leaves_its_last_words(script, words):
    worker = benchmark._Worker(_result(), [sys.executable, "-c", script])
    assert worker.time(1) == [] and words in worker.finish().error
    assert words in tables.as_text(benchmark.rows([worker.result]))


def test_tables_hold_every_figure():
    result = _result(compile_s=1.25, median_ms=4.0, low_ms=3.5, high_ms=4.5, images_per_second=1000.0, macs=None)
    row = next(csv.DictReader(io.StringIO(benchmark.as_csv([result]))))
    assert row["input_size"] == "32x64" and float(row["median_ms"]) == 4.0 and row["macs"] == ""
    header, cells = benchmark.rows([result])
    assert dict(zip(header, cells)) == {
        "model": "ghostnet_050", "backend": "mindspore", "input": "4x3x32x64", "params (M)": "2.59", "MACs (M)": "-",
        "compile (s)": "1.2", "median (ms)": "4.00", "quartiles (ms)": "3.50 - 4.50", "images/s": "1,000.0",
        "peak memory (MB)": "-", "size (MB)": "-"}


def test_plot_sets_published_accuracy_against_measured_latency():
    times = {"median_ms": 4.0, "low_ms": 3.5, "high_ms": 5.5}
    results = [_result(model="ghostnet_100", **times), _result(model="ghostnet_130", **times),
               _result(model="ghostnet_100", backend="lite", **{**times, "median_ms": 5.0}),
               _result(model="ghostnetv2_100", error="out of luck")]
    (axes,) = plots.accuracy_latency(results).axes
    assert [text.get_text() for text in axes.texts] == ["ghostnet_100", "ghostnet_130", "ghostnet_100"]
    drawn = {container.get_label(): container[0].get_xydata().tolist() for container in axes.containers}
    assert drawn == {"mindspore": [[4.0, 73.98], [4.0, 75.7]], "lite": [[5.0, 73.98]]}
    bars = axes.containers[0][2][0].get_segments()
    assert [point[0] for point in bars[0]] == [3.5, 5.5]
    assert "published" in axes.get_ylabel() and "measured" in axes.get_xlabel()


def test_the_models_command_draws_accuracy_against_cost(tmp_path, monkeypatch, capsys):
    names = ["ghostnet_100", "ghostnetv2_100", "ghostnetv2_130", "lego_vgg16", "ghostnetv2_050"]
    axes, = plots.accuracy_macs(names).axes
    drawn = {line.get_label(): list(zip(*line.get_data())) for line in axes.lines}
    expected = [(model_card(name).macs / 1e6, model_card(name).top1) for name in names[1:3]]
    # No point for an accuracy on CIFAR-10, nor where none was published.
    assert drawn["ghostnetv2"] == expected and len(drawn["ghostnet"]) == 1 and set(drawn) == {"ghostnet", "ghostnetv2"}
    monkeypatch.chdir(tmp_path)
    assert main(["models", "ghostnetv2*", "--plot", "cost.png"]) == 0
    told = capsys.readouterr()
    assert (tmp_path / "cost.png").read_bytes()[:4] == b"\x89PNG" and told.err == "wrote cost.png\n"
    assert "ghostnetv2_100" in told.out
    assert main(["models", "ghostnetv2*", "--plot", "cost.pdf"]) == 1 and "--plot" in capsys.readouterr().err
    assert main(["models", "lego*", "--plot", "none.png"]) == 1
    assert "needs a published top-1 accuracy on ImageNet" in capsys.readouterr().err


def test_without_a_published_accuracy_there_is_nothing_to_plot(monkeypatch):
    card = dataclasses.replace(model_card("ghostnet_100"), top1=None)
    monkeypatch.setattr(plots, "model_card", lambda name: card)
    with pytest.raises(ValueError, match="ghostnet_100 has none"):
        plots.require_published(["ghostnet_100"])


@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_a_training_step_is_this_package_s_own(monkeypatch, kernels):
    """Bytes go in; it counts steps and moves BatchNorm's means, and at a rate of 0 no weight."""
    from ghost_ms.training import build
    from ghost_ms.training.step import TrainStep

    made, create = [], build.create_step

    def keep(net, *args, **kwargs):
        made.append((create(net, *args, **kwargs), {p.name: p.asnumpy().copy() for p in net.get_parameters()}))
        return made[0][0]

    monkeypatch.setattr(build, "create_step", keep)
    with registered():
        answer, measure, _ = bench_worker.train(
            {"model": "tiny", "input_size": (32, 48), "batch": 4, "kernels": kernels}, "")
    assert len(measure(2)) == 2 and answer["compile_s"] > 0 and 0 < answer["size_mb"] < 0.1
    (step, before), = made
    assert isinstance(step, TrainStep) and int(step.clock.asnumpy()) == 3 and 0 < step.health().loss < 20
    after = {p.name: p.asnumpy() for p in step.net.get_parameters()}
    moved = {name for name, value in before.items() if not np.array_equal(value, after[name])}
    assert moved == {name for name in before if "moving" in name} and moved


def test_what_a_step_is_stands_below_the_table(monkeypatch, tmp_path, capsys):
    times = {"median_ms": 4.0, "low_ms": 3.5, "high_ms": 5.5}
    for backend, said in (("train", True), ("mindspore", False)):
        monkeypatch.setattr(benchmark, "benchmark", lambda *_: [_result(backend=backend, **times)])  # noqa: B023
        assert main(["bench", "ghostnet_050", "--backend", backend, "--output", str(tmp_path / "t.md")]) == 0
        words = "a step of this package's training as the defaults of a recipe make it (sgd, momentum 0.9)"
        assert (words in capsys.readouterr().out) == said == (words in (tmp_path / "t.md").read_text())


def test_a_plot_that_cannot_be_written_leaves_the_old_one(monkeypatch, tmp_path):
    from matplotlib.figure import Figure

    path = tmp_path / "plot.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="cannot write .*No space left"):
        plots.draw_accuracy_latency(str(path), [_result(model="ghostnet_100", median_ms=4.0, low_ms=3.5, high_ms=5.5)])
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("wanted", [("mindspore", "onnx"), pytest.param(benchmark.BACKENDS, marks=pytest.mark.slow)],
                         ids=["two", "all"])
def test_command_measures_backends(wanted, tmp_path, capsys):
    path, plot = tmp_path / "bench.csv", tmp_path / "bench.png"
    assert tuple(bench_worker.BACKENDS) == benchmark.BACKENDS
    pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime")
    backends = [name for name in wanted if name != "lite" or lite.lite_python()]
    assert main(["bench", "shufflenetv2_x0_5", "--backend", *backends, "--input_size", "32", "--rounds", "1",
                 "--threads", "2", "--output", str(path), "--plot", str(plot)]) == 0
    with Image.open(plot) as picture:
        assert picture.size == (1040, 715)
    rows = list(csv.DictReader(path.open()))
    assert [row["backend"] for row in rows] == backends
    for row in rows:
        assert 0 < float(row["low_ms"]) <= float(row["median_ms"]) <= float(row["high_ms"])
        assert float(row["peak_mb"]) > 50 and float(row["compile_s"]) > 0
        assert 5.3 < float(row["size_mb"]) < 6.2, "1.4 million float32 parameters"
    assert "shufflenetv2_x0_5" in capsys.readouterr().out


@pytest.mark.parametrize("argv, words", [
    (["nonsuch*"], "no model matches 'nonsuch*'"),
    (["ghostnet_050", "--threads", "0"], "--threads is 0"),
    (["ghostnet_050", "--input_size", "1", "2", "3"], "--input_size takes one or two"),
    (["ghostnet_050", "--output", "table.txt"], "ends in .csv or .md"),
    (["ghostnet_050", "--plot", "table.pdf"], "--plot is 'table.pdf'; it ends in .png"),
])
def test_bad_input_gets_a_sentence(argv, words, capsys):
    assert main(["bench", *argv]) == 1
    assert words in capsys.readouterr().err


def test_a_network_that_cannot_be_built_has_its_reason_in_the_table(capsys):
    assert main(["bench", "tnt_s_patch16_224", "--input_size", "17", "--threads", "1"]) == 1
    assert "16" in capsys.readouterr().out
