"""The part of a recipe that says how weights are trained; `ghost_ms.config` adds network and data, and reads it all."""
import dataclasses
import difflib
from typing import Any, Dict, List, Optional, Sequence, Union

OPTIMIZERS = ("sgd", "rmsprop", "adamw", "lamb", "lion")
SCHEDULES = ("cosine", "step", "multi_step", "polynomial", "constant", "one_cycle")


@dataclasses.dataclass
class LossConfig:
    """What the logits are compared with the labels by.

    Args:
        name: cross_entropy, or binary_cross_entropy (one yes-or-no question a class, as in DeiT III, arXiv 2204.07118).
        label_smoothing: share of the target that is spread over all classes.
        threshold: binary cross-entropy alone: targets above it count as 1, all others as 0 (arXiv 2110.00476).
        sum_classes: binary cross-entropy alone: sum over the classes instead of their mean.
        balance_weight: weight of the network's own balance loss (LegoNet).
    """

    name: str = "cross_entropy"
    label_smoothing: float = 0.0
    threshold: Optional[float] = None
    sum_classes: bool = False
    balance_weight: float = 0.0


@dataclasses.dataclass
class OptimizerConfig:
    """How gradients move the weights.

    Args:
        name: sgd, rmsprop (TensorFlow's: epsilon inside the root, mean square from 1), adamw, lamb or lion.
        lr: peak learning rate, for the batch size as it is, or for `base_batch`.
        base_batch: images of an update that `lr` is meant for; the rates of the schedule are scaled linearly to the
            global batch. By default nothing is scaled.
        momentum: of sgd and rmsprop.
        nesterov: whether sgd uses Nesterov's form of momentum.
        weight_decay: L2 penalty of weights (sgd, rmsprop), or their decoupled decay (adamw, lamb, lion).
        decay_norms_and_biases: whether norms, biases and position tables decay too.
        betas: decay of the two running means of adamw, lamb (default 0.9, 0.999) and lion (default 0.9, 0.99).
        rms_decay: decay of rmsprop's running mean of squares.
        eps: added to the denominator; by default 1e-8 for adamw, 1e-6 for lamb, 1e-3 for rmsprop.
        group_lr: factor on the learning rate of the parameter groups that a network names, such as {lif: 0.1}; these
            groups do not decay.
        layer_decay: factor on the learning rate for each block further from the head, the stem being the furthest
            (ELECTRA, arXiv 2003.10555; BEiT, arXiv 2106.08254), such as 0.75 for a transformer; 1 for none.
        clip_norm: largest norm of all gradients together; 0 for no limit.
        clip_value: largest magnitude of each gradient's entries; 0 for no limit.
        clip_agc: largest norm of a unit's gradient relative to its weights' (adaptive, arXiv 2102.06171); 0 for none.
    """

    name: str = "sgd"
    lr: float = 0.1
    base_batch: Optional[int] = None
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 4e-5
    decay_norms_and_biases: bool = False
    betas: Optional[List[float]] = None
    rms_decay: float = 0.9
    eps: Optional[float] = None
    group_lr: Dict[str, float] = dataclasses.field(default_factory=dict)
    layer_decay: float = 1.0
    clip_norm: float = 0.0
    clip_value: float = 0.0
    clip_agc: float = 0.0


@dataclasses.dataclass
class ScheduleConfig:
    """The learning rate of every update: a warm-up, then a decay.

    cosine (arXiv 1608.03983), polynomial and one_cycle (arXiv 1708.07120) begin where the warm-up ends; the epochs of
    step and multi_step count from the start of the training.

    Args:
        name: cosine, step, multi_step, polynomial, constant or one_cycle.
        warmup_epochs: length of the warm-up; may be a fraction. It is linear, for one_cycle half a cosine.
        warmup_lr: learning rate of the first update.
        min_lr: learning rate at the end of cosine, polynomial and one_cycle.
        cooldown_epochs: epochs at `min_lr` at the end of train.epochs (cosine, polynomial).
        decay_epochs: step alone: epochs between two decays; may be a fraction.
        milestones: multi_step alone: epochs at which the rate decays.
        decay_rate: step and multi_step: factor of a decay.
        power: polynomial alone: exponent.
        noise: range of the training in which the rate is noisy, as shares of its epochs, such as [0.42, 0.9].
        noise_limit: largest noise relative to the rate; the noise is drawn anew for each epoch.
        noise_std: deviation of the normal distribution that noise is drawn from.
    """

    name: str = "cosine"
    warmup_epochs: float = 0.0
    warmup_lr: float = 1e-6
    min_lr: float = 0.0
    cooldown_epochs: float = 0.0
    decay_epochs: float = 30.0
    milestones: List[float] = dataclasses.field(default_factory=list)
    decay_rate: float = 0.1
    power: float = 1.0
    noise: Optional[List[float]] = None
    noise_limit: float = 0.67
    noise_std: float = 1.0


