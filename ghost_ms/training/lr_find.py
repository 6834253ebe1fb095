"""The learning-rate range test: how the loss answers to a rate that grows from step to step (arXiv 1506.01186, 3.3).

The training step is that of the recipe, over its training images; only the rates are others. Nothing is kept.
"""
import csv
import dataclasses
import math
from typing import Iterator, List, Optional, Tuple

import numpy as np
from mindspore import Tensor

from ghost_ms.config import Config, EmaConfig
from ghost_ms.core.files import whole_file
from ghost_ms.data.loader import Shard
from ghost_ms.training.fit import Job, build, prepare
from ghost_ms.training.progress import Reporter

#: The loss has diverged when it is so many times the lowest one; fastai's limit.
DIVERGED = 4.0
#: Share of the steps over which losses are averaged, on each side.
WINDOW = 0.04


@dataclasses.dataclass
class Sweep:
    """What was measured.

    Args:
        rates: learning rate of each update, growing.
        losses: of each update's images, before it.
        batch: images of an update.
        diverged: whether it ended because the loss had.
    """

    rates: List[float]
    losses: List[float]
    batch: int
    diverged: bool

    @property
    def smooth(self) -> np.ndarray:
        """The losses, averaged over their neighbours with Gaussian weights, so that no curve lags behind its rates."""
        losses, places = np.array(self.losses), np.arange(len(self.losses))
        width = max(WINDOW * len(losses), 1e-3)
        weights = np.exp(-((places[:, None] - places) / width) ** 2 / 2)
        return weights @ losses / weights.sum(1)

    def suggestion(self) -> Optional[Tuple[float, float]]:
        """(rate at which the loss falls fastest, rate of the lowest loss); None where the loss does not fall.

        The steepest slope over the logarithm of the rate is sought before the lowest loss. Both readings, and a tenth
        of the second as a careful choice, are fastai's.
        """
        smooth = self.smooth
        lowest = int(smooth.argmin())
        if lowest < 2 or smooth[0] - smooth[lowest] < 0.01 * abs(smooth[0]):
            return None
        slopes = np.gradient(smooth, np.log(self.rates))
        return self.rates[int(slopes[:lowest].argmin())], self.rates[lowest]


@dataclasses.dataclass
class _Job(Job):
    """A training with other rates than those of its schedule.

    Args:
        table: rate of each update.
    """

    table: List[float]

    def rates(self, epochs: int) -> List[float]:
        return self.table


def find_rates(config: Config, start: float, end: float, steps: int) -> Sweep:
    """Train for so many updates with rates that grow exponentially, until the loss diverges.

    Args:
        start, end: first and last learning rate.

    Raises:
        ValueError: the range is none, several processes were started, or the recipe does not allow the training.
    """
    if not 0 < start < end or steps < 10:
        raise ValueError("the rates must grow from above 0, in 10 steps or more; not from "
                         f"{start:g} to {end:g} in {steps}")
    # Running means are not looked at, and a graph with these rates serves nobody else.
    config = dataclasses.replace(config, ema=EmaConfig(), run=dataclasses.replace(config.run, compile_cache=None))
    job = prepare(config)
    if job.world.size > 1:
        raise ValueError("lr-find is for one process; a rate for several devices is so many times that of one "
                         "(optimizer.base_batch)")
    rates = (start * (end / start) ** (np.arange(steps) / (steps - 1))).tolist()
    reporter = Reporter(None, max(steps // 4, 1))
    reporter.line(f"{config.model.name}: {steps} updates of {config.data.batch_size * config.train.accumulate} images, "
                  f"learning rate {start:g} to {end:g}; {job.target}, {config.run.mode} mode")
    losses: List[float] = []
    diverged = False
    with reporter.task("update", steps, config.data.batch_size * config.train.accumulate) as advance:
        for loss in _losses(_Job(**vars(job), table=rates)):
            if not math.isfinite(loss) or losses and loss > DIVERGED * min(losses):
                diverged = True
                break
            losses.append(loss)
            advance(len(losses), f"learning rate {rates[len(losses) - 1]:.3g}, loss {loss:.4f}")
    if len(losses) < 3:
        raise ValueError(f"the loss diverges at once with a learning rate of {start:g}; begin lower (--start)")
    return Sweep(rates[:len(losses)], losses, config.data.batch_size * config.train.accumulate, diverged)


def _losses(job: "_Job") -> Iterator[float]:
    """The mean loss of the images of each update."""
    config = job.config
    step, _ = build(job, None)
    step.set_train(True)
    waiting: List[Tensor] = []
    done = epoch = 0
    while True:
        for batch in job.batches(epoch, Shard()):
            waiting.append(step(*batch)[0])
            if len(waiting) == config.train.accumulate:
                yield sum(float(loss.asnumpy()) for loss in waiting) / len(waiting)
                waiting, done = [], done + 1
                if done == len(job.table):
                    return
        epoch += 1


def write_csv(path: str, sweep: Sweep) -> None:
    """The losses as CSV, one line per update."""
    with whole_file(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("lr", "loss", "smooth_loss"))
        writer.writerows((f"{rate:.6g}", f"{loss:.6g}", f"{mean:.6g}")
                         for rate, loss, mean in zip(sweep.rates, sweep.losses, sweep.smooth))


def draw(path: str, sweep: Sweep, title: str) -> None:
    """The losses over the rates, with the suggestion marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.semilogx(sweep.rates, sweep.losses, ".", color="C0", alpha=0.35, label="loss of an update's images")
    axes.semilogx(sweep.rates, sweep.smooth, color="C0", label="mean of its neighbours")
    found = sweep.suggestion()
    if found is not None:
        axes.axvline(found[0], color="C1", label=f"falls fastest: {found[0]:.2g}")
        axes.axvline(found[1], color="C2", linestyle="--", label=f"lowest: {found[1]:.2g}")
    axes.set(title=title, xlabel="learning rate", ylabel="loss")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=120)


def table(sweep: Sweep, most: int = 20) -> List[List[str]]:
    """Rates and averaged losses as text cells, header first, of `most` updates at equal distances."""
    smooth = sweep.smooth
    chosen = sorted({round(place) for place in np.linspace(0, len(smooth) - 1, most)})
    return [["learning rate", "loss"]] + [[f"{sweep.rates[place]:.3g}", f"{smooth[place]:.4f}"] for place in chosen]


def advice(sweep: Sweep) -> str:
    """The suggestion in words."""
    found = sweep.suggestion()
    if found is None:
        return ("no suggestion: the loss does not fall clearly at any of these rates; try more --steps, a range from a "
                "lower --start, or see whether the recipe learns at all")
    steepest, lowest = found
    said = (f"suggestion: --optimizer.lr {steepest:.2g}, where the loss falls fastest, for updates of {sweep.batch} "
            f"images; it is lowest at {lowest:.2g}, and a tenth of that, {lowest / 10:.2g}, is the careful choice")
    return said if sweep.diverged else f"{said}; the loss had not diverged yet: a higher --end may show more"
