"""The plan on paper: formulas against hand counts, and against the published speed of ResNet-50 on Ascend 910."""
import os
import pathlib
import re
import subprocess
import sys

import pytest
from mindspore import nn

from ghost_ms.analysis import plan
from ghost_ms.cli import main

ROOT = pathlib.Path(__file__).parents[2]
RESNET = plan.Job("resnet50", 25_557_032, 4089.2e6, 36.1e6, 256, 1, 90, 1_281_167)


def _with(job, **changes):
    return plan.dataclasses.replace(job, **changes)


def test_published_scaling_of_resnet50_is_met():
    """One card was used to set the efficiency; 16,600 images/s on 8 and 32,768 on 16 cards are MindSpore's figures."""
    for cards, published in ((1, 2115), (8, 16600), (16, 32768)):
        step = plan.step_of(_with(RESNET, cards=cards), plan.CARDS["910"])
        assert cards * 256 / step.expected == pytest.approx(published, rel=0.04)
        assert step.fastest < step.expected


#: What training steps took on the machine that gave the CPU its rates: one worker, `OMP_NUM_THREADS=1 python
#: scripts/measure_cpu.py step MODEL --batch B`; two, the same started by `msrun --worker_num=2 --local_worker_num=2`.
STEPS = {"ghostnet_100": (16, 2.041, 3.820), "resnet50": (8, 2.949, 6.095), "mobilenetv3_large_100": (16, 2.125, 4.054)}
#: What averaging took there, by msrun and `measure_cpu.py reduce MODEL`.
AVERAGING = {"ghostnet_100": 0.158, "resnet50": 0.467, "mobilenetv3_large_100": 0.127}
#: Parameters, MACs, MACs of depthwise convolutions, activations, those that products write; of one image.
COUNTS = {"ghostnet_100": (5_182_508, 141.2e6, 17.7e6, 9.53e6, 3.55e6),
          "resnet50": (25_557_032, 4089.2e6, 0, 32.04e6, 11.11e6),
          "mobilenetv3_large_100": (5_483_032, 216.6e6, 18.4e6, 12.64e6, 4.41e6)}


def _cpu_job(name, batch, workers):
    params, macs, depthwise, activations, products = COUNTS[name]
    return plan.Job(name, params, macs, activations, batch, workers, 1, 1e6, depthwise, products)


@pytest.mark.parametrize("name", STEPS)
def test_steps_on_a_cpu_are_met(name):
    batch, *seconds = STEPS[name]
    for workers, measured in enumerate(seconds, 1):
        planned = plan.step_of(_cpu_job(name, batch, workers), plan.CARDS["cpu"]).expected
        print(f"{name}, {workers} workers: {planned:.2f} s planned, {measured} measured, {planned / measured - 1:+.0%}")
        assert 1.1 < planned / measured < 1.26, "plan.CARDS['cpu'].checked says so"


def test_averaging_on_a_cpu_is_met():
    """Many small gradients take longer than their bytes."""
    for name, measured in AVERAGING.items():
        planned = plan.step_of(_cpu_job(name, 1, 2), plan.CARDS["cpu"]).all_reduce
        assert 0.6 < planned / measured < 1.05, name


def test_the_counts_are_those_of_the_command(capsys):
    assert main(["plan", "--model", "ghostnet_100", "--card", "cpu", "--cards", "1", "--batch", "16"]) == 0
    printed = capsys.readouterr().out
    job = _cpu_job("ghostnet_100", 16, 1)
    step = plan.step_of(job, plan.CARDS["cpu"])
    row = printed.split("expected")[1].split()
    assert float(row[0]) == pytest.approx(1e3 * step.expected, rel=0.01)
    assert "bound by depthwise convolutions" in printed and "checked: " in printed.splitlines()[-1]
    assert float(re.search(r"depthwise +([\d.]+)  \(of it\)", printed).group(1)) == pytest.approx(
        1e3 * step.depthwise, rel=0.01)


@pytest.mark.slow
def test_a_step_on_this_cpu_is_met_roughly():
    """Other processors, and other processes beside, are a factor of three."""
    done = subprocess.run([sys.executable, str(ROOT / "scripts/measure_cpu.py"), "step", "ghostnet_100", "--batch", "8",
                           "--steps", "4"], stdout=subprocess.PIPE, text=True, timeout=300, check=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)})
    measured = float(re.search(r"([\d.]+) s a step", done.stdout).group(1))
    planned = plan.step_of(_cpu_job("ghostnet_100", 8, 1), plan.CARDS["cpu"]).expected
    assert 1 / 3 < planned / measured < 3


