"""What happens beside a training: the interface for own code, and what the recipe can switch on."""
import csv
import os
import time
from typing import Any, Dict, List, Optional, Tuple

from mindspore import Tensor

from ghost_ms.config import Config
from ghost_ms.config.checks import duration
from ghost_ms.core.device import World
from ghost_ms.core.figures import Figures
from ghost_ms.core.files import whole_file


class Callback:
    """Own code beside a training: `fit(config, callbacks=[...])`. Override what is wanted; every process calls all.

    `training` is the loop (`ghost_ms.training.loop.Training`). To be relied on: `config`, `description`, `world`
    (`world.is_main` in one process alone), `steps` (of an epoch), `progress` (`epoch` and `step` done, `rows` of
    metrics.csv), `step.net` (the network), `rate` (learning rate of the last step), `say(line)`, `stop(reason)` (save
    and end, to be resumed later) and `finish(reason)` (end after this epoch, as if it were the last).

    An error that a method raises ends the training.
    """

    def on_start(self, training: Any) -> None:
        """Called before the first step of this process; `training.progress` says where a resumed training starts."""

    def on_step(self, training: Any, loss: Tensor) -> None:
        """Called after every step.

        Args:
            loss: of this process's images, a scalar on the device; reading it (`loss.asnumpy()`) waits for the step.
        """

    def on_save(self, training: Any) -> None:
        """Called before a state is written; what is written now is there when the training resumes from that state."""

    def on_epoch(self, training: Any, row: Dict[str, float]) -> None:
        """Called after an epoch, its evaluation and its checkpoints.

        Args:
            row: of metrics.csv.
        """

    def on_end(self, training: Any) -> None:
        """Called at the end, also where that is an error or a signal."""


def of_recipe(config: Config, world: World, figures: Figures) -> List[Callback]:
    """The callbacks that a recipe switches on.

    Raises:
        ValueError: one needs a package that is not installed.
    """
    found: List[Callback] = []
    limit = duration("train.time_limit", config.train.time_limit)
    if limit:
        found.append(TimeLimit(limit))
    if config.train.early_stopping:
        found.append(EarlyStopping(config.train.early_stopping, figures))
    if config.run.step_csv and world.is_main:
        found.append(StepCsv(os.path.join(config.run.dir, "steps.csv")))
    if config.run.tensorboard and world.is_main:
        found.append(TensorBoard(os.path.join(config.run.dir, "tensorboard"), config.train.log_every))
    return found


class TimeLimit(Callback):
    """Saves and ends a training after so many seconds, counted from when this is made."""

    def __init__(self, seconds: float):
        self.seconds, self.start = seconds, time.monotonic()

    def on_step(self, training, loss):
        if time.monotonic() - self.start >= self.seconds:
            training.stop(f"train.time_limit ({training.config.train.time_limit}) is over")

    def on_epoch(self, training, row):
        self.on_step(training, None)


class EarlyStopping(Callback):
    """Ends a training whose last epochs were not better than the best before them.

    Args:
        patience: number of these epochs.
        figures: of the task, which say what is better.
    """

    def __init__(self, patience: int, figures: Figures):
        self.patience, self.figures = patience, figures

    def on_start(self, training):
        self._look(training)

    def on_epoch(self, training, row):
        self._look(training)

    def _look(self, training) -> None:
        rows = training.progress.rows
        best = self.figures.best_row(rows)
        # Epochs of half-learned activations are there to be worse than what comes after them.
        if best is None or rows[-1].get("activation_slope", 1.0) != 1 or best.get("activation_slope", 1.0) != 1:
            return
        since = int(rows[-1]["epoch"] - best["epoch"])
        if since >= self.patience:
            training.finish(f"no epoch since epoch {best['epoch']:.0f} was better, {since} in a row "
                            "(train.early_stopping): the training ends here")


