"""The training loop: Python only steers, the compiled step does the work."""
import contextlib
import dataclasses
import os
import signal
import time
from typing import Any, Callable, Dict, Iterator, Optional, Sequence, Tuple

import numpy as np
from mindspore import Tensor

from ghost_ms.checkpoints.checkpoint import save_checkpoint
from ghost_ms.checkpoints.manager import CheckpointManager
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import TrainConfig
from ghost_ms.core.figures import EMA, HOLDS_EMA, RAW, Figures
from ghost_ms.data.loader import Shard, TrainingBatches, evaluation_batches
from ghost_ms.tasks.base import Evaluator, NotFinite, as_outputs
from ghost_ms.training import memory
from ghost_ms.training.callbacks import Callback
from ghost_ms.training.compile_cache import CompileCache
from ghost_ms.training.curves import write_course
from ghost_ms.training.distributed import Vote, average_statistics, sum_over_ranks
from ghost_ms.training.interrupt import Interruption, Stopped
from ghost_ms.training.progress import Reporter, Waiting, peak_memory
from ghost_ms.training.resume import TrainerState, whole_state
from ghost_ms.training.step import StepStats, TrainStep
from ghost_ms.training.unreadable import Unreadable
from ghost_ms.training.watch import trace

#: Steps of a process after whose success a batch is taken to fit into memory.
SETTLED = 3


class _Break(Exception):
    """Leaves an evaluation."""


