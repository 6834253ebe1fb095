"""A whole training: from a recipe to the loop, anew or from where an earlier one was broken off."""
import contextlib
import dataclasses
import os
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from mindspore import nn

from ghost_ms.checkpoints import reconcile
from ghost_ms.checkpoints.manager import CheckpointManager, states_in
from ghost_ms.checkpoints.own_folder import run_folder
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import Config
from ghost_ms.core import device
from ghost_ms.core.device import World
from ghost_ms.core.files import write_link
from ghost_ms.core.streams import unbreakable
from ghost_ms.data.check import cache_file, check_split
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.loader import Shard, TrainingBatches, steps_per_epoch
from ghost_ms.kernels.build import library
from ghost_ms.kernels.swap import accelerated
from ghost_ms.tasks.base import Task
from ghost_ms.tasks.registry import create_task
from ghost_ms.training.build import create_step
from ghost_ms.training.callbacks import Callback, of_recipe
from ghost_ms.training.compile_cache import CompileCache, step_folder
from ghost_ms.training.curves import write_course
from ghost_ms.training.facts import device_line, first_lines
from ghost_ms.training.interrupt import Interruption, Stopped
from ghost_ms.training.loop import Training
from ghost_ms.training.precision import check_precision
from ghost_ms.training.progress import Reporter
from ghost_ms.training.resume import ResumePoint, TrainerState, check_unchanged, find, flat, load_state, passed_over
from ghost_ms.training.schedule import learning_rates, scaled
from ghost_ms.training.step import TrainStep


def describe(config: Config, task: Task, source: Dataset) -> ModelSpec:
    """The network and preprocessing that a recipe and its data ask for; errors as `reconcile.describe`, and ValueError
    where the recipe cannot learn the data's task."""
    description = reconcile.describe(reconcile.Wish(config), source.channels, source.classes)
    return task.prepare(description, config, source)


