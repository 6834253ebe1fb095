"""Checkpoints: atomic, checksummed, and telling which network they are of."""
import contextlib
import dataclasses
import json
import logging
import os
from typing import Any, Dict, List, Optional, Union

import mindspore as ms
from mindspore import nn

from ghost_ms.data.transforms import Preprocessing
from ghost_ms.models import create_model
from ghost_ms.weights.load import load_pretrained
from ghost_ms.weights.torch_file import read

KEY = "ghost_ms"
#: What only a training that goes on wants to know.
PROGRESS = "ghost_ms_progress"


@dataclasses.dataclass
class Description:
    """What a checkpoint knows of itself, so that it can be used without the recipe.

    Args:
        model, args: name and constructor arguments of the network.
        classes: names of the classes.
        preprocessing: from an image file to the network's input.
        metrics: of the epoch it was written after; `epoch` among them.
    """

    model: str
    args: Dict[str, Any]
    classes: List[str]
    preprocessing: Preprocessing
    metrics: Dict[str, float] = dataclasses.field(default_factory=dict)

    def build(self, pretrained: Union[bool, str] = False) -> nn.Cell:
        """The described network, freshly initialised or with the weights that `create_model` takes.

        Weights of a network with other arguments are refused; classes of other names leave the classifier fresh.
        """
        net = create_model(self.model, input_size=self.preprocessing.input_size, **self.args)
        if pretrained:
            load_pretrained(net, pretrained, self.args, self.classes)
        return net

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Description":
        values = json.loads(text)
        spec = {key: tuple(value) if isinstance(value, list) else value
                for key, value in values["preprocessing"].items()}
        return cls(**{**values, "preprocessing": Preprocessing(**spec)})


def save_checkpoint(what: Union[nn.Cell, Dict[str, ms.Parameter]], path: str, description: Description,
                    progress: Optional[str] = None) -> None:
    """Write a new file and rename it over the old one, which stays valid until then.

    Args:
        what: a network, or parameters by name such as the state of a training step.
        progress: text that `read_state` gives back.

    Raises:
        OSError: the folder cannot be written, or the disk is full; the old file is untouched.
    """
    temporary = f"{os.path.splitext(path)[0]}.{os.getpid()}.tmp.ckpt"
    texts = {KEY: description.to_json(), **({} if progress is None else {PROGRESS: progress})}
    try:
        if isinstance(what, dict):
            what = [{"name": name, "data": parameter} for name, parameter in what.items()]
        with _silent():
            ms.save_checkpoint(what, temporary, append_dict=texts, crc_check=True)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(os.path.dirname(path))
    except (RuntimeError, OSError) as error:
        raise OSError(f"cannot write the checkpoint '{path}': {_first_line(error)}") from None
    finally:
        # MindSpore writes under a temporary name of its own, and leaves it where that fails.
        for leftover in (temporary, f"{os.path.splitext(temporary)[0]}.tmp"):
            if os.path.exists(leftover):
                os.remove(leftover)


@contextlib.contextmanager
def _silent():
    """MindSpore logs a failed write as critical and raises it too; the sentence that is raised is enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _sync_folder(folder: str) -> None:
    """A renamed file outlives a power cut only when its folder is on the disk too."""
    handle = os.open(folder or ".", os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_checkpoint(path: str) -> tuple:
    """(parameters by name, description or None for a file of another tool).

    Raises:
        FileNotFoundError, ValueError: there is no such file; it is truncated, damaged or no checkpoint.
    """
    return _read(path)[:2]


def read_state(path: str) -> tuple:
    """(parameters by name, description, text of the progress) of a checkpoint that a training can go on from.

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
        arrays, metadata = read(path)
        values = {name: ms.Parameter(ms.Tensor(array), name=name) for name, array in arrays.items()}
        return values, Description.from_json(metadata[KEY]) if KEY in metadata else None, None
    if not path.endswith(".ckpt"):
        raise ValueError(f"'{path}' ends neither in .ckpt nor in .safetensors; `ghost-ms weights convert` makes a "
                         "checkpoint of a PyTorch file")
    try:
        try:
            values = ms.load_checkpoint(path, crc_check=True)
        except ValueError as error:
            raise ValueError(f"'{path}' is no whole checkpoint: {_first_line(error)}") from None
    except (RuntimeError, OSError, TypeError) as error:
        raise ValueError(f"'{path}' is no whole checkpoint: {_first_line(error)}") from None
    text, progress = values.pop(KEY, None), values.pop(PROGRESS, None)
    return values, Description.from_json(text) if text is not None else None, progress


def load_weights(net: nn.Cell, values: Dict[str, ms.Parameter], path: str) -> None:
    """Fill every parameter of `net` from the parameters of a checkpoint; those of an optimizer are passed over.

    Raises:
        ValueError: the checkpoint is of another network, or cut short; nothing was loaded.
    """
    wanted = net.parameters_dict()
    missing = [name for name in wanted if name not in values]
    wrong = [name for name in wanted if name in values and wanted[name].shape != values[name].shape]
    if missing or wrong:
        first = f"it lacks {missing[0]}" if missing else f"{wrong[0]} has the shape {tuple(values[wrong[0]].shape)}"
        raise ValueError(f"'{path}' is not a checkpoint of this {type(net).__name__} ({len(wanted)} parameters): "
                         f"{first} ({len(missing)} missing, {len(wrong)} of another shape); it is of another network, "
                         "or cut")
    ms.load_param_into_net(net, {name: values[name] for name in wanted})


def restore(path: str, description: Optional[Description] = None) -> tuple:
    """(network in evaluation mode, description) of a checkpoint.

    Args:
        description: of the network; needed for a file that does not describe itself, otherwise it overrides.
    """
    values, own = read_checkpoint(path)
    if own is not None and description is not None and own.model != description.model:
        raise ValueError(f"'{path}' is a checkpoint of {own.model}, not of {description.model}; give the recipe it was "
                         f"trained by (--config), or --model.name {own.model}")
    description = description or own
    if description is None:
        raise ValueError(f"'{path}' does not say which network it is of; name it with --model or --config")
    net = description.build().set_train(False)
    load_weights(net, values, path)
    slope = description.metrics.get("activation_slope", 1.0)
    if slope != 1:
        # Saved while VanillaNet's activations were still being made linear: the slope is no weight.
        net.set_activation_slope(slope)
    return net, description


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
