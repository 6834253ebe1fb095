"""The plan on paper: formulas against hand counts, and against the published speed of ResNet-50 on Ascend 910."""
import os
import pathlib
import re
import subprocess
import sys

import pytest
from mindspore import nn

from ghost_ms.analysis.measure import plan
from ghost_ms.cli import main
from ghost_ms.cli import plan as plan_command

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
    assert "1.5e+10 B/s  [given on the command line]" in printed and "[published: ILSVRC-2012 training set]" in printed
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


# The cards, and what the field has trained with.

#: TFLOP/s of a device: cores times cycles times 8,192; the figures of CANN's and Ascend's own tables.
PEAKS = {"910": 256, "910b1": 363.7, "910b2": 353.9, "910b3": 294.9, "910b4": 245.8, "a3": 353.9}


def test_every_figure_says_what_kind_it_is():
    assert set(plan.CARDS) == {*PEAKS, "cpu"}
    for name, hardware in plan.CARDS.items():
        figures = [getattr(hardware, field.name) for field in plan.dataclasses.fields(hardware)]
        figures = [figure for figure in figures if isinstance(figure, plan.Figure)]
        assert len(figures) >= 9
        for figure in [*figures, plan.PASSES, plan.PARAMETER_PASSES, plan.BACKWARD, plan.DECODE, plan.IMAGENET]:
            assert re.match(r"(published|assumed|measured|counted)(: .+)?$", figure.source), figure
        assert hardware.efficiency.source.startswith({"910": "published", "cpu": "measured"}.get(name, "assumed"))
        assert ("no run on this card" in hardware.checked) == (name not in ("910", "cpu"))


@pytest.mark.parametrize("name", PEAKS)
def test_peaks(name):
    assert plan.CARDS[name].peak.value / 1e12 == pytest.approx(PEAKS[name], abs=0.05)
    assert plan.CARDS[name].peak.source.startswith("published: ")


def test_faster_cards_are_planned_faster():
    """By their peaks, as arithmetic bounds ResNet-50; the 910B4 of 32 GB is slower than the first 910."""
    steps = {name: plan.step_of(RESNET, plan.CARDS[name]).expected for name in PEAKS}
    assert sorted(steps, key=steps.get) == ["910b1", "910b2", "a3", "910b3", "910", "910b4"]
    assert steps["910b3"] / steps["910b1"] == pytest.approx(24 * 1.85 / (20 * 1.8))


def test_a_card_of_two_dies_is_two_devices(capsys):
    """Eight cards of an A3 are 16 ranks in one server; the price is that of a card."""
    words = ["plan", "--model", "shufflenetv2_x0_5", "--input_size", "64", "64", "--price", "2", "--epochs", "10"]
    assert main([*words, "--card", "910C", "--cards", "8"]) == 0
    printed = capsys.readouterr().out
    assert "16 devices (8 cards of 2 dies), 256 images each" in printed.splitlines()[0]
    job = plan.Job("shufflenetv2_x0_5", *_counted(printed), 256, 16, 10, 1_281_167)
    row = printed.split("expected")[1].splitlines()[0].split()
    assert float(row[1].replace(",", "")) == pytest.approx(4096 / float(row[0]) * 1e3, rel=0.01)
    hours = 10 * (1_281_167 // 4096) * float(row[0]) / 1e3 / 3600
    assert float(row[-1]) == pytest.approx(8 * hours * 2, abs=0.51)
    within = plan.step_of(job, plan.CARDS["a3"])
    assert within.all_reduce == pytest.approx(2 * 15 / 16 * 4 * job.params / 196e9 + 30 * 2e-5)


def _counted(printed):
    """Parameters, MACs and activations of the first line."""
    match = re.search(r"([\d.]+) M parameters, ([\d,]+) M MACs, ([\d.]+) M activations", printed)
    return [1e6 * float(number.replace(",", "")) for number in match.groups()]


def _optimizer(name, **keys):
    from ghost_ms.config import OptimizerConfig

    return OptimizerConfig(name=name, **keys)


@pytest.mark.parametrize("optimizer, accumulate, cards, words", [
    (None, 1, 32, []),
    (None, 1, 33, ["8,448 images an update are more than SGD is known to train ImageNet with: 8,192"]),
    (_optimizer("lamb"), 1, 128, []), (_optimizer("lamb"), 1, 160, ["40,960 images an update are more than LAMB"]),
    (_optimizer("adamw"), 1, 17, ["4,352 images an update are more than AdamW", "no optimizer.base_batch"]),
    (_optimizer("sgd", lr=0.4, base_batch=1024), 2, 32, [
        "16,384 images an update are more than SGD",
        "optimizer.base_batch makes the learning rate 6.4 of 0.4 for 1,024"]),
    (None, 1, 512, ["131,072 images an update", "an epoch has only 9 updates"])])
def test_batches_that_nobody_trains_with_are_told(optimizer, accumulate, cards, words):
    said = plan.doubts(_with(RESNET, cards=cards), optimizer, accumulate)
    assert bool(said) == bool(words) and all(any(word in one for one in said) for word in words)


def test_few_updates_of_a_small_data_set_are_told():
    """39 updates are as few as the largest batch of the field leaves of ImageNet."""
    assert 1_281_167 // plan.PRACTICE["lamb"].images == plan.FEWEST
    assert plan.doubts(_with(RESNET, images=39 * 256)) == []
    said, = plan.doubts(_with(RESNET, images=39 * 256 - 1))
    assert said.startswith("an epoch has only 38 updates") and "9,984 images would give as many" in said


def test_a_recipe_is_warned_of(capsys, tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("model: {name: shufflenetv2_x0_5}\noptimizer: {lr: 0.1, base_batch: 256}\n"
                      "data: {dataset: image_folder, batch_size: 128, input_size: [64, 64]}\n")
    assert main(["plan", "--config", str(recipe), "--cards", "8", "128"]) == 0
    few, many = capsys.readouterr().out.split("\n\nshufflenetv2_x0_5: ")
    assert "warning: " not in few
    assert many.splitlines()[1] == (
        "warning: 16,384 images an update are more than SGD is known to train ImageNet with: 8,192 (Goyal et al., "
        "arXiv 1706.02677, who lost accuracy beyond it); optimizer.base_batch makes the learning rate 6.4 of 0.1 for "
        "256")


@pytest.mark.parametrize("words, said", [
    (["--peak", "nan"], "--peak is nan"), (["--decode", "inf"], "--decode is inf"),
    (["--price", "-1"], "--price is -1"),
    (["--input_size", "50000", "50000"], "--input_size is 50000; it is 2048 at most"),
    (["--card", "a3", "--cards", "400", "--images", "204799"], "800 devices with 256 images each")])
def test_numbers_that_are_none(words, said, capsys):
    assert main(["plan", "--model", "resnet50", *words]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name, said", [
    ("910B", "the first Ascend 910 of 32 GB"), ("Ascend910", "the dies of an Atlas A3"),
    ("h100", "invalid choice: 'h100'")])
def test_a_card_that_is_not_known_or_could_be_two(name, said, capsys):
    with pytest.raises(SystemExit):
        main(["plan", "--model", "resnet50", "--card", name])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name, card", [("Ascend910B3", "910b3"), ("910B1", "910b1"), ("910C", "a3"), ("A3", "a3"),
                                        ("CPU", "cpu"), ("910A", "910")])
def test_names_of_cards(name, card):
    assert plan_command._card(name) == card and card in plan.CARDS