@dataclasses.dataclass
class Job:
    """A training that has not begun: what is trained on what, by whom.

    Args:
        steps: of an epoch.
        target: name of the device.
        notes: what is to be said of the data, once.
    """

    config: Config
    task: Task
    train: Dataset
    test: Dataset
    description: ModelSpec
    target: str
    world: World
    steps: int
    notes: List[str]

    def rates(self, epochs: int) -> List[float]:
        """The learning rate of every update of a training of so many epochs."""
        config = self.config
        batch = config.data.batch_size * self.world.size * config.train.accumulate
        peak, schedule = scaled(config.optimizer, config.schedule, batch)
        return learning_rates(peak, schedule, epochs, self.steps / config.train.accumulate, config.run.seed)

    def batches(self, epoch: int, shard: Shard, skip: int = 0) -> TrainingBatches:
        """The shuffled, augmented, full batches of an epoch, from a step on."""
        transforms = self.task.training(self.config, self.train, self.description.preprocessing)
        return TrainingBatches(self.train, self.config, transforms, epoch, shard, skip)

    def find(self) -> Optional[ResumePoint]:
        """The state to resume from, which the recipe fits; None to start anew."""
        found, config = find(self.config, self.world), self.config
        if found is None:
            return None
        self._follow(found.description)
        check_unchanged(found, config, self.world, self.train.size, self.train.classes, self.rates,
                        lambda progress: progress.steps(self.steps) // config.train.accumulate)
        if found.progress.step > self.steps:
            raise ValueError(f"'{found.path}' is damaged: it is of step {found.progress.step} of an epoch, which has "
                             f"{self.steps}")
        return found

    def _follow(self, own: ModelSpec) -> None:
        """Number the classes, and turn the images, as the resumed training did: an older version may have
        done either otherwise."""
        if list(own.classes) != self.train.classes and sorted(own.classes) == sorted(self.train.classes):
            self.train, self.test = (self.task.open(self.config.data, split, own.classes) for split in ("train", "val"))
            self.description = describe(self.config, self.task, self.train)
        self.description = self.task.follow(self.description, own, self.train)
        if self.config.data.orient is None:
            self.description.preprocessing = dataclasses.replace(self.description.preprocessing,
                                                                 orient=own.preprocessing.orient)


def fit(config: Config, callbacks: Sequence[Callback] = ()) -> Dict[str, float]:
    """Train, evaluate after every epoch, and keep the best and the last states; returns the best epoch's row.

    Under a launcher every process calls this with the same recipe. Each trains on its share of the images, and rank 0
    writes the run's folder.

    Args:
        callbacks: own code to call beside the training.

    Raises:
        Stopped: a signal, a limit or a callback asked for it; the state is saved.
    """
    with unbreakable() as lost, contextlib.ExitStack() as stack:
        job = prepare(config)
        interruption = stack.enter_context(Interruption())
        notes = [stack.enter_context(run_folder(config.run.dir))] if job.world.is_main else []
        callbacks = [*of_recipe(config, job.world, job.task.figures), *callbacks]
        found = job.find()
        if found is not None and found.progress.epoch >= config.train.epochs:
            with _reporter(job, lost) as reporter:
                return _finished(job, found, reporter)
        step, cache = build(job, found)
        with _reporter(job, lost) as reporter:
            for line in (*filter(None, notes), *_introduction(job, step), *_beginning(job, found, step)):
                reporter.line(line)
            training = Training(job, step, job.rates(config.train.epochs), _progress(job, found, step),
                                _states(job, found) if job.world.is_main else None, reporter, interruption, cache,
                                callbacks)
            return training.run()


def prepare(config: Config) -> Job:
    """Open the data, take the device, meet the other processes, and check what can be checked without a network.

    Raises:
        ValueError, OSError: the data, the device or the recipe does not allow the training.
    """
    task = create_task(config.task.name, config.task.args)
    if not task.mixes and (config.augment.mixup or config.augment.cutmix):
        raise ValueError(f"augment.mixup and augment.cutmix mix the labels of images, which has no meaning for "
                         f"{task.name}; set both to 0")
    train, test = task.open(config.data, "train"), task.open(config.data, "val")
    description = describe(config, task, train)
    if test.classes != train.classes:
        raise ValueError(f"the test split has other classes than the training split "
                         f"({len(test.classes)} against {len(train.classes)})")
    target = device.setup(config.run.device, config.run.device_id, config.run.mode, config.run.seed, join=True)
    world = device.world()
    steps = steps_per_epoch(train, config, Shard(world.rank, world.size))
    if config.train.epochs * steps < config.train.accumulate:
        raise ValueError(f"train.accumulate is {config.train.accumulate}, but the training has only "
                         f"{config.train.epochs * steps} steps")
    check_precision(config.precision, target)
    notes = [*train.notes, *test.notes]
    if config.data.check and world.is_main:
        # Not one process for each device: all of a node look at the same files.
        for split, source in (("train", train), ("val", test)):
            notes += check_split(source, split, config.data, cache_file())
    return Job(config, task, train, test, description, target, world, steps, list(dict.fromkeys(notes)))


def build(job: Job, found: Optional[ResumePoint]) -> Tuple[TrainStep, CompileCache]:
    """The step, with its state where a training goes on, and the cache of its graph."""
    config, description, rates = job.config, job.description, job.rates(job.config.train.epochs)
    criterion = job.task.criterion(config, job.train, description)
    net = description.build(config.model.pretrained if found is None else False)
    net.begin_training(config.train.epochs, **config.model.training)
    # Their last bits differ, so a training goes on with those that it began with.
    kernels = "off" if found is not None and not found.progress.kernels else None
    step = create_step(net, config, rates, description, criterion, job.world, job.task.logits, kernels)
    # A graph names the library that its kernels are in.
    in_graph = (*criterion.in_graph, library() if accelerated(step) else "")
    cache = CompileCache(step_folder(config, description, rates, job.target, job.world, in_graph))
    if found is not None:
        load_state(step, found, job.world.rank)
    return step, cache


def _progress(job: Job, found: Optional[ResumePoint], step: TrainStep) -> TrainerState:
    progress = TrainerState() if found is None else found.progress
    progress.recipe, progress.ranks, progress.images = flat(job.config), job.world.size, job.train.size
    progress.kernels = accelerated(step)
    return progress


@contextlib.contextmanager
def _reporter(job: Job, lost: Sequence[str]) -> Iterator[Reporter]:
    """Writes to the screen and, on rank 0, to log.txt of the run's folder, errors included; writes config.yaml."""
    config = job.config
    if not job.world.is_main:
        yield Reporter(None, config.train.log_every)
        return
    # How this start went on is nothing that a copy of the recipe should repeat.
    recipe = dataclasses.replace(config, train=dataclasses.replace(config.train, resume="off"))
    recipe.save(os.path.join(config.run.dir, "config.yaml"))
    with open(os.path.join(config.run.dir, "log.txt"), "a", encoding="utf-8") as log:
        reporter = Reporter(log, config.train.log_every, lost)
        try:
            yield reporter
        except Stopped:
            raise
        except BaseException as error:
            # The screen gets it elsewhere.
            reporter.note(f"ended by an error: {type(error).__name__}: {error}")
            raise


def _finished(job: Job, found: ResumePoint, reporter: Reporter) -> Dict[str, float]:
    rows = found.progress.rows
    reporter.line(f"'{found.path}' is of a finished training ({found.progress.epoch} epochs): nothing is left to do")
    if job.world.is_main:
        write_course(job.config.run.dir, rows, job.task.figures)
    return job.task.figures.best_row(rows) or rows[-1]


def _introduction(job: Job, step: TrainStep) -> Iterator[str]:
    """What the training is, and what decides its result."""
    config, world = job.config, job.world
    parameters = sum(p.size for p in step.net.trainable_params())
    classes = f", {len(job.train.classes)} classes" if job.train.classes else ""
    yield (f"{config.model.name}: {parameters:,} parameters; {job.train.size} training and {job.test.size} test "
           f"images{classes}; {job.target}, {config.run.mode} mode"
           + (f"; rank {world.rank} of {world.size}" if world.size > 1 else ""))
    yield device_line(job.target, device.passed_over(), device.cards())
    if step.kernels:
        yield step.kernels
    yield from job.notes
    yield from first_lines(config, job.steps, job.train.size, world.size)
    yield from job.task.introduction(job.train)


def _beginning(job: Job, found: Optional[ResumePoint], step: TrainStep) -> Iterator[str]:
    """What to say of where the training starts."""
    config = job.config
    yield from passed_over(config)
    if found is None:
        if config.train.resume == "auto":
            yield f"there is no checkpoint under '{config.run.dir}' to resume from: starting anew"
        elif states_in(os.path.join(config.run.dir, "checkpoints")):
            yield (f"'{config.run.dir}' holds the checkpoints of an earlier training, which the first of this one "
                   "replaces; --train.resume auto would resume from them")
        return
    for note in found.notes:
        yield f"{note}; taking the one before it"
    yield f"resuming from '{found.path}', {found.progress.place()}"
    if job.target == "CPU" and found.progress.kernels != accelerated(step):
        yield ("this training began with the CPU kernels and goes on without them, so the result will not be the same "
               "bits")
    elif job.target == "CPU" and not found.progress.kernels and config.run.kernels != "off":
        yield "this training began without the CPU kernels and goes on so, for the same bits"
    if any(isinstance(cell, nn.Dropout) and cell.p for _, cell in step.net.cells_and_names()):
        yield ("the masks of dropout and drop path are drawn anew from here on, so the result will not be the same "
               "bits; train.restorable_masks true makes it so")


def _states(job: Job, found: Optional[ResumePoint]) -> CheckpointManager:
    """The states of this run; where it resumes from another folder, that one's best network comes along."""
    config, folder = job.config, os.path.join(job.config.run.dir, "checkpoints")
    if found is None:
        return CheckpointManager(folder, config.train.keep)
    write_course(config.run.dir, found.progress.rows, job.task.figures)
    source = os.path.dirname(os.path.abspath(found.path))
    if source == os.path.abspath(folder):
        return CheckpointManager(folder, config.train.keep, found.progress.steps(job.steps))
    states, beside = CheckpointManager(folder, config.train.keep), os.path.join(source, "best.ckpt")
    if found.progress.rows and os.path.exists(beside):
        write_link(states.best, beside)
    return states
