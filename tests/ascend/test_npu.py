"""npu-smi of several generations, sick and busy cards, and which cores a process gets."""
import json

import npu
import pytest

from tests.ascend.conftest import RECORDED


def _chips(name):
    return npu.parse((RECORDED / f"{name}.txt").read_text())


@pytest.mark.parametrize("recording, devices, name, total, first_series", [
    ("910", list(range(8)), "910B", 32768, True),
    ("910b2", list(range(8)), "910B2", 65536, False),
    ("910_a3", [0, 1, 2, 3], "Ascend910", 65536, False),
    ("310p3", [0, 1], "310P3", 44280, False),
])
def test_every_generation_is_read(recording, devices, name, total, first_series):
    chips = _chips(recording)
    assert [chip.device for chip in chips] == devices
    assert {chip.name for chip in chips} == {name} and {chip.health for chip in chips} == {"OK"}
    assert chips[0].total == total and chips[0].first_series is first_series
    assert not any(chip.processes for chip in chips)


def test_memory_is_that_of_the_hbm_where_there_is_one():
    assert [(chip.used, chip.total) for chip in _chips("910")[:2]] == [(4, 32768), (5, 32768)]
    assert [(chip.used, chip.total) for chip in _chips("310p3")] == [(1529, 44280), (1412, 43693)]


def test_card_and_chip_of_a_dual_card():
    assert [(chip.npu, chip.chip) for chip in _chips("910_a3")] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [(chip.npu, chip.chip) for chip in _chips("310p3")] == [(2, 0), (2, 1)]


def test_version():
    assert npu.version((RECORDED / "910.txt").read_text()) == "24.1.0.3"


@pytest.mark.parametrize("recording, wanted, words", [
    ("910b2", [0, 7], None),
    ("910b2", [8], "there is no card 8 here (npu-smi shows 0,1,2,3,4,5,6,7)"),
    ("910b2_busy", [0, 1, 2, 3], None),
    ("910b2_busy", [3, 4], "card 4 is in use by process 27451"),
    ("910b2_sick", [0, 6], None),
    ("910b2_sick", [2, 3], "card 3 (910B2) is in state Critical"),
])
def test_what_keeps_a_card_from_being_used(recording, wanted, words):
    said = npu.problem(_chips(recording), wanted)
    assert said is None if words is None else words in said


@pytest.mark.parametrize("text", ["1,0", "0,0", "0, 1", "a", "", "0,"])
def test_devices_are_checked(text):
    with pytest.raises(ValueError, match="--devices is"):
        npu.parse_devices(text)


def test_cores_near_the_cards_are_shared_out():
    near = npu.affinity((RECORDED / "topo_910b.txt").read_text())
    assert near[0] == list(range(144, 168)) and near[4] == list(range(24))
    plan = npu.plan_cores([0, 1, 4], near, [], range(192))
    assert plan == [list(range(144, 156)), list(range(156, 168)), list(range(24))]


def test_without_a_topology_processes_are_spread_over_numa_nodes():
    nodes = [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert npu.plan_cores([0, 1, 2, 3], {}, nodes, range(8)) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert npu.plan_cores([0, 1], {}, [], [2, 5]) == [[2], [5]]
    assert npu.plan_cores([0, 1, 2], {}, [[0, 1]], [1]) == [[], [], [1]]


def test_numa_nodes_are_read(tmp_path):
    for number, cores in ((0, "0-1,4"), (10, "6"), (2, ""), (1, "2-3")):
        (tmp_path / f"node{number}").mkdir()
        (tmp_path / f"node{number}" / "cpulist").write_text(cores + "\n")
    assert npu.numa_nodes(str(tmp_path)) == [[0, 1, 4], [2, 3], [6]]


def test_the_commands(npu_smi, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", f"{npu_smi('910b2_busy')}:/usr/bin:/bin")
    assert npu.main(["list"]) == 0 and capsys.readouterr().out == "0,1,2,3,4,5,6,7\n"
    assert npu.main(["ready", "0,1"]) == 0
    assert npu.main(["ready", "1,5"]) == 1
    assert capsys.readouterr().err == ("error: card 5 is in use by process 27452; end it, or choose other cards with "
                                       "--devices\n")
    monkeypatch.setattr(npu.os, "sched_getaffinity", lambda _: set(range(192)))
    assert npu.main(["bind", "2,3", str(tmp_path / "cores")]) == 0
    assert json.loads((tmp_path / "cores").read_text()) == [list(range(96, 108)), list(range(108, 120))]


@pytest.mark.parametrize("script, words", [
    ("echo 'dcmi module initialize failed. ret is -8005'; exit 1", "held by another container"),
    ("exit 3", "npu-smi failed (no message)"),
    ("echo nothing", "shows no NPU"),
])
def test_an_npu_smi_that_does_not_work(script, words, tool, monkeypatch, capsys):
    monkeypatch.setenv("PATH", f"{tool('npu-smi', script)}:/usr/bin:/bin")
    assert npu.main(["list"]) == 1
    assert words in capsys.readouterr().err


def test_no_npu_smi(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert npu.main(["list"]) == 1
    assert "there is no npu-smi on PATH" in capsys.readouterr().err