class StepCsv(Callback):
    """A line of every step. They are kept in memory until a state is saved: reading a loss would wait for its step.

    Where a training is resumed, the lines after the state that it resumes from are cut off.
    """

    COLUMNS = ("step", "epoch", "loss", "lr", "images_per_second")

    def __init__(self, path: str):
        self.path = path
        self.waiting: List[Tuple[int, int, Tensor, float, float]] = []
        self.clock = 0.0
        self.lost = False

    def on_start(self, training):
        done = training.progress.steps(training.steps)
        kept = list(_lines_until(self.path, done, len(self.COLUMNS))) if done else []
        with whole_file(self.path) as temporary, open(temporary, "w", newline="") as file:
            csv.writer(file).writerows([self.COLUMNS, *kept])
        self.clock = time.perf_counter()

    def on_step(self, training, loss):
        before, self.clock = self.clock, time.perf_counter()
        progress, images = training.progress, training.config.data.batch_size * training.world.size
        self.waiting.append((progress.steps(training.steps), progress.epoch + 1, loss, training.rate,
                             images / max(self.clock - before, 1e-9)))

    def on_save(self, training):
        lines = [(step, epoch, f"{float(loss.asnumpy()):.6g}", f"{rate:.6g}", f"{speed:.1f}")
                 for step, epoch, loss, rate, speed in self.waiting]
        self.waiting = []
        if self.lost:
            return
        try:
            with open(self.path, "a", newline="") as file:
                csv.writer(file).writerows(lines)
        except OSError as error:
            self.lost = True
            training.say(f"cannot write '{self.path}' ({error.strerror}): the training goes on without it")

    def on_epoch(self, training, row):
        # The evaluation is none of the next step's time.
        self.clock = time.perf_counter()


def _lines_until(path: str, last: int, columns: int):
    """The whole lines of a file of steps up to one, without the header."""
    if not os.path.isfile(path):
        return
    with open(path, newline="", errors="replace") as file:
        for line in csv.reader(iter(lambda: file.readline(1000), "")):
            if len(line) == columns and line[0].isascii() and line[0].isdigit() and 1 <= int(line[0][:15]) <= last:
                yield line


class TensorBoard(Callback):
    """Events for TensorBoard: loss and learning rate every so many steps, and every figure of an epoch.

    Args:
        every: steps between two events.

    Raises:
        ValueError: the package tensorboard is not installed.
    """

    def __init__(self, folder: str, every: int):
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise ValueError(f"run.tensorboard needs the package tensorboard ({error}): pip install tensorboard, or "
                             "leave it out") from None
        self.events, self.summaries, self.create = event_pb2, summary_pb2, EventFileWriter
        self.folder, self.every = folder, every
        self.writer: Optional[Any] = None

    def on_start(self, training):
        self._try(training, self._open, training.progress.steps(training.steps))

    def _open(self, done: int) -> None:
        self.writer = self.create(self.folder)
        # What another run, or this one before it was broken off, wrote of these steps does not count any more.
        start = self.events.SessionLog(status=self.events.SessionLog.START)
        self.writer.add_event(self.events.Event(wall_time=time.time(), step=done + 1, session_log=start))

    def on_step(self, training, loss):
        if training.progress.step % self.every == 0 or training.progress.step == training.steps:
            self._try(training, self._add, training, {"step/loss": float(loss.asnumpy()), "step/lr": training.rate})

    def on_epoch(self, training, row):
        self._try(training, self._add, training, {
            key.replace("_", "/", 1) if key.startswith(("train_", "test_", "ema_")) else f"epoch/{key}": value
            for key, value in row.items() if key != "epoch"})

    def _add(self, training, values: Dict[str, float]) -> None:
        if self.writer is None:
            return
        value = [self.summaries.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self.writer.add_event(self.events.Event(wall_time=time.time(), step=training.progress.steps(training.steps),
                                                summary=self.summaries.Summary(value=value)))

    def on_save(self, training):
        if self.writer is not None:
            self._try(training, self.writer.flush)

    def on_end(self, training):
        if self.writer is not None:
            self._try(training, self.writer.close)

    def _try(self, training, write, *args) -> None:
        try:
            write(*args)
        except OSError as error:
            self.writer = None
            training.say(f"cannot write into '{self.folder}' ({error.strerror or error}): the training goes on without "
                         "events for TensorBoard")
