"""A whole training: from a recipe to the loop, anew or from where an earlier one was broken off."""
import contextlib
import dataclasses
import functools
import os
import shutil
from typing import Dict, Iterator, List, Optional

from mindspore import nn

from ghost_ms import device
from ghost_ms.config import Config
from ghost_ms.data.datasets import Source, open_source
from ghost_ms.data.loader import Shard, steps_per_epoch
from ghost_ms.data.transforms import preprocessing_of
from ghost_ms.device import World
from ghost_ms.models import model_card
from ghost_ms.training.build import begin_activation, create_step
from ghost_ms.training.checkpoint import Description
from ghost_ms.training.class_weights import class_weights
from ghost_ms.training.compile_cache import CompileCache, step_folder
from ghost_ms.training.interrupt import Interruption
from ghost_ms.training.loop import Training, score, write_course
from ghost_ms.training.precision import check_precision
from ghost_ms.training.progress import Reporter
from ghost_ms.training.resume import Found, Progress, check_unchanged, find, flat, load_state
from ghost_ms.training.schedule import learning_rates, scaled
from ghost_ms.training.states import States, states_in
from ghost_ms.training.step import TrainStep


def describe(config: Config, source: Source) -> Description:
    """The network and preprocessing that a recipe and its data ask for.

    Raises:
        ValueError: unknown model, or fewer logits than the data has classes.
    """
    card = model_card(config.model.name)
    channels = config.model.in_channels or source.channels
    if channels not in (1, 3):
        raise ValueError(f"model.in_channels is {channels}; images have 1 or 3 channels")
    classes = config.model.num_classes or len(source.classes)
    if classes < len(source.classes):
        raise ValueError(f"model.num_classes is {classes}, but the data has {len(source.classes)} classes")
    args = {"num_classes": classes, "in_channels": channels, **config.model.args}
    return Description(config.model.name, args, source.classes, preprocessing_of(card, config.data, channels))


def make_run_folder(path: str) -> str:
    """Create the run's folder and its checkpoints/; OSError with a remedy where that is not possible."""
    folder = os.path.join(path, "checkpoints")
    try:
        os.makedirs(folder, exist_ok=True)
        probe = os.path.join(folder, f".probe.{os.getpid()}")
        with open(probe, "w"):
            pass
        os.remove(probe)
    except OSError as error:
        raise OSError(f"cannot write into the run folder '{path}' ({error.strerror}); "
                      "choose another with --run.dir") from None
    return folder


