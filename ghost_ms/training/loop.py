"""The training loop: Python only steers, the compiled step does the work."""
import contextlib
import dataclasses
import os
import signal
import time
from typing import Callable, Dict, List, Optional, Sequence

from ghost_ms.config import Config
from ghost_ms.data.datasets import Source
from ghost_ms.data.loader import Shard, evaluation_batches, steps_per_epoch, training_batches
from ghost_ms.device import World
from ghost_ms.recipe import TrainConfig
from ghost_ms.training.build import activation_slope
from ghost_ms.training.checkpoint import Description, save_checkpoint
from ghost_ms.training.compile_cache import CompileCache
from ghost_ms.training.curves import draw_curves, write_metrics
from ghost_ms.training.distributed import Vote, average_statistics, sum_over_ranks
from ghost_ms.training.evaluate import evaluate
from ghost_ms.training.interrupt import Interruption, Stopped
from ghost_ms.training.progress import Reporter, Waiting, peak_memory
from ghost_ms.training.resume import Progress, whole_state
from ghost_ms.training.states import States
from ghost_ms.training.step import Health, TrainStep
from ghost_ms.training.watch import summary, trace


class _Break(Exception):
    """Leaves an evaluation."""


class Training:
    """The loop over epochs, from wherever `progress` stands.

    Args:
        rates: learning rate of every update.
        states: what is kept on disk; rank 0 alone has one.
        interruption: whether to stop; looked at after every step.
        cache: of the compiled step.
    """

    def __init__(self, config: Config, description: Description, train: Source, test: Source, world: World,
                 step: TrainStep, rates: Sequence[float], progress: Progress, states: Optional[States],
                 reporter: Reporter, interruption: Interruption, cache: CompileCache):
        self.config, self.description, self.train, self.test = config, description, train, test
        self.world, self.shard = world, Shard(world.rank, world.size)
        self.step, self.rates, self.progress, self.states = step, rates, progress, states
        self.reporter, self.interruption, self.vote, self.cache = reporter, interruption, Vote(world), cache
        self.steps = steps_per_epoch(train, config, self.shard)

    def run(self) -> Dict[str, float]:
        """The best epoch's row."""
        with summary(self.config.run, self.world.is_main) as summarize:
            return self._run(summarize)

    def _run(self, summarize: Callable[[Dict[str, float]], None]) -> Dict[str, float]:
        rows, epochs = self.progress.rows, self.config.train.epochs
        while self.progress.epoch < epochs:
            self.step.net.on_epoch(self.progress.epoch, epochs)
            if self.config.train.activation_epochs:
                self.step.net.set_activation_slope(activation_slope(self.config.train, self.progress.epoch))
            self._train()
            row = self._row()
            rows.append({key: round(value, 6) for key, value in row.items()})
            summarize(rows[-1])
            self.progress.epoch, self.progress.step = len(rows), 0
            self.progress.seconds = self.progress.waited = 0.0
            best = max(rows, key=score)
            self.description.metrics = rows[-1]
            # First: a run that is killed before its state is saved does this epoch again, and saves its best again.
            if self.world.is_main and best is rows[-1]:
                _save_best(self.step, self.states.best, self.description)
            self._save()
            if self.world.is_main:
                write_course(self.config.run.dir, rows)
            self.reporter.line(_summary(rows[-1], epochs, best is rows[-1]))
            # Asked after the last epoch too: no answer may be under way when the process ends.
            if self.vote.ask_now(self.interruption.number > 0) and self.progress.epoch < epochs:
                self._stop()
        return best

    def _train(self) -> None:
        """The steps of the epoch that are left."""
        progress, step = self.progress, self.step
        step.set_train(True)
        if progress.step == 0:
            step.begin_epoch()
        if progress.step == self.steps:
            return
        start, health, every = time.perf_counter() - progress.seconds, None, self.config.train.checkpoint_every
        # Only a training from its start has the steps that are asked for.
        fresh, waited = progress.epoch == progress.step == 0, progress.waited
        title, batch = f"epoch {progress.epoch + 1}/{self.config.train.epochs}", self._images_per_step()
        with self.reporter.task(title, self.steps, batch, progress.step) as advance, \
                trace(self.config.run, self.steps, fresh) as traced:
            batches = training_batches(self.train, self.config, self.description.preprocessing, progress.epoch,
                                       self.shard, progress.step)
            waiting = Waiting(batches)
            for images, labels in waiting:
                with self.cache.first_call():
                    step(images, labels)
                traced()
                progress.step += 1
                last = progress.step == self.steps
                stop = not last and self.vote.ask(self.interruption.number > 0)
                save = not last and (stop or every and progress.step % every == 0)
                # The step counts on the device; reading waits for it, so it is read only when it is shown, and before a
                # state is saved, which must not be a spoiled one.
                if health is None or progress.step % 10 == 1 or last or save:
                    health = step.health()
                    check_health(health, self.config.train, self.steps, self.rates, batches.files)
                advance(progress.step, f"loss {health.loss:.4f}")
                progress.seconds, progress.waited = time.perf_counter() - start, waited + waiting.seconds
                if save:
                    self._save()
                if stop:
                    self._stop()
        average_statistics(step.state().values(), self.world)

    def _images_per_step(self) -> int:
        return self.config.data.batch_size * self.world.size

    def _row(self) -> Dict[str, float]:
        """Metrics of the epoch whose steps are done."""
        health, images = self.step.health(), self.steps * self._images_per_step()
        loss, correct = sum_over_ranks([health.loss, health.correct], self.world)
        row = {"epoch": self.progress.epoch + 1, "train_loss": loss / self.world.size,
               "train_top1": 100 * correct / images, "skipped": health.skipped,
               "images_per_second": images / max(self.progress.seconds, 1e-9),
               "data_wait": 100 * self.progress.waited / max(self.progress.seconds, 1e-9)}
        start = time.perf_counter()
        try:
            row.update(self._measure("test"))
            if self.step.ema is not None:
                with self.step.ema.in_place():
                    row.update(self._measure("ema"))
        except _Break:
            self._save()
            self._stop()
        updates = (self.progress.epoch + 1) * self.steps / self.config.train.accumulate
        row["lr"] = self.rates[max(min(int(updates), len(self.rates)) - 1, 0)]
        row["seconds"], row["peak_mb"] = self.progress.seconds + time.perf_counter() - start, peak_memory()
        if self.config.train.activation_epochs:
            row["activation_slope"] = activation_slope(self.config.train, self.progress.epoch)
        return row

    def _measure(self, prefix: str) -> Dict[str, float]:
        """Loss and accuracy of the network as it is."""
        batches = evaluation_batches(self.test, self.config, self.description.preprocessing, self.shard)
        result = evaluate(self.step.net, batches, self._in_evaluation,
                          lambda sums: sum_over_ranks(sums, self.world))
        return {f"{prefix}_{key}": result[key] for key in ("loss", "top1", "top5")}

    def _in_evaluation(self, _: int) -> None:
        # Ranks have different numbers of batches, so several agree after the evaluation only.
        if self.interruption.number and self.world.size == 1:
            raise _Break

    def _save(self) -> None:
        """The state as it is; called by all ranks."""
        state = whole_state(self.step, self.world)
        if self.world.is_main:
            metrics = dict(self.progress.rows[-1]) if self.progress.rows else {}
            if self.config.train.activation_epochs:
                metrics["activation_slope"] = float(self.step.net.activation_slope)
            description = dataclasses.replace(self.description, metrics=metrics)
            self.states.save(state, self.progress.steps(self.steps), description, self.progress.to_json())

    def _stop(self) -> None:
        # Another rank's signal counts as much as this one's.
        number = self.interruption.number or signal.SIGTERM
        message = (f"stopped by {signal.Signals(number).name} at {self.progress.place()}: saved in "
                   f"'{os.path.join(self.config.run.dir, 'checkpoints', 'last.ckpt')}'; the same command with "
                   "--train.resume auto goes on")
        self.reporter.line(message)
        raise Stopped(message, number)


