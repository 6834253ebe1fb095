"""The sections `ema`, `precision` and `train`: running means, mixed precision, length and what is kept."""
import dataclasses
from typing import Optional, Union

from ghost_ms.config.checks import at_least_one, duration, not_negative, one_of


@dataclasses.dataclass
class EmaConfig:
    """EMA weights: an exponential moving average of weights and BatchNorm statistics, evaluated beside them.

    Args:
        decay: share of the average that an update keeps, such as 0.9999; 0 for no EMA weights.
        warmup: whether the decay grows with the updates t as min(decay, (1 + t) / (10 + t)), so that the first
            weights are soon forgotten (TensorFlow's ExponentialMovingAverage).
    """

    decay: float = 0.0
    warmup: bool = True

    def validate(self) -> None:
        """ValueError for a value whose type is right and whose meaning is not."""
        if not 0 <= self.decay < 1:
            raise ValueError(f"ema.decay must lie between 0 and 1, below 1, not {self.decay}")


@dataclasses.dataclass
class PrecisionConfig:
    """Mixed precision (`mindspore.amp`); parameters stay float32.

    Args:
        level: O0 (none), O2 (all but BatchNorm and its kind), O3 (all), or auto (operator by operator).
        dtype: float16, or bfloat16 where the device has it.
        loss_scale: factor on the loss that keeps small float16 gradients from vanishing; 1 for none.
        dynamic: halve the scale on overflow and double it after `scale_window` updates without one.
        scale_window: number of updates without an overflow after which `dynamic` doubles the scale.
        sync_batchnorm: let BatchNorm take its statistics over the images of all devices (Ascend and GPU).
    """

    level: str = "O0"
    dtype: str = "float16"
    loss_scale: float = 1.0
    dynamic: bool = False
    scale_window: int = 2000
    sync_batchnorm: bool = False

    def validate(self) -> None:
        """ValueError for a value whose type is right and whose meaning is not."""
        one_of("precision.level", self.level, ("O0", "O2", "O3", "auto"))
        one_of("precision.dtype", self.dtype, ("float16", "bfloat16"))
        at_least_one(**{"precision.scale_window": self.scale_window, "precision.loss_scale": self.loss_scale})
        if self.level == "O0" and (self.loss_scale != 1 or self.dynamic):
            raise ValueError("precision.loss_scale and precision.dynamic need a precision.level other than O0: "
                             "float32 gradients need no scale")


@dataclasses.dataclass
class TrainConfig:
    """The length of the training, what it prints, and the checkpoints from which it resumes.

    Args:
        epochs: passes over the training images.
        log_every: steps between two lines of a log that is no terminal.
        accumulate: steps whose gradients are averaged for one update.
        on_nan: stop at a loss that is not finite, or skip its update.
        max_skipped: updates skipped in a row that still do not stop the run.
        restorable_masks: draw the masks of dropout and drop path from the step's number instead of a state inside the
            kernel, so that a resumed run draws the same ones; costs some element-wise operators. By default true on
            the CPU, and false elsewhere, where not every device has 32-bit unsigned arithmetic: a resumed run then
            draws other masks, as random as the first ones.
        resume: auto resumes from the newest valid checkpoint of run.dir and starts anew where there is none; the path
            of a checkpoint or of another run's folder resumes from that; off starts anew. The result is that of a run
            that was never interrupted, bit by bit on the CPU. What decides the result must not change in between; run.*
            but seed and mode, data.root, data.workers and what is only told or kept may, and train.epochs where the
            learning rates so far stay what they were (constant, step, multi_step).
        checkpoint_every: steps between two checkpoints within an epoch; 0 for one at the end of each epoch alone.
        keep: newest checkpoints that are kept to resume from; the older ones are there in case the newest is damaged.
        early_stopping: end the training after so many epochs in a row that were not better than the best before; 0 for
            never.
        time_limit: save the state and end after this time, for a later resume: a number of seconds, or such as
            90m, 1.5h, 1d12h, 2:30:00; 0 for no limit. Looked at after each step.
    """

    epochs: int = 90
    log_every: int = 50
    accumulate: int = 1
    on_nan: str = "stop"
    max_skipped: int = 10
    restorable_masks: Optional[bool] = None
    resume: Union[bool, str] = "off"
    checkpoint_every: int = 0
    keep: int = 2
    early_stopping: int = 0
    time_limit: Union[int, float, str] = 0

    def validate(self) -> None:
        """ValueError for a value whose type is right and whose meaning is not."""
        one_of("train.on_nan", self.on_nan, ("stop", "skip"))
        if self.resume is True or self.resume == "":
            raise ValueError("train.resume must be auto, off, or the path of a checkpoint or of a run's folder")
        at_least_one(**{f"train.{key}": getattr(self, key) for key in ("epochs", "log_every", "keep", "accumulate")})
        not_negative(**{f"train.{key}": getattr(self, key) for key in (
            "max_skipped", "checkpoint_every", "early_stopping")})
        duration("train.time_limit", self.time_limit)