def fit(config: Config) -> Dict[str, float]:
    """Train, evaluate after every epoch, and keep the best and the last states; returns the best epoch's row.

    Under a launcher every process calls this with the same recipe. Each trains on its share of the images, and rank 0
    writes the run's folder.

    Raises:
        Stopped: a signal asked for it; the state is saved.
    """
    train, test = open_source(config.data, "train"), open_source(config.data, "val")
    description = describe(config, train)
    if test.classes != train.classes:
        raise ValueError(f"the test split has other classes than the training split "
                         f"({len(test.classes)} against {len(train.classes)})")
    target = device.setup(config.run.device, config.run.device_id, config.run.mode, config.run.seed, join=True)
    world = device.world()
    with Interruption() as interruption:
        steps = steps_per_epoch(train, config, Shard(world.rank, world.size))
        if config.train.epochs * steps < config.train.accumulate:
            raise ValueError(f"train.accumulate is {config.train.accumulate}, but the training has only "
                             f"{config.train.epochs * steps} steps")
        rates = functools.partial(_rates, config, steps, world)
        found = find(config, world)
        if found is not None:
            check_unchanged(found, config, world, train.size, train.classes, rates,
                            lambda progress: progress.steps(steps) // config.train.accumulate)
            if found.progress.epoch >= config.train.epochs:
                return _finished(config, world, found)
        check_precision(config.precision, target)
        weights = class_weights(config.loss, train, description.args["num_classes"])
        cache = CompileCache(step_folder(config, description, rates(config.train.epochs), target, world,
                                         [train.multi_label, None if weights is None else weights.tolist()]))
        net = description.build(config.model.pretrained if found is None else False)
        if config.train.activation_epochs:
            begin_activation(net, config.train)
        step = create_step(net, config, rates(config.train.epochs), description.preprocessing,
                           description.args["num_classes"], world, weights)
        progress = Progress() if found is None else found.progress
        progress.recipe, progress.ranks, progress.images = flat(config), world.size, train.size
        if found is not None:
            load_state(step, found, world.rank)
        with _reporter(config, world) as reporter:
            parameters = sum(p.size for p in net.trainable_params())
            reporter.line(f"{config.model.name}: {parameters:,} parameters; {train.size} training and {test.size} test "
                          f"images, {len(train.classes)} classes; {target}, {config.run.mode} mode"
                          + (f"; rank {world.rank} of {world.size}" if world.size > 1 else ""))
            for line in _beginning(config, found, step):
                reporter.line(line)
            states = _states(config, found, progress.steps(steps)) if world.is_main else None
            training = Training(config, description, train, test, world, step, rates(config.train.epochs), progress,
                                states, reporter, interruption, cache)
            return training.run()


def _rates(config: Config, steps: int, world: World, epochs: int) -> List[float]:
    """The learning rate of every update of a training of so many epochs of so many steps."""
    global_batch = config.data.batch_size * world.size * config.train.accumulate
    peak, schedule = scaled(config.optimizer, config.schedule, global_batch)
    return learning_rates(peak, schedule, epochs, steps / config.train.accumulate, config.run.seed)


@contextlib.contextmanager
def _reporter(config: Config, world: World) -> Iterator[Reporter]:
    """Writes to the screen and, on rank 0, to log.txt of the run's folder, which is made where it is not there."""
    if not world.is_main:
        yield Reporter(None, config.train.log_every)
        return
    make_run_folder(config.run.dir)
    # How this start went on is nothing that a copy of the recipe should repeat.
    recipe = dataclasses.replace(config, train=dataclasses.replace(config.train, resume="off"))
    recipe.save(os.path.join(config.run.dir, "config.yaml"))
    with open(os.path.join(config.run.dir, "log.txt"), "a") as log:
        yield Reporter(log, config.train.log_every)


def _finished(config: Config, world: World, found: Found) -> Dict[str, float]:
    rows = found.progress.rows
    with _reporter(config, world) as reporter:
        reporter.line(f"'{found.path}' is of a finished training ({found.progress.epoch} epochs): nothing is left to "
                      "do")
        if world.is_main:
            write_course(config.run.dir, rows)
    return max(rows, key=score)


def _beginning(config: Config, found: Optional[Found], step: TrainStep) -> Iterator[str]:
    """What to say of where the training starts."""
    if found is None:
        if config.train.resume == "auto":
            yield f"there is no checkpoint under '{config.run.dir}' to go on from: starting anew"
        elif states_in(os.path.join(config.run.dir, "checkpoints")):
            yield (f"'{config.run.dir}' holds the checkpoints of an earlier training, which the first of this one "
                   "replaces; --train.resume auto would go on from them")
        return
    for note in found.notes:
        yield f"{note}; taking the one before it"
    yield f"going on from '{found.path}', {found.progress.place()}"
    if any(isinstance(cell, nn.Dropout) and cell.p for _, cell in step.net.cells_and_names()):
        yield ("the masks of dropout and drop path are drawn anew from here on, so the result will not be the same "
               "bits; train.restorable_masks true makes it so")


def _states(config: Config, found: Optional[Found], steps: int) -> States:
    """The states of this run; where it goes on from another folder, that one's best network comes along."""
    folder = os.path.join(config.run.dir, "checkpoints")
    if found is None:
        return States(folder, config.train.keep)
    write_course(config.run.dir, found.progress.rows)
    source = os.path.dirname(os.path.abspath(found.path))
    if source == os.path.abspath(folder):
        return States(folder, config.train.keep, steps)
    states, beside = States(folder, config.train.keep), os.path.join(source, "best.ckpt")
    if found.progress.rows and os.path.exists(beside):
        temporary = f"{states.best}.tmp"
        shutil.copyfile(beside, temporary)
        os.replace(temporary, states.best)
    return states
