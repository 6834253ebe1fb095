"""Learning rates, one a step."""
from typing import List

import numpy as np

from ghost_ms.config import ScheduleConfig


def learning_rates(peak: float, schedule: ScheduleConfig, epochs: int, steps_per_epoch: int) -> List[float]:
    """One learning rate for every step: linear from `warmup_lr` to `peak`, then half a cosine to `min_lr`.

    Raises:
        ValueError: the warm-up is not shorter than the training.
    """
    total = epochs * steps_per_epoch
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if not 0 <= warmup < total:
        raise ValueError(f"schedule.warmup_epochs is {schedule.warmup_epochs}: it must lie between 0 and "
                         f"train.epochs = {epochs}")
    rising = schedule.warmup_lr + (peak - schedule.warmup_lr) * np.arange(warmup) / max(warmup, 1)
    phase = np.arange(total - warmup) / (total - warmup)
    falling = schedule.min_lr + (peak - schedule.min_lr) * (1 + np.cos(np.pi * phase)) / 2
    return np.concatenate([rising, falling]).tolist()