@dataclasses.dataclass
class EmaConfig:
    """A running mean of weights and BatchNorm statistics, evaluated beside them.

    Args:
        decay: of the mean, at each update; 0 keeps none.
        warmup: whether the decay grows with the updates t as min(decay, (1 + t) / (10 + t)), so that the first
            weights are soon forgotten (TensorFlow's ExponentialMovingAverage).
    """

    decay: float = 0.0
    warmup: bool = True


@dataclasses.dataclass
class DistillConfig:
    """A second, trained network whose outputs are learned from.

    Args:
        teacher: name of a network (`ghost-ms models`), or path of a .ckpt or .mindir of this project; none by default.
        weights: of a teacher given by name: true for the released ones, or a path of a weight file.
        args: further arguments of a teacher given by name.
        method: soft (temperature, arXiv 1503.02531), hard (the teacher's decision is a label, arXiv 2012.12877), or
            features (the last feature map, arXiv 1412.6550).
        weight: of the teacher's loss.
        label_weight: of the labels' loss.
        temperature: both logits are divided by it (soft).
        input_size: height and width that the teacher sees; by default its own preprocessing's.
    """

    teacher: Optional[str] = None
    weights: Union[bool, str] = True
    args: Dict[str, Any] = dataclasses.field(default_factory=dict)
    method: str = "soft"
    weight: float = 1.0
    label_weight: float = 1.0
    temperature: float = 1.0
    input_size: Optional[List[int]] = None


@dataclasses.dataclass
class PrecisionConfig:
    """Mixed precision (`mindspore.amp`); parameters stay float32.

    Args:
        level: O0 (none), O2 (all but BatchNorm and its kind), O3 (all), or auto (operator by operator).
        dtype: float16, or bfloat16 where the device has it.
        loss_scale: factor on the loss that keeps small float16 gradients from vanishing; 1 for none.
        dynamic: halve the scale on overflow and double it after `scale_window` updates without one.
        scale_window: see `dynamic`.
        sync_batchnorm: BatchNorm over the images of all devices, where they have it.
    """

    level: str = "O0"
    dtype: str = "float16"
    loss_scale: float = 1.0
    dynamic: bool = False
    scale_window: int = 2000
    sync_batchnorm: bool = False


@dataclasses.dataclass
class TrainConfig:
    """The length of the training, what it tells, and what it keeps to go on from.

    Args:
        epochs: passes over the training images.
        log_every: steps between two lines of a log that is no terminal.
        accumulate: steps whose gradients are averaged for one update.
        activation_epochs: VanillaNet: epochs over which its inner activations become linear; 0 leaves them linear.
        activation_schedule: their slope grows linear or as a cosine.
        on_nan: stop at a loss that is not finite, or skip its update.
        max_skipped: updates skipped in a row that still do not stop the run.
        restorable_masks: draw the masks of dropout and drop path from the step's number instead of a state inside the
            kernel, so that a resumed run draws the same ones; costs some element-wise operators. By default true on
            the CPU, and false elsewhere, where not every device has 32-bit unsigned arithmetic: a resumed run then
            draws other masks, as random as the first ones.
        resume: auto goes on from the newest whole checkpoint of run.dir and starts anew where there is none; the path
            of a checkpoint or of another run's folder goes on from that; off starts anew. The result is that of a run
            that was never broken off, bit by bit on the CPU. What decides the result must not change in between; run.*
            but seed and mode, data.root, data.workers and what is only told or kept may, and train.epochs where the
            learning rates so far stay what they were (constant, step, multi_step).
        checkpoint_every: steps between two checkpoints within an epoch; 0 for one at the end of each epoch alone.
        keep: newest checkpoints that are kept to go on from; the older ones are there in case the newest is damaged.
    """

    epochs: int = 90
    log_every: int = 50
    accumulate: int = 1
    activation_epochs: float = 0.0
    activation_schedule: str = "linear"
    on_nan: str = "stop"
    max_skipped: int = 10
    restorable_masks: Optional[bool] = None
    resume: Union[bool, str] = "off"
    checkpoint_every: int = 0
    keep: int = 2


