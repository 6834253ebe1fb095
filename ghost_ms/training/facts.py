"""What a training says of itself before its first step, so that nothing that decides its result happens in silence."""
from typing import Dict, List

import numpy as np

from ghost_ms.config import Config, EmaConfig, PrecisionConfig
from ghost_ms.training.schedule import peak_rate

#: Share of the initial weights from which on their running mean is no use.
STALE = 0.05


def rate_line(config: Config, ranks: int) -> str:
    """The peak learning rate, and how it came about."""
    peak, origin = peak_rate(config, ranks)
    return f"peak learning rate {peak:g} = {origin}"


def steps_line(config: Config, steps: int, images: int, ranks: int) -> str:
    """Steps of an epoch, and the images that are left over."""
    batch = config.data.batch_size * ranks
    devices = f" ({config.data.batch_size} on each of {ranks} devices)" if ranks > 1 else ""
    rest = images - steps * batch
    left = f"; {_many(rest, 'image')} left out of each, others every time" if rest else ""
    return f"{_many(steps, 'step')} per epoch, of {batch} images{devices}{left}"


def device_line(target: str, passed_over: Dict[str, str], cards: Dict[str, List[str]]) -> str:
    """The device, and what would have been preferred to it.

    Args:
        passed_over: device -> why it could not be taken.
        cards: device -> its files in this machine.
    """
    if not passed_over:
        return f"device {target}, as run.device says" if target == "CPU" else f"device {target}"
    # Where there is no card, what MindSpore says of its libraries would only frighten.
    reasons = [f"{', '.join(cards[name])} unused: {reason}" if cards[name] else f"this machine has no {name}"
               for name, reason in passed_over.items()]
    return f"device {target} ({'; '.join(reasons)})"


def precision_line(precision: PrecisionConfig) -> str:
    """The number format of the network."""
    if precision.level == "O0":
        return "precision float32"
    scale = "no loss scale" if precision.loss_scale == 1 and not precision.dynamic else \
        f"loss scale {precision.loss_scale:g}{', dynamic' if precision.dynamic else ''}"
    return f"mixed precision {precision.level}, {precision.dtype}, {scale}"


def ema_line(ema: EmaConfig, updates: int) -> str:
    """The EMA weights, and whether they can matter in so few updates."""
    share = initial_share(ema, updates)
    said = f"EMA weights, decay {ema.decay:g}, {_many(updates, 'update')}"
    if share > STALE:
        said += (f": at the end they still hold {100 * share:.0f} % of the initial weights and will hardly be "
                 "better; lower ema.decay" + ("" if ema.warmup else " or set ema.warmup"))
    return said


def initial_share(ema: EmaConfig, updates: int) -> float:
    """What is left of the initial weights in their running mean after so many updates; see `training.ema.Ema`."""
    done = np.arange(updates, dtype=np.float64) + 1
    decay = np.minimum(ema.decay, (1 + done) / (10 + done)) if ema.warmup else np.full(updates, ema.decay)
    return float(np.exp(np.log(decay).sum()))


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def first_lines(config: Config, steps: int, images: int, ranks: int) -> List[str]:
    """The lines on rate, steps, precision and running mean.

    Args:
        steps: of an epoch.
        images: of the training split.
        ranks: processes that train together.
    """
    lines = [rate_line(config, ranks), steps_line(config, steps, images, ranks), precision_line(config.precision)]
    if config.ema.decay:
        lines.append(ema_line(config.ema, config.train.epochs * steps // config.train.accumulate))
    return lines