class Training:
    """The loop over epochs, from wherever `progress` stands.

    Args:
        job: what is trained on what, by whom (`fit.Job`).
        rates: learning rate of every update.
        states: what is kept on disk; rank 0 alone has one.
        interruption: whether to stop; looked at after every step.
        cache: of the compiled step.
        callbacks: what happens beside it.
    """

    def __init__(self, job: Any, step: TrainStep, rates: Sequence[float], progress: TrainerState,
                 states: Optional[CheckpointManager], reporter: Reporter, interruption: Interruption,
                 cache: CompileCache, callbacks: Sequence[Callback] = ()):
        self.job, self.task, self.config, self.description = job, job.task, job.config, job.description
        self.train, self.test, self.world = job.train, job.test, job.world
        self.shard = Shard(self.world.rank, self.world.size)
        self.step, self.rates, self.progress, self.states = step, rates, progress, states
        self.reporter, self.interruption, self.cache = reporter, interruption, cache
        self.vote = Vote(self.world)
        self.callbacks, self.say = callbacks, reporter.line
        self.steps = job.steps
        self.unreadable = Unreadable(self.config.run.dir, self.train, self.world,
                                     fresh=progress.epoch == progress.step == 0)
        self.stop_reason = self.finish_reason = ""
        self.measured = self.task.deployed(self.step.net, self.description)
        #: What the last evaluation of the weights, and of their running means, adds to the network's description.
        self.learned: Dict[str, Dict[str, Any]] = {RAW: {}, EMA: {}}
        #: Steps that this process has done.
        self.done = 0

    @property
    def rate(self) -> float:
        """Learning rate of the step that was done last."""
        index = max(self.progress.steps(self.steps) - 1, 0)
        return self.rates[min(index // self.config.train.accumulate, len(self.rates) - 1)]

    def stop(self, reason: str) -> None:
        """Save the state after the step that is under way, and end; the training can be resumed."""
        self.stop_reason = self.stop_reason or reason

    def finish(self, reason: str) -> None:
        """End after this epoch as if it were the last."""
        self.finish_reason = self.finish_reason or reason

    def run(self) -> Dict[str, float]:
        """The best epoch's row; the last one's where none could be measured.

        Raises:
            Stopped: a signal or a callback asked for it; the state is saved.
        """
        try:
            for callback in self.callbacks:
                callback.on_start(self)
            return self._epochs()
        finally:
            for callback in self.callbacks:
                callback.on_end(self)

    def _epochs(self) -> Dict[str, float]:
        rows, epochs = self.progress.rows, self.config.train.epochs
        ended = self._finished()
        while self.progress.epoch < epochs and not ended:
            self.step.net.on_epoch(self.progress.epoch, epochs)
            self._train()
            # Before anything else: whatever happens in the evaluation, no step is lost.
            self._save()
            with self._saved():
                self._end_epoch()
            ended = self._finished()
            # Asked after the last epoch too: no answer may be under way when the process ends.
            if self.vote.ask_now(self._asked()) and self.progress.epoch < epochs and not ended:
                self._stop()
        if ended:
            self.say(self.finish_reason or "another process has ended the training")
        return self.task.figures.best_row(rows) or rows[-1]

    def _finished(self) -> bool:
        """Whether any process wants the training to end here."""
        return sum_over_ranks([float(bool(self.finish_reason))], self.world)[0] > 0

    def _asked(self) -> bool:
        """Whether this process wants to save and end."""
        return self.interruption.number > 0 or bool(self.stop_reason)

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
            batches = self.job.batches(progress.epoch, self.shard, progress.step)
            waiting = Waiting(batches)
            for batch_of_step in waiting:
                loss = self._step(*batch_of_step)
                traced()
                progress.step += 1
                for callback in self.callbacks:
                    callback.on_step(self, loss)
                last = progress.step == self.steps
                stop = not last and self.vote.ask(self._asked())
                save = not last and (stop or every and progress.step % every == 0)
                # The step counts on the device; reading waits for it, so it is read only when it is shown, and before a
                # state is saved, which must not be a spoiled one.
                if health is None or progress.step % 10 == 1 or last or save:
                    health = step.health()
                    check_health(health, self.config.train, self.steps, self.rates, batches.files)
                advance(progress.step, f"loss {health.loss:.4f}")
                progress.seconds, progress.waited = time.perf_counter() - start, waited + waiting.seconds
                if save or last:
                    self._tell_unreadable(batches)
                if save:
                    self._save()
                if stop:
                    self._stop()
        average_statistics(step.state().values(), self.world)

    def _step(self, images: Tensor, *targets: Tensor) -> Tensor:
        """One step; returns its loss."""
        try:
            with self.cache.first_call():
                loss, _ = self.step(images, *targets)
        except (RuntimeError, MemoryError) as error:
            if not memory.out_of_memory(error):
                raise
            # With several processes the trial would wait for the others.
            tried = self.done < SETTLED and self.world.size == 1
            fits = memory.fitting_batch(self.step, images, *targets) if tried else None
            raise ValueError(memory.sentence(len(images), fits, self.config.train.accumulate)) from error
        self.done += 1
        return loss

    def _tell_unreadable(self, batches: TrainingBatches) -> None:
        line = self.unreadable.add(batches.broken)
        if line:
            self.say(line)

    def _images_per_step(self) -> int:
        return self.config.data.batch_size * self.world.size

    @contextlib.contextmanager
    def _saved(self) -> Iterator[None]:
        """Add to an error's sentence that the state is saved, and how to go on."""
        try:
            yield
        except Stopped:
            raise
        except (ValueError, OSError) as error:
            kind = ValueError if isinstance(error, ValueError) else OSError
            raise kind(f"{error}. {self._where()}") from error
        except Exception:
            self.say(self._where())
            raise

    def _where(self) -> str:
        place, path = self.progress.place(), os.path.join(self.config.run.dir, "checkpoints", "last.ckpt")
        return f"Nothing of the training is lost: {place} is saved in '{path}', from where --train.resume auto goes on"

    def _end_epoch(self) -> None:
        """Evaluation of the epoch whose steps are done, and what is kept of it."""
        rows = self.progress.rows
        rows.append(self._row())
        self.progress.epoch, self.progress.step = len(rows), 0
        self.progress.seconds = self.progress.waited = 0.0
        best = self.task.figures.best_row(rows) is rows[-1]
        # First: a run that is killed before its state is saved does this evaluation again, and saves its best again.
        if self.world.is_main and best:
            _save_best(self.step, self.states.best, self.task.figures.holds_ema(rows[-1]), dataclasses.replace(
                self.description, metrics=dict(rows[-1]),
                **self.learned[EMA if self.task.figures.holds_ema(rows[-1]) else RAW]))
        self._save()
        if self.world.is_main:
            write_course(self.config.run.dir, rows, self.task.figures)
        self.say(_summary(rows[-1], self.config.train.epochs, best, self.task.figures))
        for callback in self.callbacks:
            callback.on_epoch(self, dict(rows[-1]))

    def _row(self) -> Dict[str, float]:
        """Metrics of the epoch whose steps are done."""
        health, images = self.step.health(), self.steps * self._images_per_step()
        loss, *sums = sum_over_ranks([health.loss, *health.sums.values()], self.world)
        figures = self.task.training_figures(dict(zip(health.sums, sums)), images, self.train)
        row = {"epoch": self.progress.epoch + 1, "train_loss": loss / self.world.size, **figures,
               "skipped": health.skipped,
               "images_per_second": images / max(self.progress.seconds, 1e-9),
               "data_wait": 100 * self.progress.waited / max(self.progress.seconds, 1e-9)}
        start = time.perf_counter()
        try:
            row.update(self._measure(RAW))
            if self.step.ema is not None:
                with self.step.ema.in_place():
                    row.update(self._measure(EMA))
        except _Break:
            self._stop()
        updates = (self.progress.epoch + 1) * self.steps / self.config.train.accumulate
        row["lr"] = self.rates[max(min(int(updates), len(self.rates)) - 1, 0)]
        row["seconds"], row["peak_mb"] = self.progress.seconds + time.perf_counter() - start, peak_memory()
        row.update(self.step.net.training_facts())
        # A rate of 3e-7 must not become 0.
        return {key: float(f"{value:.6g}") if key == "lr" else round(value, 6) for key, value in row.items()}

    def _measure(self, prefix: str) -> Dict[str, float]:
        """Loss and accuracy of the network as it is; nothing where its outputs are not finite and that is no reason to
        stop (train.on_nan)."""
        batches, evaluator = self._evaluation()
        self.measured.set_train(False)
        try:
            for images, *targets in batches:
                evaluator.update(as_outputs(self.measured(Tensor(images))), targets)
                self._in_evaluation(len(targets[0]))
            result = evaluator.compute(lambda sums: sum_over_ranks(sums, self.world) if evaluator.shared else sums)
            self.learned[prefix] = evaluator.learned()
        except NotFinite as error:
            what = "EMA weights" if prefix == EMA else "weights"
            if self.config.train.on_nan == "skip":
                self.say(f"epoch {self.progress.epoch + 1}, {what}: {error}; there are no figures of this")
                return {}
            raise NotFinite(f"evaluation of the {what} after epoch {self.progress.epoch + 1}: {error}; start anew with "
                            "a lower optimizer.lr, or go on without these figures with train.on_nan skip") from None
        return {f"{prefix}_{key}": result[key] for key in ("loss", *self.task.figures.names) if key in result}

    def _evaluation(self) -> Tuple[Iterator[Tuple[np.ndarray, ...]], Evaluator]:
        """This process's share of the evaluation split, and what measures it."""
        shard = self.shard
        evaluator = self.task.evaluator(self.description, self.test,
                                        lambda index: self.test.name(shard.rank + index * shard.size))
        if not evaluator.shared:
            shard = Shard()
        transforms = self.task.evaluation(self.config, self.test, self.description.preprocessing)
        return evaluation_batches(self.test, self.config, transforms, shard), evaluator

    def _in_evaluation(self, _: int) -> None:
        # Ranks have different numbers of batches, so several agree after the evaluation only.
        if self._asked() and self.world.size == 1:
            raise _Break

    def _save(self) -> None:
        """The state as it is; called by all ranks."""
        try:
            for callback in self.callbacks:
                callback.on_save(self)
        finally:
            state = whole_state(self.step, self.world)
            if self.world.is_main:
                metrics = {**(self.progress.rows[-1] if self.progress.rows else {}), **self.step.net.training_facts()}
                description = dataclasses.replace(self.description, metrics=metrics, **self.learned[RAW])
                self.states.save(state, self.progress.steps(self.steps), description, self.progress.to_json())

    def _stop(self) -> None:
        number = self.interruption.number
        # Another rank's signal counts as much as this one's.
        others = sum_over_ranks([float(number == one) for one in Interruption.ALL], self.world)
        if not number and not self.stop_reason:
            number = next((one for one, count in zip(Interruption.ALL, others) if count), 0)
        reason = self.stop_reason or "stopped by another rank"
        if number:
            reason = f"stopped by {signal.Signals(number).name}"
        message = (f"{reason} at {self.progress.place()}: saved in "
                   f"'{os.path.join(self.config.run.dir, 'checkpoints', 'last.ckpt')}'; the same command with "
                   "--train.resume auto goes on")
        self.say(message)
        raise Stopped(message, number)


def _save_best(step: TrainStep, path: str, means: bool, description: ModelSpec) -> None:
    """The network alone, with its weights or (`means`) the EMA weights, whichever did better."""
    if step.ema is not None:
        description.metrics[HOLDS_EMA] = float(means)
    with step.ema.in_place() if means else contextlib.nullcontext():
        save_checkpoint(step.net, path, description)


def _summary(row: Dict[str, float], epochs: int, best: bool, figures: Figures) -> str:
    key = figures.decisive(row)
    said = "outputs on the test split not finite"
    if f"{RAW}_{key}" in row:
        loss = f"test loss {row[f'{RAW}_loss']:.4f}, " if f"{RAW}_loss" in row else ""
        said = loss + figures.text({key: row[f"{RAW}_{key}"]})
    means = f" ({row[f'{EMA}_{key}']:.2f}{figures.unit(key)} with EMA weights)" if f"{EMA}_{key}" in row else ""
    skipped = f", {row['skipped']:.0f} updates skipped so far" if row["skipped"] else ""
    return (f"epoch {row['epoch']}/{epochs}: train loss {row['train_loss']:.4f}, {said}{means}, "
            f"{row['images_per_second']:.0f} images/s{skipped}" + (", best so far" if best else ""))


def check_health(health: StepStats, train: TrainConfig, steps: int, rates: Sequence[float],
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