def test_layers_of_a_cpu_take_turns_and_its_workers_share():
    job = plan.Job("net", 1000, 10e6, 1e6, 4, 1, 1, 100, depthwise=1e6, products=4e5)
    cpu = plan.CARDS["cpu"]
    step = plan.step_of(job, cpu)
    assert step.depthwise == pytest.approx(6 * 4e6 / (cpu.peak.value * cpu.depthwise.value))
    assert step.compute == pytest.approx(step.depthwise + 6 * 36e6 / (cpu.peak.value * cpu.efficiency.value))
    assert step.memory == pytest.approx((4 * 6e5 * 20 + 32e3) / cpu.memory.value)
    assert step.expected == pytest.approx(step.compute + step.memory) and plan.bound(step) == "depthwise convolutions"
    two = plan.step_of(_with(job, cards=2), cpu)
    assert two.expected == pytest.approx(cpu.crowd.value * step.expected + two.all_reduce) and two.all_reduce > 0


def test_the_parts_of_a_step():
    step = plan.step_of(RESNET, plan.CARDS["910"])
    assert step.peak == pytest.approx(6 * 4089.2e6 * 256 / 256e12)
    assert step.compute == pytest.approx(step.peak / 0.2027)
    assert step.memory == pytest.approx((36.1e6 * 256 * 2 * 5 + 25_557_032 * 4 * 8) / 1.2e12)
    assert step.input == pytest.approx(256 / (24 * 320)) and step.all_reduce == 0


@pytest.mark.parametrize("cards, seconds", [
    (1, 0), (2, 1e9 / 30e9 + 2 * 2e-5), (8, 1.75e9 / 30e9 + 14 * 2e-5),
    (16, 1.75e9 / 30e9 + 1.25e8 / 12.5e9 + 16 * 2e-5),
    (512, 1.75e9 / 30e9 + 2 * 63 / 64 * 1.25e8 / 12.5e9 + 140 * 2e-5)])
def test_all_reduce_of_a_gigabyte(cards, seconds):
    assert plan.all_reduce_seconds(1e9, cards, plan.CARDS["910"]) == pytest.approx(seconds)


def test_the_input_pipeline_can_be_the_limit():
    slow = plan.Figure(1, "images/s", "here")
    step = plan.step_of(RESNET, plan.CARDS["910"], slow)
    assert step.expected == step.fastest == pytest.approx(256 / 24) and plan.bound(step) == "the input pipeline"
    assert plan.bound(plan.step_of(RESNET, plan.CARDS["910"])) == "arithmetic"


def test_a_measured_step_takes_the_place_of_arithmetic_and_memory():
    step = plan.step_of(_with(RESNET, cards=2), plan.CARDS["910"], measured=0.2)
    assert step.expected == pytest.approx(0.2 + step.all_reduce)


def test_activations_are_counted():
    """By hand: convolution 4 x 8 x 8, norm and ReLU the same, a pool 4 x 4 x 4, a dense layer 5; identity none."""
    net = nn.SequentialCell(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Identity(),
                            nn.MaxPool2d(2, 2), nn.Flatten(), nn.Dense(64, 5))
    assert plan.count_activations(net, 3, (16, 16)) == 3 * 256 + 64 + 64 + 5


def test_the_command(capsys):
    assert main(["plan", "--model", "shufflenetv2_x0_5", "--input_size", "64", "64", "--cards", "8", "64",
                 "--epochs", "10", "--price", "2", "--link", "15"]) == 0
    printed = capsys.readouterr().out
    # 12 times fewer positions than at 224, and as many products in the classifier.
    assert "shufflenetv2_x0_5: 1.37 M parameters, 4 M MACs" in printed
    assert "8 cards, 256 images each" in printed and "64 cards" in printed and "10 epochs" in printed
    assert "1.5e+10 B/s  [given on the command line]" in printed and "[ILSVRC-2012 training set]" in printed
    # Every assumption has a source.
    section = printed.split("assumptions:\n")[1].split("\n\n")[0]
    assert all(line.rstrip().endswith("]") for line in section.splitlines()) and section.count("\n") >= 12


def test_cost_is_cards_times_hours_times_price():
    job = _with(RESNET, cards=8)
    step = plan.step_of(job, plan.CARDS["910"])
    text = plan.report(job, plan.CARDS["910"], step, plan.DECODE, 3.0, None)
    hours = 90 * (1_281_167 // 2048) * step.expected / 3600
    assert text.splitlines()[-3].split()[-1] == f"{hours * 8 * 3:,.0f}"


@pytest.mark.parametrize("arguments, words", [
    ([], "name a network with --model"), (["--model", "resnet50", "--cards", "0"], "--cards is 0"),
    (["--model", "resnet50", "--link", "0"], "--link is 0"),
    (["--model", "resnet50", "--images", "100"], "more than the 100"),
    (["--model", "resnet50", "--step_ms", "-1"], "--step_ms is -1"), (["--model", "nothing"], "nothing")])
def test_bad_input(arguments, words, capsys):
    assert main(["plan", *arguments]) == 1
    assert words in capsys.readouterr().err