def score(row: Dict[str, float]) -> float:
    """What makes an epoch the best: the better accuracy of weights and means; no half-learned activations."""
    merged = row.get("activation_slope", 1.0) == 1
    return max(row["test_top1"], row.get("ema_top1", 0.0)) - (0 if merged else 1000)


def _save_best(step: TrainStep, path: str, description: Description) -> None:
    """The network alone, with its weights or their running means, whichever did better."""
    means = description.metrics.get("ema_top1", -1.0) > description.metrics["test_top1"]
    with step.ema.in_place() if means else contextlib.nullcontext():
        save_checkpoint(step.net, path, description)


def _summary(row: Dict[str, float], epochs: int, best: bool) -> str:
    means = f" ({row['ema_top1']:.2f} % with averaged weights)" if "ema_top1" in row else ""
    skipped = f", {row['skipped']:.0f} updates skipped so far" if row["skipped"] else ""
    return (f"epoch {row['epoch']}/{epochs}: train loss {row['train_loss']:.4f}, test loss {row['test_loss']:.4f}, "
            f"top-1 {row['test_top1']:.2f} %{means}, {row['images_per_second']:.0f} images/s{skipped}"
            + (", best so far" if best else ""))


def check_health(health: Health, train: TrainConfig, steps: int, rates: Sequence[float],
                 names: Callable[[int], Sequence[str]]) -> None:
    """Stop at a loss that is not finite, or at too many of them in a row.

    Args:
        steps: of an epoch.
        names: of the images of a step of this epoch.

    Raises:
        ValueError: names the step and its learning rate, and what helps.
    """
    allowed = train.max_skipped if train.on_nan == "skip" else 0
    if health.bad_run <= allowed:
        return
    epoch, index = divmod(health.bad_step, steps)
    rate = rates[min(health.bad_step // train.accumulate, len(rates) - 1)]
    many = f", and in {health.bad_run} steps in a row" if health.bad_run > 1 else ""
    remedy = "raise train.max_skipped" if train.on_nan == "skip" else "skip such steps with train.on_nan skip"
    images = list(names(index))
    shown = ", ".join(images[:4]) + (f" and {len(images) - 4} more" if len(images) > 4 else "")
    raise ValueError(f"the loss is not finite at step {index + 1} of epoch {epoch + 1}{many} ({shown}); the "
                     f"learning rate was {rate:g}: lower optimizer.lr, lengthen the warm-up, limit the gradients "
                     f"(optimizer.clip_norm), or {remedy}")


def write_course(folder: str, rows: List[Dict[str, float]]) -> None:
    """metrics.csv and curves.png of the epochs done."""
    if not rows:
        return
    try:
        write_metrics(os.path.join(folder, "metrics.csv"), rows)
        draw_curves(os.path.join(folder, "curves.png"), rows)
    except OSError as error:
        raise OSError(f"cannot write metrics.csv and curves.png into '{folder}': {error.strerror or error}") from None
