"""scripts/compare_peers.py: which processes it starts and what its tables say."""
import csv
import importlib.util
import pathlib
import subprocess
import sys

import pytest

from ghost_ms.analysis.measure.benchmark import Result
from ghost_ms.core import interpreter
from ghost_ms.models import list_models
from tests.analysis.test_benchmark import PEER

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def compare():
    spec = importlib.util.spec_from_file_location("compare_peers", SCRIPTS / "compare_peers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def options(compare):
    options = compare.build_parser().parse_args(["--torch-python", "/torch/python", "--mindcv", "/peers/mindcv"])
    options.input_size = (224, 224)
    return options


def test_the_networks_that_are_compared_exist(compare):
    assert set(compare.MODELS) <= set(list_models("*"))
    assert set(compare.IN_TIMM) | set(compare.IN_MINDCV) <= set(compare.MODELS)


def test_a_peer_is_asked_only_for_what_it_has_and_by_its_own_name(compare, options):
    def asked(name):
        return {result.backend: result.model for result in compare.results_of(name, compare.BACKENDS, options)}

    assert asked("wavemlp_t") == dict.fromkeys(compare.OURS, "wavemlp_t")
    assert asked("tinynet_a") == dict.fromkeys((*compare.OURS, *compare.TIMM), "tinynet_a")
    assert asked("mobilenetv3_large_100")["mindcv"] == "mobilenet_v3_large_100"


def test_every_backend_runs_in_its_own_environment(compare, options):
    command = {result.backend: compare.command_of(result, options)
               for result in compare.results_of("ghostnet_100", compare.BACKENDS, options)}
    assert command["lite"] == interpreter.command("ghost_ms.analysis.measure.bench_worker")
    assert command["timm onnx"] == ["/torch/python", str(SCRIPTS / "peer_worker.py")]
    assert command["mindcv"][0] == sys.executable and "/peers/mindcv" in command["mindcv"][2]


def _result(backend, median, **values):
    return Result("ghostnet_100", backend, 1, (224, 224), 2, median_ms=median, low_ms=median - 1, high_ms=median + 1,
                  **values)


def test_the_table_has_ratios_and_blanks(compare):
    of = {result.backend: result for result in (
        _result("mindspore", 20.0), _result("lite", 5.0), _result("timm eager", 25.0),
        _result("timm onnx", 8.0, error="out of luck"))}
    header, cells = compare.rows({"ghostnet_100": of}, compare.BACKENDS)
    assert dict(zip(header, cells)) == {
        "model": "ghostnet_100", "mindspore": "20.0 (19.0-21.0)", "onnx": "", "lite": "5.0 (4.0-6.0)", "mindcv": "",
        "timm eager": "25.0 (24.0-26.0)", "timm compile": "", "timm onnx": "failed", "lite / timm onnx": "",
        "lite / timm eager": "0.20", "mindspore / timm eager": "0.80", "mindspore / mindcv": ""}


def test_both_files_hold_what_was_measured(compare, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compare, "command_of", lambda result, options: [sys.executable, "-c", PEER])
    monkeypatch.setenv("PYTHONPATH", "")
    stem = str(tmp_path / "peers")
    monkeypatch.setattr(sys, "argv", ["compare_peers.py", "--torch-python", "t", "--mindcv", "m", "--rounds", "1",
                                      "--output", stem, "ghostnet_100", "wavemlp_t"])
    assert compare.main() == 0
    rows = list(csv.DictReader(open(stem + ".csv")))
    assert [row["backend"] for row in rows] == [*compare.BACKENDS, *compare.OURS]
    assert {row["median_ms"] for row in rows} == {"25.5"}, "50 calls of 1, 2, ... 50 ms"
    table = (tmp_path / "peers.md").read_text()
    assert table == capsys.readouterr().out and "| 25.5 (12.8-38.2) |" in table and "| 1.00 |" in table


def test_help_of_the_shell_script():
    done = subprocess.run(["bash", str(SCRIPTS / "compare_peers.sh"), "-h"], capture_output=True, text=True, env={})
    assert done.returncode == 0 and "Usage: scripts/compare_peers.sh" in done.stdout and "\nset" not in done.stdout
