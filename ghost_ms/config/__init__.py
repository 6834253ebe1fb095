"""The recipe: typed dataclasses, one per section, that a YAML file and the command line fill.

Every key can be overridden on the command line (`--optimizer.lr 0.1`). An unknown key or a value of the wrong type
stops the run before any work, with a sentence that names the key, the file and the nearest valid name.
"""
from ghost_ms.config.augment import AugmentConfig
from ghost_ms.config.checks import nearest, one_of
from ghost_ms.config.data import DATASETS, DataConfig
from ghost_ms.config.distill import DistillConfig
from ghost_ms.config.loss import LossConfig
from ghost_ms.config.model import ModelConfig
from ghost_ms.config.optimizer import OPTIMIZERS, OptimizerConfig
from ghost_ms.config.parsing import build_parser, explicit_keys, load, parse, recipe_files
from ghost_ms.config.reading import read_recipe
from ghost_ms.config.recipe import Config
from ghost_ms.config.run import RunConfig
from ghost_ms.config.schedule import SCHEDULES, ScheduleConfig
from ghost_ms.config.task import TaskConfig
from ghost_ms.config.train import EmaConfig, PrecisionConfig, TrainConfig

__all__ = ["AugmentConfig", "Config", "DATASETS", "DataConfig", "DistillConfig", "EmaConfig", "LossConfig",
           "ModelConfig", "OPTIMIZERS", "OptimizerConfig", "PrecisionConfig", "RunConfig", "SCHEDULES",
           "ScheduleConfig", "TaskConfig",
           "TrainConfig", "build_parser", "explicit_keys", "load", "nearest", "one_of", "parse",
           "read_recipe", "recipe_files"]
