"""A training on the CPU kernels: goes on with the same bits, and with the operators that it began with."""
import dataclasses
import json

import numpy as np
import pytest

from ghost_ms.checkpoints.checkpoint import read_state, save_checkpoint
from ghost_ms.config import Config, DataConfig, EmaConfig, ModelConfig, RunConfig, ScheduleConfig, TrainConfig
from ghost_ms.kernels import build, swap
from ghost_ms.training.fit import fit
from ghost_ms.training.resume import TrainerState
from tests.same import assert_same_runs
from tests.tiny import registered


@pytest.fixture(autouse=True)
def tiny_models(cpu_kernels):
    with registered():
        yield


def recipe(folder, epochs, kernels="auto", resume="off"):
    return Config(
        model=ModelConfig("tiny", args=dict(drop_rate=0.3)), ema=EmaConfig(0.9),
        schedule=ScheduleConfig("constant", warmup_epochs=0),
        data=DataConfig("synthetic", batch_size=8, eval_batch_size=16, input_size=(16, 16), synthetic_size=40,
                        synthetic_classes=4, workers=1, crop_ratio=1.0),
        train=TrainConfig(epochs=epochs, resume=resume), run=RunConfig(dir=str(folder), device="CPU", kernels=kernels))


def weights(folder):
    values = read_state(str(folder / "checkpoints" / "last.ckpt"))[0]
    return {name: np.asarray(value.asnumpy()) for name, value in values.items()}


def log(folder):
    return (folder / "log.txt").read_text()


def test_resume_is_exact_and_goes_on_with_them(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fit(recipe(whole, 3))
    assert "CPU kernels on, for " in log(whole)
    fit(recipe(broken, 1))
    fit(recipe(broken, 3, resume="auto"))
    assert_same_runs(whole, broken)
    assert "without" not in log(broken)


def test_off_gives_other_last_bits_and_stays_off(tmp_path):
    on, off = tmp_path / "on", tmp_path / "off"
    fit(recipe(on, 2))
    fit(recipe(off, 1, kernels="off"))
    assert "CPU kernels off: MindSpore's own operators, as asked" in log(off)
    fit(recipe(off, 2, resume="auto"))
    assert "this training began without the CPU kernels and goes on so, for the same bits" in log(off)
    whole = tmp_path / "whole"
    fit(recipe(whole, 2, kernels="off"))
    assert_same_runs(whole, off)
    fast, slow = weights(on), weights(whole)
    different = [name for name in fast if not np.array_equal(fast[name], slow[name])]
    assert different
    for name in fast:
        assert np.allclose(fast[name], slow[name], rtol=1e-2, atol=1e-3), name


def test_a_state_of_an_earlier_version_goes_on_without_them(tmp_path):
    """It knew no kernels, and says nothing of them."""
    fit(recipe(tmp_path, 1, kernels="off"))
    path = str(tmp_path / "checkpoints" / "last.ckpt")
    values, description, progress = read_state(path)
    fields = json.loads(progress)
    assert fields.pop("kernels") is False
    del fields["recipe"]["run.kernels"]
    save_checkpoint(values, path, description, json.dumps(fields))
    fit(recipe(tmp_path, 2, resume="auto"))
    assert "began without the CPU kernels" in log(tmp_path)


def test_where_they_are_gone_a_training_says_so(tmp_path, monkeypatch):
    fit(recipe(tmp_path, 1))

    def none():
        raise build.Unavailable("there is no C++ compiler (c++): install g++")

    monkeypatch.setattr(swap, "library", none)
    fit(recipe(tmp_path, 2, resume="auto"))
    said = log(tmp_path)
    assert "CPU kernels off, which makes a step two to three times slower: there is no C++ compiler" in said
    assert "began with the CPU kernels and goes on without them" in said


def test_mixed_precision_does_without(tmp_path):
    config = recipe(tmp_path, 1)
    config.precision = dataclasses.replace(config.precision, level="O2")
    fit(config)
    assert "CPU kernels off: they are for float32, and precision.level asks for less" in log(tmp_path)


@pytest.mark.parametrize("value", ["true", 1, None])
def test_the_choice_in_a_state_is_yes_or_no(value):
    fields = json.loads(TrainerState(recipe={"train.epochs": 1}).to_json())
    with pytest.raises(ValueError, match="no proper kernels"):
        TrainerState.from_json(json.dumps({**fields, "kernels": value}))
