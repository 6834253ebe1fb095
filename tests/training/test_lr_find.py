"""The range test: what it reads out of a curve, and the command."""
import csv
import os

import numpy as np
import pytest

from ghost_ms.cli import main
from ghost_ms.cli.main import _module
from ghost_ms.training import lr_find
from ghost_ms.training.lr_find import Sweep, advice, find_rates, table
from tests.tiny import registered
from tests.training.recipes import small


@pytest.fixture(autouse=True)
def tiny_models():
    with registered():
        yield


def _curve(noise=0.0):
    """A loss that falls fastest at 1e-2, is lowest at 1e-1, and then grows."""
    rates = np.logspace(-5, 0, 101)
    exponent = np.log10(rates)
    losses = 2 - 1.5 / (1 + np.exp(-(exponent + 2) * 4)) + 3 * np.maximum(exponent + 1, 0) ** 2
    return Sweep(rates.tolist(), (losses + noise * np.random.default_rng(0).standard_normal(101)).tolist(), 64, True)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_steepest_descent_and_the_lowest_loss(noise):
    """Smoothing shifts neither."""
    steepest, lowest = _curve(noise).suggestion()
    assert steepest == pytest.approx(1e-2, rel=0.45) and lowest == pytest.approx(0.08, rel=0.5)
    said = advice(_curve())
    assert "suggestion: --optimizer.lr 0.01, where the loss falls fastest, for updates of 64 images" in said
    assert "had not diverged" not in said
    still = _curve()
    still.diverged = False
    assert "the loss had not diverged yet: a higher --end may show more" in advice(still)


def test_a_loss_that_does_not_fall_gives_no_suggestion():
    rates = np.logspace(-5, 0, 50)
    for losses in (np.full(50, 2.3), 2.3 + rates, 2.3 + 0.001 * np.random.default_rng(0).standard_normal(50)):
        sweep = Sweep(rates.tolist(), losses.tolist(), 8, False)
        assert sweep.suggestion() is None and advice(sweep).startswith("no suggestion: ")


def test_the_table_has_the_ends():
    rows = table(_curve())
    assert len(rows) == 21 and rows[1][0] == "1e-05" and rows[-1][0] == "1"


def test_the_sweep_uses_the_rates_and_ends_when_the_loss_diverges(tmp_path):
    """The first losses are those of the untrained network, over several short epochs; the recipe is not changed."""
    recipe = small(tmp_path / "run", run=dict(mode="graph"))
    recipe.ema.decay = 0.9
    sweep = find_rates(recipe, 1e-4, 1e4, 40)
    assert sweep.diverged and 10 < len(sweep.rates) < 40 and sweep.batch == 8
    ratio = (1e8) ** (1 / 39)
    assert sweep.rates == pytest.approx((1e-4 * ratio ** np.arange(len(sweep.rates))).tolist())
    assert np.mean(sweep.losses[:5]) == pytest.approx(np.log(4), abs=0.4)
    assert recipe.ema.decay == 0.9 and os.listdir(tmp_path) == []


def test_accumulated_steps_are_one_update(tmp_path):
    sweep = find_rates(small(tmp_path / "run", run=dict(mode="graph"), accumulate=3), 1e-4, 1e-2, 12)
    assert len(sweep.rates) == 12 and sweep.batch == 24 and not sweep.diverged


def test_the_command(tmp_path, capsys, monkeypatch):
    recipe = tmp_path / "recipe.yaml"
    small(tmp_path / "run").save(str(recipe))
    monkeypatch.chdir(tmp_path)
    assert main(["lr-find", "--config", str(recipe), "--steps", "12", "--start", "1e-4", "--end", "1", "-o", "lr.png",
                 "lr.csv"]) == 0
    said = capsys.readouterr().out
    assert "tiny: 12 updates of 8 images, learning rate 0.0001 to 1; CPU, pynative mode" in said
    assert "suggestion" in said and said.endswith("wrote lr.png\nwrote lr.csv\n")
    rows = list(csv.DictReader(open("lr.csv")))
    assert rows[0]["lr"] == "0.0001" and set(rows[0]) == {"lr", "loss", "smooth_loss"} and len(rows) <= 12
    assert open("lr.png", "rb").read(4) == b"\x89PNG"
    assert sorted(os.listdir()) == ["lr.csv", "lr.png", "recipe.yaml"]


@pytest.mark.parametrize("options, words", [
    (["--start", "0"], "the rates must grow from above 0"), (["--start", "2", "--end", "1"], "must grow"),
    (["--steps", "3"], "in 10 steps or more"), (["-o", "lr.txt"], "--output is 'lr.txt'; it ends in .csv"),
    (["--start", "1e20", "--end", "1e30", "--steps", "10"], "the loss diverges at once"),
    (["--train.epoch", "3"], "unknown option '--train.epoch'; did you mean '--train.epochs'")])
def test_what_is_no_range(options, words, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    small(tmp_path / "run").save(str(recipe))
    assert main(["lr-find", "--config", str(recipe), *options]) == 1
    assert words in capsys.readouterr().err


def test_its_name(capsys):
    assert _module("lr-find").__doc__.startswith("Find a learning rate")
    assert main(["lr_find"]) == 1 and "did you mean 'lr-find'?" in capsys.readouterr().err
    assert lr_find.DIVERGED == 4
