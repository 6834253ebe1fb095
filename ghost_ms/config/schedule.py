"""The section `schedule`: the learning rate of every update."""
import dataclasses
from typing import List, Optional

from ghost_ms.config.checks import not_negative, one_of


SCHEDULES = ("cosine", "step", "multi_step", "polynomial", "constant", "one_cycle")


@dataclasses.dataclass
class ScheduleConfig:
    """The learning rate of every update: a warm-up, then a decay.

    cosine (arXiv 1608.03983), polynomial and one_cycle (arXiv 1708.07120) begin where the warm-up ends; the epochs of
    step and multi_step count from the start of the training.

    Args:
        name: cosine, step, multi_step, polynomial, constant or one_cycle.
        warmup_epochs: length of the warm-up; may be a fraction. It is linear, for one_cycle half a cosine.
        warmup_lr: learning rate of the first update.
        min_lr: learning rate at the end of cosine, polynomial and one_cycle.
        cooldown_epochs: epochs at `min_lr` at the end of train.epochs (cosine, polynomial).
        decay_epochs: step alone: epochs between two decays; may be a fraction.
        milestones: multi_step alone: epochs at which the rate decays.
        decay_rate: step and multi_step: factor of a decay.
        power: polynomial alone: exponent.
        noise: range of the training in which the rate is noisy, as shares of its epochs, such as [0.42, 0.9].
        noise_limit: largest noise relative to the rate; the noise is drawn anew for each epoch.
        noise_std: deviation of the normal distribution that noise is drawn from.
    """

    name: str = "cosine"
    warmup_epochs: float = 0.0
    warmup_lr: float = 1e-6
    min_lr: float = 0.0
    cooldown_epochs: float = 0.0
    decay_epochs: float = 30.0
    milestones: List[float] = dataclasses.field(default_factory=list)
    decay_rate: float = 0.1
    power: float = 1.0
    noise: Optional[List[float]] = None
    noise_limit: float = 0.67
    noise_std: float = 1.0

    def validate(self) -> None:
        """ValueError for a value whose type is right and whose meaning is not."""
        one_of("schedule.name", self.name, SCHEDULES)
        not_negative(**{f"schedule.{key}": getattr(self, key) for key in (
            "warmup_epochs", "warmup_lr", "min_lr", "cooldown_epochs", "decay_rate", "power")})
        if self.name == "multi_step" and not self.milestones:
            raise ValueError("schedule.name multi_step needs schedule.milestones, such as [30, 60, 80]")
        if self.decay_epochs <= 0:
            raise ValueError(f"schedule.decay_epochs must lie above 0, not {self.decay_epochs}")
        noise = self.noise
        if noise is not None and (len(noise) != 2 or not 0 <= noise[0] < noise[1] <= 1):
            raise ValueError("schedule.noise must be two rising shares of the training, such as [0.42, 0.9], not "
                             f"{noise}")
        if noise is not None and (self.noise_limit <= 0 or self.noise_std <= 0):
            raise ValueError("schedule.noise_limit and schedule.noise_std must lie above 0")
