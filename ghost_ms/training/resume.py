"""Going on with a training that was broken off: where it stood, whether the recipe is still its own, what to load.

Everything that the next step depends on lies in one checkpoint file, written whole or not at all: the parameters of the
step (`TrainStep.state`), and the `TrainerState` that only Python knows. Order, augmentation and masks need no state:
they are functions of the seed and of the place in the training.

On several ranks, what differs between them (BatchNorm statistics, which are averaged at the end of an epoch alone, and
sums over a rank's own images) is saved for each: averaging at a checkpoint instead would make the result depend on when
checkpoints are written, and on when a run is interrupted.
"""
import dataclasses
import json
import math
import os
import zlib
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import mindspore as ms
from mindspore import Parameter

from ghost_ms.checkpoints.checkpoint import read_state
from ghost_ms.checkpoints.manager import no_states_in, states_in
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import Config
from ghost_ms.config.reading import moved
from ghost_ms.core import strict_json
from ghost_ms.core.device import World
from ghost_ms.core.text import printable
from ghost_ms.training.distributed import from_main, gather, is_statistic
from ghost_ms.training.step import TrainStep

#: Keys of the recipe that may be others when a training goes on: none decides what is learned from here on, or what
#: does is checked apart (train.epochs). Of the section run only seed and mode must stay.
FREE = frozenset((
    "model.pretrained", "data.root", "data.check", "data.workers", "data.eval_batch_size", "data.max_corrupt_share",
    "train.epochs", "train.log_every", "train.on_nan", "train.max_skipped", "train.resume", "train.checkpoint_every",
    "train.keep", "train.early_stopping", "train.time_limit"))
#: First part of the names of parameters that hold a value for every rank, (ranks, *shape).
RANKS = "ranks."


