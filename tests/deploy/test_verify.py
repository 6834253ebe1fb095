"""`ghost-ms verify`: rows of real files, kept through interruptions and crashes, and the table made of them."""
import dataclasses
import sys

import pytest

from ghost_ms.analysis.measure import verify
from ghost_ms.analysis.measure.verify import FORMATS, Row
from ghost_ms.cli import main
from ghost_ms.core.talk import Process
from ghost_ms.models import list_models, model_card
from ghost_ms.runtime import lite

GOOD = Row("tinynet_e", "106", 10.5, 9.0, 1e-6, 8.1, 2e-6, 8.2, 7.5, 3e-6, 8.3, 4.25, taken="a machine")
FILE = "<!-- formats -->\n<!-- /formats -->\n"


def test_a_variant_in_every_format(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime", reason="needs pip install 'ghost-ms[deploy]'")
    if lite.lite_python() is None:
        pytest.skip("no MindSpore Lite: bash scripts/setup_lite.sh")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text(f"before\n{FILE}after\n")
    verify.write("formats.csv", {"ghostnet_050": dataclasses.replace(GOOD, model="ghostnet_050")})
    assert main(["verify", "lego_vgg16", "--update", "page.md"]) == 0
    rows = verify.read("formats.csv")
    row = rows["lego_vgg16"]
    assert set(rows) == {"ghostnet_050", "lego_vgg16"} and row.well(FORMATS) and not row.notes
    assert row.input_size == "32"
    assert max(row.mindir, row.onnx, row.lite) > 0, "rounding alone makes a difference"
    assert min(row.mindspore_ms, row.onnx_ms, row.lite_ms, row.compile_s) > 0
    for size in (row.mindir_mb, row.onnx_mb, row.lite_mb):
        assert size == pytest.approx(4e-6 * model_card("lego_vgg16").deploy_params, rel=0.02), "a number is four bytes"
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("before\n") and page.endswith("after\n") and "| lego_vgg16 | 32 |" in page
    assert "1 at a time, 1 core each" in page and "a machine" in page
    assert ", MINDIR " in capsys.readouterr().err


def test_rows_survive_the_file(tmp_path):
    path = str(tmp_path / "new" / "rows.csv")
    rows = {"tinynet_e": GOOD, "snnmlp_t": Row("snnmlp_t", mindir=1e-6, lite_note="no, it says", taken="a machine")}
    verify.write(path, rows)
    assert verify.read(path) == rows
    assert GOOD.well(FORMATS) and not rows["snnmlp_t"].well(FORMATS)
    assert rows["snnmlp_t"].well(["mindir"]) is False, "its file has no size"
    assert dataclasses.replace(GOOD, onnx=0.05, rounding=0.04).well(FORMATS)
    assert not dataclasses.replace(GOOD, onnx=0.5, rounding=0.04).well(FORMATS)
    assert not dataclasses.replace(GOOD, onnx=2e-4).well(FORMATS)
    assert not dataclasses.replace(GOOD, lite=float("nan")).well(FORMATS)


def test_what_is_missing(tmp_path):
    rows = {"tinynet_e": GOOD, "tinynet_d": Row("tinynet_d", mindir=1e-6, mindir_mb=1.0)}
    assert verify.chosen(["tinynet_?"], rows, FORMATS, False) == [f"tinynet_{size}" for size in "abcde"]
    assert verify.chosen(["tinynet_?", "tinynet_e"], rows, FORMATS, True) == [f"tinynet_{size}" for size in "abcd"]
    assert verify.chosen(["tinynet_?"], rows, ["mindir"], True) == [f"tinynet_{size}" for size in "abc"]
    with pytest.raises(ValueError, match="no model matches 'tinynett"):
        verify.chosen(["tinynett"], rows, FORMATS, True)


def test_the_table_explains_its_holes():
    rows = {"tinynet_e": GOOD, "snnmlp_t": Row("snnmlp_t", "224", mindir=1e-6, lite_note="why", taken="a machine")}
    table = verify.as_table(rows)
    assert "| tinynet_e | 106 | 10.5 | 9.0 | 1e-06 | 8.1 | 2e-06 | 8.2 | 7.5 | 3e-06 | 8.3 | 4.2 |" in table
    assert "- snnmlp_t: lite: why." in table and "changes by" not in table and table.startswith("a machine.\n")
    unsteady = verify.as_table({"vig_ti": dataclasses.replace(GOOD, model="vig_ti", lite=0.05, rounding=0.04)})
    assert "- vig_ti: its own output changes by 4e-02 when its input changes in the last bit" in unsteady
    alone = verify.as_table({"vig_ti": verify.Row("vig_ti", "224", compile_s=10.5, mindspore_ms=9.0)})
    assert "| model | input | compile (s) | MindSpore (ms) |\n" in alone and "| vig_ti | 224 | 10.5 | 9.0 |" in alone
    missing = table.split("not taken yet: ")[1].split(", ")
    assert sorted(missing + list(rows)) == list_models("*")


@pytest.mark.parametrize("end, note", [
    ("os.kill(os.getpid(), signal.SIGSEGV)", "it ended early: its process died by SIGSEGV"),
    ("raise SystemExit('out of room')", "it ended early: out of room"),
    ("time.sleep(60)", "it ended early: it took longer than 2 s")])
def test_a_process_that_dies_costs_its_format_alone(end, note, tmp_path, monkeypatch):
    """What it had found stays, and so does what an earlier one had found of other formats."""
    script = ("import os, signal, time; print('{\"format\": \"mindir\"}\\n{\"mindir\": 1e-6}\\n"
              "{\"format\": \"onnx\"}', flush=True); " + end)
    monkeypatch.setattr(verify, "LIMIT", 2)
    path, seen = str(tmp_path / "rows.csv"), []
    monkeypatch.setattr(verify, "Process", lambda command, more: Process([sys.executable, "-c", script], more))
    verify.write(path, {"tinynet_d": dataclasses.replace(GOOD, model="tinynet_d", mindir=0.5, onnx_note="old")})
    row = verify.verify(["tinynet_d"], path, ["mindir", "onnx"], advance=seen.append)["tinynet_d"]
    assert (row.onnx_note, row.mindir, row.onnx, row.lite) == (note, 1e-6, None, GOOD.lite)
    assert seen == [row] and verify.read(path) == {"tinynet_d": row} and row.notes == f"onnx: {note}."


def test_bad_input(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text("model,accuracy\n")
    for argv, words in ((["tinynett"], "no model matches"), (["--results", "none.csv"], "name models to take"),
                        (["tinynet_e", "--jobs", "0"], "--jobs is 0; it is 1 or more"),
                        (["--results", "other.csv"], "is no file of `ghost-ms verify`")):
        assert main(["verify", *argv]) == 1
        assert words in capsys.readouterr().err
