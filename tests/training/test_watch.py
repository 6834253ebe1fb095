"""The profiler's trace of a run."""
import csv
import json
import os

import pytest

from ghost_ms.config import Config, DataConfig, ModelConfig, RunConfig
from ghost_ms.config import TrainConfig
from ghost_ms.core.files import PREFIX
from ghost_ms.training.callbacks import Callback
from ghost_ms.training.fit import fit
from tests.tiny import registered


@pytest.fixture(autouse=True)
def tiny_models():
    with registered():
        yield


def _recipe(folder, **run):
    return Config(
        model=ModelConfig("tiny"), train=TrainConfig(epochs=2),
        data=DataConfig("synthetic", batch_size=8, eval_batch_size=16, input_size=(16, 16), synthetic_size=40,
                        synthetic_classes=4, workers=1, crop_ratio=1.0),
        run=RunConfig(dir=str(folder), device="CPU", **run))


def test_a_trace_of_three_steps(tmp_path):
    """It is there whole after these steps, whatever becomes of the epoch."""
    seen = []

    class Look(Callback):
        def on_step(self, training, loss):
            if training.progress.epoch == 0:
                seen.append((tmp_path / "profile").exists())

    recipe = _recipe(tmp_path, profile=2)
    recipe.run.kernels = "off"
    fit(recipe, [Look()])
    assert seen == [False, False, False, True, True]
    assert not [name for name in os.listdir(tmp_path) if name.startswith(PREFIX)]
    types, = (tmp_path / "profile").glob("*/FRAMEWORK/cpu_op_type_info_*.csv")
    counted = {row["op_type"]: int(row["type_occurrences"]) for row in csv.DictReader(types.open())}
    # Two convolutions; a weight and a bias each for two norms and the classifier, and two kernels: in three steps.
    assert counted["Conv2D"] == 2 * 3 and counted["SGD"] == 8 * 3
    trace, = (tmp_path / "profile").glob("*/ASCEND_PROFILER_OUTPUT/trace_view.json")
    assert any("Conv2D" in event.get("name", "") for event in json.loads(trace.read_text()))


def test_steps_that_the_epoch_does_not_have(tmp_path):
    with pytest.raises(ValueError, match="run.profile is 4: 3 steps are traced .* the epoch has 5; take 3 at most"):
        fit(_recipe(tmp_path, profile=4))
    assert not (tmp_path / "profile").exists()
