"""Weight files, read and written: PyTorch's, safetensors and MindSpore's checkpoints."""
import dataclasses
import json
import os
import pathlib
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from ghost_ms.core.files import cannot_write, whole_file
from ghost_ms.core.text import printable
from ghost_ms.models.imagenet import class_names
from ghost_ms.models.registry import ModelCard
from ghost_ms.weights import agreement, ckpt_file, described
from ghost_ms.weights.torch_file import read

#: Key under which a file of this package describes its network, as `checkpoints.checkpoint` reads it.
DESCRIPTION = "ghost_ms"


@dataclasses.dataclass
class WeightFile:
    """A weight file that was read.

    Args:
        path: of the file.
        tensors: arrays by name; dictionaries within it are joined by '/'.
        mindspore: whether it is a MindSpore checkpoint.
        described: what it says of its network (see `described.parse`), None for a file of another tool.
    """

    path: str
    tensors: Dict[str, np.ndarray]
    mindspore: bool
    described: Optional[Dict[str, Any]] = None


def open_file(path) -> WeightFile:
    """Read a weight file of any kind; its first bytes tell which, whatever its name ends in.

    Raises:
        OSError, ValueError: there is no such file, or it is damaged, hostile or of another kind.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no checkpoint or weight file {printable(path)}")
    mindspore = ckpt_file.is_mindspore(path)
    try:
        if mindspore:
            tensors, found = read_ckpt(path)
            return WeightFile(str(path), tensors, True, None if found is None else agreement.checked(found))
        tensors, metadata = read(path)
        text = metadata.get(DESCRIPTION)
        return WeightFile(str(path), tensors, False, None if text is None else agreement.parse(text))
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"cannot read {path}: {error}") from None


def read_ckpt(path) -> Tuple[Dict[str, np.ndarray], Optional[dict]]:
    """(arrays by MindSpore's names, description or None) of a MindSpore checkpoint.

    Raises:
        OSError, ValueError: there is no such file, or it is damaged.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        arrays, texts = ckpt_file.read(path)
        return arrays, described.parse(texts[DESCRIPTION]) if DESCRIPTION in texts else None
    except ValueError as error:
        reason = str(error) if str(error).startswith("its ") else f"it {error}"
        raise ValueError(f"cannot read {path}: {reason}") from None


def describe(card: ModelCard, num_classes: int, input_size: Optional[Tuple[int, int]] = None,
             in_channels: Optional[int] = None) -> str:
    """What a file says of itself: the JSON form of `checkpoints.spec.ModelSpec`."""
    channels = in_channels or len(card.mean)
    mean, std = (values if channels == len(values) else [float(np.mean(values))] * channels
                 for values in (card.mean, card.std))
    spec = {"input_size": tuple(input_size or card.input_size), "channels": channels, "mean": mean, "std": std,
            "crop_ratio": card.crop_ratio, "interpolation": card.interpolation}
    args = {"num_classes": num_classes, "in_channels": channels}
    return json.dumps({"model": card.name, "args": args, "classes": class_names(card, num_classes),
                       "preprocessing": spec, "metrics": {}})


def write(out, arrays: Mapping[str, np.ndarray], description: str) -> None:
    """Write `.ckpt` or `.safetensors` under a temporary name and rename it.

    Raises:
        ValueError: another ending.
        OSError: the folder cannot be written, or the disk is full; an old file is untouched.
    """
    out = pathlib.Path(out)
    if out.suffix not in (".ckpt", ".safetensors"):
        raise ValueError(f"{out} has to end in .ckpt or .safetensors")
    try:
        with whole_file(out) as temporary:
            if out.suffix == ".ckpt":
                ckpt_file.write(temporary, arrays.items(), {DESCRIPTION: description})
            else:
                save_file({name: np.array(value, order="C") for name, value in arrays.items()}, temporary,
                          {DESCRIPTION: description, "format": "pt"})
    except SafetensorError as error:
        raise cannot_write(out, error) from None
