"""Mixed precision by `mindspore.amp`, its loss scale, and BatchNorm over all devices."""
from typing import Optional

import mindspore as ms
from mindspore import amp, nn

from ghost_ms.layers.reparam import replace_cell
from ghost_ms.config import PrecisionConfig


def check_precision(config: PrecisionConfig, target: str) -> None:
    """ValueError for what the device (Ascend, GPU, CPU) cannot do."""
    if target == "CPU" and config.level != "O0" and config.dtype == "bfloat16":
        raise ValueError("precision.dtype bfloat16 needs an Ascend or a GPU: MindSpore's convolution and BatchNorm "
                         "have no bfloat16 kernel on CPU; take float16 or precision.level O0")
    if target == "CPU" and config.sync_batchnorm:
        raise ValueError("precision.sync_batchnorm needs an Ascend or a GPU: MindSpore has no SyncBatchNorm between "
                         "CPU workers; leave it false")


def mixed(net: nn.Cell, config: PrecisionConfig) -> nn.Cell:
    """The network whose operators run in lower precision; it may be a cell around `net`, which changes in place."""
    dtype = ms.float16 if config.dtype == "float16" else ms.bfloat16
    return amp.auto_mixed_precision(net, config.level, dtype)


def create_scaler(config: PrecisionConfig) -> Optional[amp.LossScaler]:
    """The loss scaler of a recipe, or None; the names of its parameters are those in a step's state."""
    if config.dynamic:
        scaler = amp.DynamicLossScaler(config.loss_scale, 2, config.scale_window)
        scaler.counter.name = "loss_scale_counter"
        scaler.counter.requires_grad = False
    elif config.loss_scale != 1:
        scaler = amp.StaticLossScaler(config.loss_scale)
    else:
        return None
    scaler.scale_value.name = "loss_scale"
    scaler.scale_value.requires_grad = False
    return scaler


def synchronize_batch_norm(net: nn.Cell) -> int:
    """Replace every BatchNorm2d below `net` by a SyncBatchNorm with the same parameters; their number.

    Call it after `mindspore.communication.init()`.
    """
    found = [(parent, key, cell) for _, parent in net.cells_and_names() for key, cell in parent.name_cells().items()
             if isinstance(cell, nn.BatchNorm2d)]
    for parent, key, cell in found:
        affine = cell.gamma.requires_grad
        new = nn.SyncBatchNorm(cell.num_features, eps=cell.eps, momentum=1 - cell.momentum, affine=affine,
                               use_batch_statistics=cell.use_batch_statistics)
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            setattr(new, name, getattr(cell, name))
        replace_cell(parent, key, new.set_train(cell.training))
    return len(found)