@dataclasses.dataclass
class TrainerState:
    """Where a training stands, beside its parameters.

    Args:
        epoch: whole epochs done, evaluation included.
        step: steps done of the next one; all of them where only the evaluation is missing.
        seconds: that these took.
        waited: seconds of them that went by until images came.
        rows: of metrics.csv.
        recipe: 'section.key' -> value.
        ranks: that train together.
        images: of the training split.
        kernels: whether the step computes by the CPU kernels.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    rows: List[Dict[str, float]] = dataclasses.field(default_factory=list)
    recipe: Dict[str, Any] = dataclasses.field(default_factory=dict)
    ranks: int = 1
    images: int = 0
    kernels: bool = False

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "TrainerState":
        """The state that `to_json` wrote; ValueError (half a sentence) where a field is not known, or no training
        can have stood there.
        """
        values = strict_json.parse(text, finite=False)
        if not isinstance(values, dict):
            raise ValueError("its progress is no list of fields")
        for key, value in values.items():
            if key not in _IS:
                raise ValueError(f"its progress holds {printable(key)[:100]!r}, which this version does not know")
            if not _IS[key](value):
                raise ValueError(f"its progress has no proper {key}")
        progress = cls(**values)
        # Earlier versions counted outputs that were no numbers; such an epoch has no figures.
        progress.rows = [{key: value for key, value in row.items() if math.isfinite(value)} for row in progress.rows]
        # The number of epochs is the file's own word: nothing as long as that is built.
        numbered = len(progress.rows) == progress.epoch and all(
            row.get("epoch") == index for index, row in enumerate(progress.rows, 1))
        if not numbered or "train.epochs" not in progress.recipe:
            raise ValueError("it does not say where a training stood")
        return progress

    def steps(self, per_epoch: int) -> int:
        """Steps done since the start of the training."""
        return self.epoch * per_epoch + self.step

    def place(self) -> str:
        """Where the training stands, in words."""
        return f"the end of epoch {self.epoch}" if self.step == 0 else f"step {self.step} of epoch {self.epoch + 1}"


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 31


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_duration(value: Any) -> bool:
    return _is_number(value) and 0 <= value < math.inf


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, dict) and "epoch" in row and all(map(_is_number, row.values())) for row in value)


def _is_recipe(value: Any) -> bool:
    # The learning rates of all its epochs are worked out.
    return isinstance(value, dict) and _is_count(value.get("train.epochs")) and value["train.epochs"] <= 10 ** 6


#: Whether a value can be that of a field of `TrainerState`.
_IS: Dict[str, Callable[[Any], bool]] = {
    "epoch": _is_count, "step": _is_count, "seconds": _is_duration, "waited": _is_duration, "rows": _is_rows,
    "recipe": _is_recipe, "ranks": lambda value: _is_count(value) and value > 0, "images": _is_count,
    "kernels": lambda value: isinstance(value, bool)}


@dataclasses.dataclass
class ResumePoint:
    """A state to resume from.

    Args:
        path: of its file.
        values: parameters by name.
        description, progress: see there.
        notes: on what was passed over on the way to it.
    """

    path: str
    values: Dict[str, Parameter]
    description: ModelSpec
    progress: TrainerState
    notes: List[str]


def flat(config: Config) -> Dict[str, Any]:
    """'section.key' -> value, as it comes back from JSON."""
    sections = json.loads(json.dumps(dataclasses.asdict(config)))
    return {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}


def find(config: Config, world: World) -> Optional[ResumePoint]:
    """The state that `train.resume` asks for, the same on all ranks; None to start anew.

    Raises:
        FileNotFoundError, ValueError: there is none where a path was given, or all are damaged.
    """
    resume = config.train.resume
    if resume in ("off", False):
        return None
    folder = os.path.join(config.run.dir if resume == "auto" else resume, "checkpoints")
    given = resume != "auto" and os.path.isfile(resume)
    chosen = -1
    notes: List[str] = []
    if world.is_main:
        paths = [(0, resume)] if given else list(states_in(folder).items())[::-1]
        if resume != "auto" and not paths:
            raise FileNotFoundError(f"train.resume is '{resume}', but there is no such checkpoint and no run's folder "
                                    "with any")
        chosen, notes = _newest_whole(paths)
    chosen = int(from_main([chosen], world)[0])
    if chosen < 0:
        return None
    path = resume if given else states_in(folder).get(chosen)
    _check_same_file(path, folder, world)
    return dataclasses.replace(_read(path), notes=notes)


def passed_over(config: Config) -> List[str]:
    """A sentence on everything that is named as a state where `train.resume` looks for them, and is none."""
    resume = config.train.resume
    if resume in ("off", False) or resume != "auto" and os.path.isfile(resume):
        return []
    folder = os.path.join(config.run.dir if resume == "auto" else resume, "checkpoints")
    return [f"'{os.path.join(folder, name)}' is named as a state of a training and is none: passed over"
            for name in no_states_in(folder)]


def _read(path: str) -> ResumePoint:
    """A state in a file; ValueError, OSError where there is none."""
    values, description, text = read_state(path)
    if description is None:
        raise ValueError(f"'{path}' does not say of which network it is")
    try:
        return ResumePoint(path, values, description, TrainerState.from_json(text), [])
    except ValueError as error:
        raise ValueError(f"'{path}' cannot be resumed from: {error}") from None


def _newest_whole(paths: Sequence[Tuple[int, str]]) -> Tuple[int, List[str]]:
    """(steps of the first state that can be read, or -1 where there is none at all; what is wrong with those before).
    """
    notes: List[str] = []
    for steps, path in paths:
        try:
            _read(path)
            return steps, notes
        except ValueError as error:
            notes.append(str(error))
        except OSError as error:
            notes.append(f"'{path}' cannot be read ({error.strerror or error})")
    if notes:
        more = f" (and {len(notes) - 1} more)" if len(notes) > 1 else ""
        raise ValueError(f"{notes[0]}{more}; there is no valid checkpoint to resume from: start anew with "
                         "--train.resume off")
    return -1, notes


def _check_same_file(path: Optional[str], folder: str, world: World) -> None:
    """ValueError on a rank that does not see the very file that rank 0 resumes from."""
    if world.size == 1:
        return
    check = 0
    if path is not None:
        with open(path, "rb") as file:
            check = zlib.crc32(file.read())
    if from_main([float(check)], world) != [check]:
        raise ValueError(f"rank {world.rank} does not find the checkpoint that rank 0 resumes from under '{folder}'; "
                         "all ranks must see the same run.dir")


def check_unchanged(found: ResumePoint, config: Config, world: World, images: int, classes: Sequence[str],
                    rates: Callable[[int], Sequence[float]], updates: Callable[[TrainerState], int]) -> None:
    """Nothing that decides the result differs from the training that is resumed.

    Args:
        images, classes: of the training split.
        rates: epochs -> learning rate of every update.
        updates: progress -> updates done.

    Raises:
        ValueError: names the first key that differs, with both values.
    """
    progress, was = found.progress, f"'{found.path}' comes of a training with"
    remedy = (f"; set it back, or start a new training with these weights (--train.resume off --model.pretrained "
              f"{found.path})")
    if progress.ranks != world.size:
        raise ValueError(f"this training has {world.size} rank(s), but {was} {progress.ranks}; start as many")
    defaults, now, then = flat(Config()), flat(config), moved(progress.recipe)
    for key, value in now.items():
        before = then.get(key, defaults[key])
        free = key in FREE or key.startswith("run.") and key not in ("run.seed", "run.mode")
        if not free and value != before:
            raise ValueError(f"{key} is {value}, but {was} {before}{remedy}")
    if progress.images != images:
        raise ValueError(f"there are {images} training images, but {was} {progress.images}{remedy}")
    if list(found.description.classes) != list(classes):
        raise ValueError(f"the data has other classes than that of '{found.path}'{remedy}")
    epochs, done = progress.recipe["train.epochs"], updates(progress)
    if config.train.epochs != epochs and list(rates(epochs)[:done]) != list(rates(config.train.epochs)[:done]):
        raise ValueError(f"train.epochs is {config.train.epochs}, but {was} {epochs}, and its learning rates so far "
                         f"would have been others (schedule.name {config.schedule.name}){remedy}")


def _differing(step: TrainStep) -> List[Parameter]:
    """What each rank has of its own: statistics, sums and counters of its images, gradients not yet reduced."""
    own = [p for p in step.state().values() if is_statistic(p)]
    own += [step.loss_sum, *step.sums, step.finite_steps, step.bad_step, step.bad_run, step.longest_bad_run]
    # Between two updates the sums are zeros, and large.
    if step.accumulate > 1 and int(step.micro_step.asnumpy()):
        own += list(step.accumulated)
    return own


def whole_state(step: TrainStep, world: World) -> Dict[str, Parameter]:
    """`TrainStep.state`, and beside it what other ranks have of their own; called by all ranks."""
    state = dict(step.state())
    if world.size > 1:
        own = _differing(step)
        for parameter, values in zip(own, gather(own, world)):
            state[RANKS + parameter.name] = Parameter(ms.Tensor(values), name=RANKS + parameter.name)
    return state


def load_state(step: TrainStep, found: ResumePoint, rank: int) -> None:
    """Fill a freshly built step; before it is compiled.

    Raises:
        ValueError: the file holds other parameters than the step; nothing was loaded.
    """
    state, values = step.state(), found.values
    held = {name for name in values if not name.startswith(RANKS)}
    wrong = [name for name in state if name not in values or tuple(state[name].shape) != tuple(values[name].shape)]
    if wrong or held - set(state):
        name = (wrong + sorted(held - set(state)))[0]
        raise ValueError(f"'{found.path}' does not fit this training, although its recipe does ({name}): it is of "
                         "another version of the program; start anew with --train.resume off")
    for name, parameter in state.items():
        value = values[name].asnumpy()
        if RANKS + name in values:
            value = values[RANKS + name].asnumpy()[rank]
        parameter.set_data(ms.Tensor(value, parameter.dtype))