def check_training(loss: LossConfig, optimizer: OptimizerConfig, schedule: ScheduleConfig, ema: EmaConfig,
                   distill: DistillConfig, precision: PrecisionConfig, train: TrainConfig) -> None:
    """ValueError for a value whose type is right and whose meaning is not."""
    one_of("loss.name", loss.name, ("cross_entropy", "binary_cross_entropy"))
    one_of("optimizer.name", optimizer.name, OPTIMIZERS)
    one_of("schedule.name", schedule.name, SCHEDULES)
    one_of("distill.method", distill.method, ("soft", "hard", "features"))
    one_of("precision.level", precision.level, ("O0", "O2", "O3", "auto"))
    one_of("precision.dtype", precision.dtype, ("float16", "bfloat16"))
    one_of("train.on_nan", train.on_nan, ("stop", "skip"))
    one_of("train.activation_schedule", train.activation_schedule, ("linear", "cosine"))
    if train.resume is True or train.resume == "":
        raise ValueError("train.resume must be auto, off, or the path of a checkpoint or of a run's folder")
    _at_least_one(**{"train.epochs": train.epochs, "train.log_every": train.log_every, "train.keep": train.keep,
                     "train.accumulate": train.accumulate, "precision.scale_window": precision.scale_window,
                     "precision.loss_scale": precision.loss_scale})
    _not_negative(**{"optimizer.lr": optimizer.lr, "optimizer.weight_decay": optimizer.weight_decay,
                     "optimizer.clip_norm": optimizer.clip_norm, "optimizer.clip_value": optimizer.clip_value,
                     "optimizer.clip_agc": optimizer.clip_agc, "schedule.cooldown_epochs": schedule.cooldown_epochs,
                     "train.activation_epochs": train.activation_epochs, "train.max_skipped": train.max_skipped,
                     "train.checkpoint_every": train.checkpoint_every,
                     "distill.weight": distill.weight, "distill.label_weight": distill.label_weight,
                     **{f"optimizer.group_lr.{name}": factor for name, factor in optimizer.group_lr.items()}})
    share("loss.label_smoothing", loss.label_smoothing)
    if loss.threshold is not None:
        share("loss.threshold", loss.threshold)
    if loss.name == "cross_entropy" and (loss.threshold is not None or loss.sum_classes):
        raise ValueError("loss.threshold and loss.sum_classes need loss.name binary_cross_entropy")
    _check_optimizer(optimizer)
    _check_schedule(schedule)
    if not 0 <= ema.decay < 1:
        raise ValueError(f"ema.decay must lie between 0 and 1, below 1, not {ema.decay}")
    if distill.temperature <= 0:
        raise ValueError(f"distill.temperature must lie above 0, not {distill.temperature}")
    if precision.level == "O0" and (precision.loss_scale != 1 or precision.dynamic):
        raise ValueError("precision.loss_scale and precision.dynamic need a precision.level other than O0: "
                         "float32 gradients need no scale")


def _check_optimizer(optimizer: OptimizerConfig) -> None:
    if optimizer.nesterov and (optimizer.name != "sgd" or not optimizer.momentum):
        raise ValueError("optimizer.nesterov needs optimizer.name sgd and optimizer.momentum above 0")
    if optimizer.betas is not None and (len(optimizer.betas) != 2 or not all(0 <= b < 1 for b in optimizer.betas)):
        raise ValueError(f"optimizer.betas must be two numbers from 0 to below 1, not {optimizer.betas}")
    if not 0 < optimizer.layer_decay <= 1:
        raise ValueError(f"optimizer.layer_decay must lie above 0 and at most be 1, not {optimizer.layer_decay}")
    if optimizer.base_batch is not None and optimizer.base_batch < 1:
        raise ValueError("optimizer.base_batch must be at least 1")
    if optimizer.eps is not None and optimizer.eps <= 0:
        raise ValueError(f"optimizer.eps must lie above 0, not {optimizer.eps}")
    given = [key for key in ("clip_norm", "clip_value", "clip_agc") if getattr(optimizer, key)]
    if len(given) > 1:
        raise ValueError(f"optimizer.{given[0]} and optimizer.{given[1]} exclude each other; set one of them to 0")


def _check_schedule(schedule: ScheduleConfig) -> None:
    if schedule.name == "multi_step" and not schedule.milestones:
        raise ValueError("schedule.name multi_step needs schedule.milestones, such as [30, 60, 80]")
    if schedule.decay_epochs <= 0:
        raise ValueError(f"schedule.decay_epochs must lie above 0, not {schedule.decay_epochs}")
    noise = schedule.noise
    if noise is not None and (len(noise) != 2 or not 0 <= noise[0] < noise[1] <= 1):
        raise ValueError(f"schedule.noise must be two rising shares of the training, such as [0.42, 0.9], not {noise}")
    if noise is not None and (schedule.noise_limit <= 0 or schedule.noise_std <= 0):
        raise ValueError("schedule.noise_limit and schedule.noise_std must lie above 0")


def one_of(key: str, value: str, choices: Sequence[str]) -> None:
    """ValueError with the nearest choice for a value that is none of them."""
    if value not in choices:
        raise ValueError(f"{key} is '{value}'{nearest(value, choices)}")


def nearest(name: str, known, prefix: str = "") -> str:
    """The end of a sentence about an unknown name: the nearest known one, or all of them."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{prefix}{near[0]}'?" if near else f"; known are {', '.join(sorted(known))}"


def share(key: str, value: float) -> None:
    """ValueError for a value that is no share of a whole."""
    if not 0 <= value <= 1:
        raise ValueError(f"{key} must lie between 0 and 1, not {value}")


def _at_least_one(**values: float) -> None:
    for key, value in values.items():
        if value < 1:
            raise ValueError(f"{key} must be at least 1")


def _not_negative(**values: float) -> None:
    for key, value in values.items():
        if value < 0:
            raise ValueError(f"{key} must not be negative, but it is {value}")
