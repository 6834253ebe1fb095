"""From a recipe and a network to the compiled step."""
import math
from typing import Sequence

import mindspore as ms
from mindspore import Parameter, Tensor, nn

from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import Config
from ghost_ms.config import TrainConfig
from ghost_ms.core.device import World
from ghost_ms.surgery.replayable_dropout import make_restorable
from ghost_ms.tasks.base import Criterion
from ghost_ms.training.clip import create_clip
from ghost_ms.training.distillation import Distillation, load_teacher
from ghost_ms.training.distributed import gradient_reducer
from ghost_ms.training.ema import Ema
from ghost_ms.training.groups import classifier_names, freeze
from ghost_ms.training.optimizer import create_optimizer
from ghost_ms.training.precision import create_scaler, mixed, synchronize_batch_norm
from ghost_ms.training.step import TrainStep


def create_step(net: nn.Cell, config: Config, rates: Sequence[float], description: ModelSpec, criterion: Criterion,
                world: World = World(), logits: bool = True) -> TrainStep:
    """The compiled step of a recipe; `net` is changed in place where the recipe wants that.

    Args:
        rates: learning rate of every update.
        description: of the network, whose preprocessing and classes count.
        criterion: of the task.
        world: the processes that train together; each draws its own masks.
        logits: whether the network gives class logits, which can be distilled.

    Raises:
        ValueError, OSError: an option that this network, teacher or device does not allow.
    """
    if config.loss.balance_weight and not hasattr(net, "balance_loss"):
        raise ValueError(f"loss.balance_weight is set, but a {type(net).__name__} has no balance loss; set it to 0")
    features = config.distill.teacher is not None and config.distill.method == "features"
    if features and config.precision.level == "auto":
        raise ValueError("distill.method features does not go with precision.level auto, which casts whole networks "
                         "only; take O2")
    if config.distill.teacher is not None and not features and not logits:
        raise ValueError(f"distill.method {config.distill.method} compares class logits, which a network for "
                         f"{config.task.name} does not give; take features")
    freeze(net, config.model.freeze)
    if config.precision.sync_batchnorm:
        synchronize_batch_norm(net)
    clock = None
    wanted = config.train.restorable_masks
    if ms.get_context("device_target") == "CPU" if wanted is None else wanted:
        clock = Parameter(Tensor(0, ms.int32), name="clock", requires_grad=False)
        make_restorable(net, clock, config.run.seed * 4099 + world.rank)
    distillation = None
    if config.distill.teacher is not None:
        distillation = Distillation(load_teacher(config.distill, description), config.distill, net)
    classifier = classifier_names(net) if config.optimizer.clip_agc else ()
    optimizer = create_optimizer(net, config.optimizer, rates,
                                 distillation.extra_parameters() if distillation is not None else ())
    return TrainStep(
        net, criterion, optimizer, model=mixed(net, config.precision),
        distillation=distillation, balance_weight=config.loss.balance_weight, scaler=create_scaler(config.precision),
        skip_nonfinite=config.train.on_nan == "skip", accumulate=config.train.accumulate,
        reduce=gradient_reducer(optimizer.parameters, world),
        clip=create_clip(config.optimizer, optimizer.parameters, classifier),
        ema=Ema(net, config.ema.decay, config.ema.warmup) if config.ema.decay else None, clock=clock,
        spec=description.preprocessing)


def activation_slope(train: TrainConfig, epoch: int) -> float:
    """Slope of VanillaNet's inner activations in an epoch, counted from 0 (arXiv 2305.12972, section 3.1, equation 1).

    It grows from 0 to 1 over `activation_epochs`: linear, or as half a cosine.
    """
    share = min(epoch / train.activation_epochs, 1.0)
    return share if train.activation_schedule == "linear" else (1 - math.cos(math.pi * share)) / 2


def begin_activation(net: nn.Cell, train: TrainConfig) -> None:
    """Make the slope a number that the step will read; before the step is built.

    Raises:
        ValueError: the network has no such activations, or the training ends before they are linear.
    """
    if not hasattr(net, "set_activation_slope"):
        raise ValueError(f"train.activation_epochs is set, but a {type(net).__name__} has no activations to make "
                         "linear; it is for VanillaNet")
    if train.activation_epochs > train.epochs - 1:
        raise ValueError(f"train.activation_epochs is {train.activation_epochs:g} and train.epochs {train.epochs}: at "
                         "least one epoch must follow with linear activations, which alone can be merged")
    net.set_activation_slope(0.0)
