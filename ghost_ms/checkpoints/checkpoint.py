"""Checkpoints: atomic, checksummed, and telling which network they are of."""
import os
from typing import Dict, Optional, Union

import mindspore as ms
import numpy as np
from mindspore import nn
from mindspore.nn.utils import no_init_parameters

from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.core.files import whole_file
from ghost_ms.core.text import printable
from ghost_ms.models.registry import same_network
from ghost_ms.weights import ckpt_file, described
from ghost_ms.weights.torch_file import read

KEY = "ghost_ms"
#: What only a training that goes on wants to know.
PROGRESS = "ghost_ms_progress"


def save_checkpoint(what: Union[nn.Cell, Dict[str, ms.Parameter]], path: str, description: ModelSpec,
                    progress: Optional[str] = None) -> None:
    """Write a new file and rename it over the old one, which stays valid until then.

    Args:
        what: a network, or parameters by name such as the state of a training step.
        progress: text that `read_state` gives back.

    Raises:
        OSError: the folder cannot be written, or the disk is full; the old file is untouched.
    """
    texts = {KEY: description.to_json(), **({} if progress is None else {PROGRESS: progress})}
    if isinstance(what, nn.Cell):
        what.init_parameters_data()
        what = what.parameters_dict()
    try:
        with whole_file(path) as temporary:
            ckpt_file.write(temporary, ((name, _values(parameter)) for name, parameter in what.items()), texts)
    except OSError as error:
        raise OSError(str(error).replace("cannot write '", "cannot write the checkpoint '", 1)) from None


def _values(parameter: ms.Parameter) -> np.ndarray:
    """NumPy has no bfloat16; float32 holds the same values, which are cast again when they are loaded."""
    return (parameter.astype(ms.float32) if parameter.dtype == ms.bfloat16 else parameter).asnumpy()


def read_checkpoint(path: str) -> tuple:
    """(parameters by name, description or None for a file of another tool).

    Raises:
        FileNotFoundError, ValueError: there is no such file; it is truncated, damaged or no checkpoint.
    """
    return _read(path)[:2]


def read_state(path: str) -> tuple:
    """(parameters by name, description, text of the progress) of a checkpoint that a training can resume from.

    Raises:
        FileNotFoundError, ValueError: see `read_checkpoint`; or it holds a network alone.
    """
    values, description, progress = _read(path)
    if progress is None:
        # MindSpore loads a file that is cut between two parameters; the progress is the last entry.
        raise ValueError(f"'{path}' does not say where its training stood: it holds a network alone (as best.ckpt "
                         "does), or is cut")
    return values, description, progress


def _read(path: str) -> tuple:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no checkpoint '{path}'")
    if path.endswith(".safetensors"):
        arrays, texts = read(path)
    elif path.endswith(".ckpt"):
        try:
            arrays, texts = ckpt_file.read(path)
        except ValueError as error:
            raise ValueError(f"'{path}' is not a valid checkpoint: it {error}") from None
    else:
        raise ValueError(f"'{path}' ends neither in .ckpt nor in .safetensors; `ghost-ms weights convert` makes a "
                         "checkpoint of a PyTorch file")
    try:
        description = ModelSpec.from_json(texts[KEY]) if KEY in texts else None
    except ValueError as error:
        raise ValueError(f"'{path}' cannot be used: {error}") from None
    # A parameter of its own memory, and of the file nothing.
    values = {name: ms.Parameter(ms.Tensor(array), name=name) for name, array in arrays.items()}
    return values, description, texts.get(PROGRESS)


def load_weights(net: nn.Cell, values: Dict[str, ms.Parameter], path: str) -> None:
    """Fill every parameter of `net` from the parameters of a checkpoint; those of an optimizer are passed over.

    Raises:
        ValueError: the checkpoint is of another network, cut short, or holds numbers that are not finite; nothing was
            loaded.
    """
    wanted = net.parameters_dict()
    missing = [name for name in wanted if name not in values]
    wrong = [name for name in wanted if name in values and wanted[name].shape != values[name].shape]
    if missing or wrong:
        first = f"it lacks {missing[0]}" if missing else f"{wrong[0]} has the shape {tuple(values[wrong[0]].shape)}"
        raise ValueError(f"'{path}' is not a checkpoint of this {type(net).__name__} ({len(wanted)} parameters): "
                         f"{first} ({len(missing)} missing, {len(wrong)} of another shape); it is of another network, "
                         "or cut")
    ckpt_file.refuse_not_finite(((name, _values(values[name])) for name in wanted), path)
    ms.load_param_into_net(net, {name: values[name] for name in wanted})


def network_of(description: ModelSpec, values: Dict[str, ms.Parameter], path: str) -> nn.Cell:
    """The described network in evaluation mode with the weights of a checkpoint.

    A parameter gets memory only after its shape is known to be that of the file, so that a description cannot ask for
    more than the file holds. Nothing is drawn at random.

    Args:
        values: of `read_checkpoint(path)`.

    Raises:
        ValueError: there is no such network, or the weights are of another one.
    """
    try:
        described.check_sizes([description.args, description.edits, description.head_args], values)
        with no_init_parameters():
            net = description.build().set_train(False)
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"cannot build the network of '{path}': {_first_line(error)}") from None
    return _filled(net, description, values, path)


def _filled(net: nn.Cell, description: ModelSpec, values: Dict[str, ms.Parameter], path: str) -> nn.Cell:
    load_weights(net, values, path)
    # Such as the slope of activations that were still being made linear, which is no weight.
    net.restore_facts(description.metrics)
    return net


def restore(path: str, description: Optional[ModelSpec] = None) -> tuple:
    """(network in evaluation mode, description) of a checkpoint.

    Args:
        description: of the network; needed for a file that does not describe itself, otherwise it overrides.
    """
    values, own = read_checkpoint(path)
    if own is not None and description is not None and not same_network(own.model, description.model):
        raise ValueError(f"'{path}' is a checkpoint of {own.model}, not of {description.model}; give the recipe it was "
                         f"trained by (--config), or --model.name {own.model}")
    if description is None and own is None:
        raise ValueError(f"'{path}' does not say which network it is of; name it with --model or --config")
    if description is None:
        # Only to be refused: what a training builds after its teacher goes on with the random numbers that the
        # initialisation below leaves.
        network_of(own, values, path)
    description = description or own
    return _filled(description.build().set_train(False), description, values, path), description


def _first_line(error: Exception) -> str:
    return printable(str(error).strip().splitlines()[0]) if str(error).strip() else type(error).__name__
