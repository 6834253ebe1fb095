"""The profiler's trace and the summary of a run."""
import csv
import json
import struct

import pytest

from ghost_ms.config import Config, DataConfig, ModelConfig, RunConfig
from ghost_ms.config import TrainConfig
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


def _events(path):
    """The events of a summary file: length, checksum, message, checksum."""
    from mindspore.train.summary_pb2 import Event

    data, position = path.read_bytes(), 0
    while position < len(data):
        length, = struct.unpack_from("<Q", data, position)
        event = Event()
        event.ParseFromString(data[position + 12:position + 12 + length])
        position += 16 + length
        yield event


def test_a_trace_of_three_steps_and_the_metrics_for_mindinsight(tmp_path):
    best = fit(_recipe(tmp_path, profile=2, summary=True))
    types, = (tmp_path / "profile").glob("*/FRAMEWORK/cpu_op_type_info_*.csv")
    counted = {row["op_type"]: int(row["type_occurrences"]) for row in csv.DictReader(types.open())}
    # Two convolutions; a weight and a bias each for two norms and the classifier, and two kernels: in three steps.
    assert counted["Conv2D"] == 2 * 3 and counted["SGD"] == 8 * 3
    trace, = (tmp_path / "profile").glob("*/ASCEND_PROFILER_OUTPUT/trace_view.json")
    assert any("Conv2D" in event.get("name", "") for event in json.loads(trace.read_text()))
    file, = (tmp_path / "summary").iterdir()
    scalars = {(event.step, value.tag): value.scalar_value for event in _events(file) for value in event.summary.value}
    for step in (1, 2):
        assert {"train_loss", "test_top1", "lr", "images_per_second"} <= {tag for at, tag in scalars if at == step}
    assert scalars[best["epoch"], "test_top1"] == pytest.approx(best["test_top1"], abs=1e-4)


def test_steps_that_the_epoch_does_not_have(tmp_path):
    with pytest.raises(ValueError, match="run.profile is 4: 3 steps are traced .* the epoch has 5; take 3 at most"):
        fit(_recipe(tmp_path, profile=4))
    assert not (tmp_path / "profile").exists()
