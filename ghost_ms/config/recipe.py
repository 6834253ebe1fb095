"""A whole recipe: its sections, checked together."""
import dataclasses
import typing

import yaml

from ghost_ms.config.augment import AugmentConfig
from ghost_ms.config.checks import possible
from ghost_ms.config.data import DataConfig
from ghost_ms.config.distill import DistillConfig
from ghost_ms.config.loss import LossConfig
from ghost_ms.config.model import ModelConfig
from ghost_ms.config.optimizer import OptimizerConfig
from ghost_ms.config.run import RunConfig
from ghost_ms.config.schedule import ScheduleConfig
from ghost_ms.config.task import TaskConfig
from ghost_ms.config.train import EmaConfig, PrecisionConfig, TrainConfig
from ghost_ms.core.files import write_text


@dataclasses.dataclass
class Config:
    """A whole recipe."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    task: TaskConfig = dataclasses.field(default_factory=TaskConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    ema: EmaConfig = dataclasses.field(default_factory=EmaConfig)
    distill: DistillConfig = dataclasses.field(default_factory=DistillConfig)
    precision: PrecisionConfig = dataclasses.field(default_factory=PrecisionConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    run: RunConfig = dataclasses.field(default_factory=RunConfig)

    def validate(self) -> None:
        """ValueError for a value whose type is right and whose meaning is not; the sentence names its key."""
        for section in dataclasses.fields(self):
            values = getattr(self, section.name)
            kinds = typing.get_type_hints(type(values))
            for field in dataclasses.fields(values):
                key, value = f"{section.name}.{field.name}", getattr(values, field.name)
                if value is None and type(None) not in typing.get_args(kinds[field.name]):
                    raise ValueError(f"{key} is null; leave it out for its default")
                possible(key, value)
            values.validate()

    def save(self, path: str) -> None:
        """Write the resolved recipe as YAML, whole or not at all; reading it back gives an equal recipe."""
        write_text(path, yaml.safe_dump(_plain(dataclasses.asdict(self)), sort_keys=False, allow_unicode=True))


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
