"""Learning rates, one per update."""
import dataclasses
from typing import List, Tuple

import numpy as np

from ghost_ms.config import Config, OptimizerConfig, ScheduleConfig


def learning_rates(peak: float, schedule: ScheduleConfig, epochs: int, updates_per_epoch: float,
                   seed: int = 1) -> List[float]:
    """One learning rate for every update of a training.

    Args:
        peak: the rate that the warm-up leads to.
        updates_per_epoch: may be a fraction, where gradients are accumulated.
        seed: of the noise.

    Raises:
        ValueError: the warm-up and the cool-down are not shorter than the training.
    """
    total = int(epochs * updates_per_epoch)
    warmup = round(schedule.warmup_epochs * updates_per_epoch)
    if not 0 <= warmup < total:
        raise ValueError(f"schedule.warmup_epochs is {schedule.warmup_epochs}: it must lie between 0 and "
                         f"train.epochs = {epochs}")
    cooldown = round(schedule.cooldown_epochs * updates_per_epoch)
    if warmup + cooldown >= total:
        raise ValueError(f"schedule.warmup_epochs and schedule.cooldown_epochs leave nothing of "
                         f"train.epochs = {epochs}")
    rise = np.arange(warmup) / max(warmup, 1)
    if schedule.name == "one_cycle":
        rise = (1 - np.cos(np.pi * rise)) / 2
    rising = schedule.warmup_lr + (peak - schedule.warmup_lr) * rise
    rates = np.concatenate([rising, DECAYS[schedule.name](peak, schedule, warmup, total, updates_per_epoch)])
    if schedule.noise is not None:
        rates = rates * _noise(schedule, epochs, updates_per_epoch, total, seed)
    return rates.tolist()


def scaled(optimizer: OptimizerConfig, schedule: ScheduleConfig, global_batch: int) -> Tuple[float, ScheduleConfig]:
    """(peak, schedule) with every rate scaled linearly from `optimizer.base_batch` to the global batch.

    The global batch holds the images of one update, of all workers and accumulated steps (arXiv 1706.02677).
    """
    factor = global_batch / optimizer.base_batch if optimizer.base_batch else 1.0
    return optimizer.lr * factor, dataclasses.replace(schedule, warmup_lr=schedule.warmup_lr * factor,
                                                      min_lr=schedule.min_lr * factor)


def peak_rate(config: Config, ranks: int) -> Tuple[float, str]:
    """(peak learning rate of a training, how the recipe comes to it).

    Args:
        ranks: processes that train together.
    """
    batch = config.data.batch_size * ranks * config.train.accumulate
    peak, _ = scaled(config.optimizer, config.schedule, batch)
    if not config.optimizer.base_batch:
        return peak, "optimizer.lr as it stands"
    parts = [f"{config.data.batch_size} images"] + [f"{ranks} devices"] * (ranks > 1) + [
        f"{config.train.accumulate} steps"] * (config.train.accumulate > 1)
    product = f", {' x '.join(parts)}," if len(parts) > 1 else ""
    return peak, (f"optimizer.lr {config.optimizer.lr:g} x {batch} / {config.optimizer.base_batch} (images of an update"
                  f"{product} / optimizer.base_batch)")


def _phase(schedule: ScheduleConfig, warmup: int, total: int, updates_per_epoch: float) -> np.ndarray:
    """0 at the end of the warm-up, growing to 1 where the cool-down begins, and 1 in it."""
    length = total - warmup - round(schedule.cooldown_epochs * updates_per_epoch)
    return np.minimum(np.arange(total - warmup) / length, 1.0)


def _cosine(peak, schedule, warmup, total, updates_per_epoch):
    phase = _phase(schedule, warmup, total, updates_per_epoch)
    return schedule.min_lr + (peak - schedule.min_lr) * (1 + np.cos(np.pi * phase)) / 2


def _polynomial(peak, schedule, warmup, total, updates_per_epoch):
    phase = _phase(schedule, warmup, total, updates_per_epoch)
    return schedule.min_lr + (peak - schedule.min_lr) * (1 - phase) ** schedule.power


def _constant(peak, schedule, warmup, total, updates_per_epoch):
    return np.full(total - warmup, peak)


def _step(peak, schedule, warmup, total, updates_per_epoch):
    epoch = np.arange(warmup, total) / updates_per_epoch
    # Rounding must not put the update that completes 2.4 epochs before the decay.
    return peak * schedule.decay_rate ** np.floor(epoch / schedule.decay_epochs + 1e-9)


def _multi_step(peak, schedule, warmup, total, updates_per_epoch):
    epoch = np.arange(warmup, total) / updates_per_epoch
    passed = np.searchsorted(np.sort(schedule.milestones), epoch + 1e-9, side="right")
    return peak * schedule.decay_rate ** passed


def _one_cycle(peak, schedule, warmup, total, updates_per_epoch):
    phase = np.arange(total - warmup) / max(total - warmup - 1, 1)
    return schedule.min_lr + (peak - schedule.min_lr) * (1 + np.cos(np.pi * phase)) / 2


DECAYS = {"cosine": _cosine, "step": _step, "multi_step": _multi_step, "polynomial": _polynomial,
          "constant": _constant, "one_cycle": _one_cycle}


def _noise(schedule: ScheduleConfig, epochs: int, updates_per_epoch: float, total: int, seed: int) -> np.ndarray:
    """One factor per update, the same through an epoch: 1 + normal noise, drawn again until it is within the limit.

    The epochs e with `noise[0] * epochs <= e < noise[1] * epochs` are noisy, as in timm's schedulers; the draw of an
    epoch depends on (seed, epoch) alone.
    """
    factors = np.ones(epochs + 1)
    for epoch in range(epochs):
        if schedule.noise[0] * epochs <= epoch < schedule.noise[1] * epochs:
            draw = np.random.default_rng([seed, epoch])
            noise = schedule.noise_std * draw.standard_normal()
            while abs(noise) >= schedule.noise_limit:
                noise = schedule.noise_std * draw.standard_normal()
            factors[epoch] = 1 + noise
    return factors[np.floor(np.arange(total) / updates_per_epoch + 1e-9).astype(int)]
