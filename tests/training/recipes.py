"""The smallest recipe that trains: 'tiny' on noise, five steps an epoch; for tests of what is around the steps."""
from ghost_ms.config import Config, DataConfig, ModelConfig, OptimizerConfig, RunConfig, ScheduleConfig, TrainConfig


def small(folder, data=None, run=None, **train):
    """A recipe in PyNative mode, which need not compile.

    Args:
        folder: of the run.
        data, run, train: keys of these sections.
    """
    return Config(
        model=ModelConfig("tiny"), optimizer=OptimizerConfig(lr=0.005), schedule=ScheduleConfig("constant"),
        data=DataConfig(**{"dataset": "synthetic", "synthetic_size": 40, "synthetic_classes": 4, "batch_size": 8,
                           "eval_batch_size": 16, "input_size": (16, 16), "workers": 1, "crop_ratio": 1.0,
                           **(data or {})}),
        train=TrainConfig(**{"epochs": 1, **train}),
        run=RunConfig(**{"dir": str(folder), "device": "CPU", "mode": "pynative", **(run or {})}))
