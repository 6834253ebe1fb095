"""Where a call spends its time, by kind of operator."""
import pytest

from ghost_ms import cli
from ghost_ms.analysis.measure.operator_times import kind_of, rows, summed


def row(kind, place, count, ms):
    return {"op_type": kind, "full_op_name": place, "op_occurrences": str(count), "op_total_time(ms)": str(ms)}


def test_operators_are_summed_by_kind_and_small_ones_together():
    found = summed([row("MatMul", "Default/a", 4, 60), row("MatMul", "Default/b", 2, 20),
                    row("Add", "Default/c", 2, 19),
                    row("Cast", "Default/d", 2, 0.5), row("Sub", "Default/e", 4, 0.5)], calls=2)
    assert [tuple(one) for one in found] == [("MatMul", 3, 40, 0.8), ("Add", 1, 9.5, 0.19), ("2 others", 3, 0.5, 0.01)]
    assert rows(found)[:2] == [["operator", "count", "ms", "share"], ["MatMul", "3", "40.00", "80.0 %"]]


@pytest.mark.parametrize("place, name", [
    ("Default/net-GhostNet/bn1-BatchNormKernel/Custom-op7", "kernel BatchNorm"),
    ("Gradients/Default/net-GhostNet/blocks-SequentialCell/ghost1-GhostModuleKernel/Grad_Custom/Custom-op8",
     "kernel GhostModule, gradient"),
    ("Default/Custom-op1", "kernel unnamed")])
def test_a_kernel_is_named_by_its_cell(place, name):
    assert kind_of("Custom", place) == name
    assert kind_of("MatMul", place) == "MatMul"


def test_bench_prints_the_table(capfd):
    """Of a network on MindSpore's own operators."""
    arguments = ["bench", "ghostnet_050", "--backend", "mindspore", "--kernels", "off",
                 "--input-size", "32", "--batch", "2", "--rounds", "1",
                 "--threads", "1", "--profile"]
    assert cli.main(arguments) == 0
    printed = capfd.readouterr().out
    assert "ghostnet_050, mindspore: operators of a call" in printed
    table = printed.split("operators of a call")[1]
    assert "Conv2D" in table and "%" in table and "kernel" not in table
    assert cli.main([*arguments[:3], "onnx", "--profile"]) != 0
    assert "--profile tells MindSpore's operators" in capfd.readouterr().err
