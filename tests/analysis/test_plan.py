"""The plan on paper: formulas against hand counts, and against the published speed of ResNet-50 on Ascend 910."""
import pytest
from mindspore import nn

from ghost_ms.analysis import plan
from ghost_ms.cli import main

RESNET = plan.Job("resnet50", 25_557_032, 4089.2e6, 36.1e6, 256, 1, 90, 1_281_167)


def _with(job, **changes):
    return plan.dataclasses.replace(job, **changes)


def test_published_scaling_of_resnet50_is_met():
    """One card was used to set the efficiency; 16,600 images/s on 8 and 32,768 on 16 cards are MindSpore's figures."""
    for cards, published in ((1, 2115), (8, 16600), (16, 32768)):
        step = plan.step_of(_with(RESNET, cards=cards), plan.CARDS["910"])
        assert cards * 256 / step.expected == pytest.approx(published, rel=0.04)
        assert step.fastest < step.expected


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
    assert text.splitlines()[-2].split()[-1] == f"{hours * 8 * 3:,.0f}"


@pytest.mark.parametrize("arguments, words", [
    ([], "name a network with --model"), (["--model", "resnet50", "--cards", "0"], "--cards is 0"),
    (["--model", "resnet50", "--link", "0"], "--link is 0"),
    (["--model", "resnet50", "--images", "100"], "more than the 100"),
    (["--model", "resnet50", "--step_ms", "-1"], "--step_ms is -1"), (["--model", "nothing"], "nothing")])
def test_bad_input(arguments, words, capsys):
    assert main(["plan", *arguments]) == 1
    assert words in capsys.readouterr().err
