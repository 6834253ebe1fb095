"""From a recipe and a network to the compiled step."""
from typing import Optional, Sequence

import mindspore as ms
from mindspore import Parameter, Tensor, nn

from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import Config
from ghost_ms.core.device import World
from ghost_ms.kernels.swap import accelerate
from ghost_ms.surgery.replayable_dropout import make_restorable
from ghost_ms.tasks.base import Criterion
from ghost_ms.training.clip import create_clip
from ghost_ms.training.distillation import Distillation, load_teacher
from ghost_ms.training.distributed import gradient_reducer
from ghost_ms.training.ema import Ema
from ghost_ms.training.groups import classifier_names, freeze, freeze_norms
from ghost_ms.training.optimizer import create_optimizer
from ghost_ms.training.precision import create_scaler, mixed, synchronize_batch_norm
from ghost_ms.training.step import TrainStep


def create_step(net: nn.Cell, config: Config, rates: Sequence[float], description: ModelSpec, criterion: Criterion,
                world: World = World(), logits: bool = True, kernels: Optional[str] = None) -> TrainStep:
    """The compiled step of a recipe; `net` is changed in place where the recipe wants that.

    Args:
        rates: learning rate of every update.
        description: of the network, whose preprocessing and classes count.
        criterion: of the task.
        world: the processes that train together; each draws its own masks.
        logits: whether the network gives class logits, which can be distilled.
        kernels: instead of the recipe's `run.kernels`.

    Raises:
        ValueError, OSError: an option that this network, teacher or device does not allow.
    """
    features = config.distill.teacher is not None and config.distill.method == "features"
    if features and config.precision.level == "auto":
        raise ValueError("distill.method features does not go with precision.level auto, which casts whole networks "
                         "only; take O2")
    if config.distill.teacher is not None and not features and not logits:
        raise ValueError(f"distill.method {config.distill.method} compares class logits, which a network for "
                         f"{config.task.name} does not give; take features")
    if features and not hasattr(net, "forward_last"):
        raise ValueError(f"distill.method features compares the last maps of classifiers, and a network for "
                         f"{config.task.name} is none; take soft or hard")
    freeze(net, config.model.freeze)
    if config.model.freeze_norms:
        freeze_norms(net)
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
    step = TrainStep(
        net, criterion, optimizer, model=mixed(net, config.precision),
        distillation=distillation, scaler=create_scaler(config.precision),
        skip_nonfinite=config.train.on_nan == "skip", accumulate=config.train.accumulate,
        reduce=gradient_reducer(optimizer.parameters, world),
        clip=create_clip(config.optimizer, optimizer.parameters, classifier),
        ema=Ema(net, config.ema.decay, config.ema.warmup) if config.ema.decay else None, clock=clock,
        spec=description.preprocessing)
    # The whole step: a teacher is part of it.
    step.kernels = accelerate(step, config.run.kernels if kernels is None else kernels, config.precision.level == "O0")
    return step
