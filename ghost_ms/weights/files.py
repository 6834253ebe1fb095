"""Weight files into networks and out of them: choosing the entry, checking every name and shape, reporting."""
import dataclasses
import json
import logging
import os
import pathlib
from typing import Dict, List, Mapping, Optional, Tuple

import mindspore as ms
import numpy as np
from mindspore import nn
from safetensors import SafetensorError
from safetensors.numpy import save_file

from ghost_ms.core.files import cannot_write, whole_file
from ghost_ms.models import create_model, model_card
from ghost_ms.models.registry import ModelCard
from ghost_ms.weights import ckpt_file, described, fetch
from ghost_ms.weights.convert import load_torch_state, torch_names, torch_state
from ghost_ms.weights.manifest import releases
from ghost_ms.weights.torch_file import read

#: Dictionaries of training checkpoints that hold the weights, and their averages, in order of preference.
ENTRIES = ("state_dict", "model", "model_state_dict", "net")
EMA_ENTRIES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
#: Key under which a file of this package describes its network, as `training.checkpoint` reads it.
DESCRIPTION = "ghost_ms"
CLASSES = pathlib.Path(__file__).parent.parent / "data" / "imagenet_classes.txt"


@dataclasses.dataclass
class Report:
    """What became of every entry of a file.

    Args:
        source, model: the file and the network; `entry` is the dictionary taken from it ('' for the file itself).
        used: PyTorch's names of the entries that fill the network.
        dropped: entries without weights: counters, other dictionaries of a checkpoint, what no output depends on.
        resampled: position tables brought to another input size.
        fresh: entries of the network that were left as initialised (only with a new head).
    """

    source: str
    model: str
    entry: str = ""
    used: List[str] = dataclasses.field(default_factory=list)
    dropped: List[str] = dataclasses.field(default_factory=list)
    resampled: List[str] = dataclasses.field(default_factory=list)
    fresh: List[str] = dataclasses.field(default_factory=list)

    def lines(self) -> List[str]:
        """The report as lines of text."""
        where = f" ({self.entry})" if self.entry else ""
        rows = [f"{self.source}{where} -> {self.model}: {len(self.used)} entries used, {len(self.dropped)} dropped"]
        for title, names in (("dropped", self.dropped), ("resampled to the input size", self.resampled),
                             ("left fresh, to be trained", self.fresh)):
            if names:
                rows.append(f"  {title}: {', '.join(names[:6])}" + (f" and {len(names) - 6} more" if names[6:] else ""))
        return rows


def pick(tensors: Mapping[str, np.ndarray], ema: bool = False) -> Tuple[str, Dict[str, np.ndarray], List[str]]:
    """(entry, its state dict without a `module.` before every name, names of everything else) of a file that was read.

    Raises:
        ValueError: there is no such entry; the sentence lists those there are.
    """
    groups = sorted({name.partition("/")[0] for name in tensors if "/" in name})
    plain = [name for name in tensors if "/" not in name]
    found = [entry for entry in (EMA_ENTRIES if ema else ENTRIES) if entry in groups]
    if found:
        start = found[0] + "/"
        state = {name[len(start):]: value for name, value in tensors.items() if name.startswith(start)}
    elif plain and not ema:
        start, state = "", {name: tensors[name] for name in plain}
    else:
        what = "averaged weights" if ema else "weights"
        inside = f"its entries are {', '.join(groups[:8])}" if groups else "it is a plain state dict"
        hint = "; take the averaged ones with --ema" if not ema and set(groups) & set(EMA_ENTRIES) else ""
        raise ValueError(f"it holds no {what}: {inside}{hint}")
    others = [name for name in tensors if not name.startswith(start) or (not start and "/" in name)]
    while state and all(name.startswith("module.") for name in state):
        state = {name[len("module."):]: value for name, value in state.items()}
    return start.rstrip("/"), state, others


def _read(net: nn.Cell, path: str, ema: bool) -> Tuple[str, Dict[str, np.ndarray], List[str]]:
    """`pick` of any file, under PyTorch's names; files in MindSpore's names are told by these."""
    if str(path).endswith(".ckpt"):
        tensors, _ = read_ckpt(path)
    else:
        tensors, _ = read(path)
    names = torch_names(net)
    if not ema and all(name in tensors for name in names):
        others = [name for name in tensors if name not in names]
        return "", {other: tensors[name] for name, other in names.items()}, others
    if str(path).endswith(".ckpt"):
        absent = [name for name in names if name not in tensors]
        raise ValueError("it holds no averaged weights" if ema else
                         f"it lacks {len(absent)} of {len(names)} parameters of {type(net).__name__}: {absent[0]}")
    return pick(tensors, ema)


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


def load_weights(net: nn.Cell, path, ema: bool = False, head: str = "keep",
                 num_classes: Optional[int] = None) -> Report:
    """Fill a freshly built network from a file.

    Args:
        net: from `create_model`.
        path: a PyTorch, safetensors or MindSpore file.
        ema: take the averaged weights of a training checkpoint.
        head: 'keep' wants the classifier of the file; 'new' leaves the network's own, freshly initialised; 'fit' takes
            the file's where its shapes fit.
        num_classes: of the network; the published count by default.

    Raises:
        OSError, ValueError: the file cannot be read or does not fit; nothing was loaded then.
    """
    card: ModelCard = net.card
    num_classes = num_classes or card.num_classes
    names = torch_names(net)
    before = dict(net.parameters_and_names())
    try:
        entry, state, others = _read(net, path, ema)
        net.reset_classifier(num_classes)
        parameters = dict(net.parameters_and_names())
        heads = [name for name in names if parameters.get(name) is not before[name]]
        differ = [name for name in heads if names[name] in state
                  and state[names[name]].shape != tuple(parameters[name].shape)]
        if differ and head == "keep":
            theirs = state[names[differ[0]]].shape[:1]
            raise ValueError(f"its classifier has {(theirs or (0,))[0]} classes, the network {num_classes}: name the "
                             "class count with --num-classes, or take a fresh classifier with --head new")
        report = Report(str(path), card.name, entry)
        if head == "new" or differ:
            report.dropped += [names[name] for name in heads if names[name] in state]
            report.fresh = [names[name] for name in heads]
            state.update({names[name]: parameters[name].asnumpy() for name in heads})
        report.resampled = [other for name, other in names.items()
                            if other in state and state[other].shape != tuple(parameters[name].shape)]
        load_torch_state(net, state)
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"cannot use {path}: {error}") from None
    wanted = set(names.values())
    report.used = [name for name in names.values() if name not in report.fresh]
    report.dropped += [name for name in state if name not in wanted] + others
    return report


def load_pretrained(net: nn.Cell, pretrained, num_classes: Optional[int] = None) -> Report:
    """Fill a network of `create_model` with released weights (True) or those of a file (a path)."""
    ema = False
    if pretrained is True:
        release = releases(net.card.weights or net.card.name)[0]
        pretrained, ema = fetch.fetch(release), bool(release.ema)
    report = load_weights(net, pretrained, ema, "fit" if num_classes else "keep", num_classes)
    if report.fresh:
        logging.getLogger(__name__).warning("%s: the classifier is fresh (%s has another class count); train it",
                                            net.card.name, pretrained)
    return report


def class_names(card: ModelCard, num_classes: int) -> List[str]:
    """Names of ImageNet-1K's classes for a network that has those; 'class 0', 'class 1', ... for any other."""
    if num_classes == card.num_classes == 1000:
        return CLASSES.read_text(encoding="utf-8").splitlines()
    return [f"class {index}" for index in range(num_classes)]


def describe(card: ModelCard, num_classes: int, input_size: Optional[Tuple[int, int]] = None) -> str:
    """What a file says of itself: the JSON form of `training.checkpoint.Description`."""
    spec = {"input_size": tuple(input_size or card.input_size), "channels": len(card.mean), "mean": card.mean,
            "std": card.std, "crop_ratio": card.crop_ratio, "interpolation": card.interpolation}
    args = {"num_classes": num_classes, "in_channels": len(card.mean)}
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


def convert_file(path, model_name: str, out, ema: bool = False, head: str = "keep",
                 input_size: Optional[Tuple[int, int]] = None, num_classes: Optional[int] = None) -> Report:
    """Convert a weight file into one of this package, which `infer`, `eval` and `export` take.

    Args:
        path: `.pth`, `.pt`, `.pth.tar`, `.safetensors` or `.ckpt`.
        model_name: a name from `list_models()`.
        out: `.ckpt` or `.safetensors`, in MindSpore's names.
        ema, head: as for `load_weights`.
        input_size: (height, width), where position tables are to fit another size than the published one.
        num_classes: of the file with head 'keep', of the fresh classifier with 'new'; published count by default.

    Raises:
        OSError, ValueError: the file cannot be read, does not fit the model to the last entry, or cannot be written.
    """
    card = model_card(model_name)
    if os.path.exists(out) and os.path.samefile(path, out):
        raise ValueError(f"{out} is the file that is read; name another one")
    kwargs = {} if num_classes is None else {"num_classes": num_classes}
    net = create_model(model_name, input_size=input_size, **kwargs)
    report = load_weights(net, path, ema, head, num_classes)
    arrays = {name: parameter.asnumpy() for name, parameter in net.parameters_and_names()}
    write(out, arrays, describe(card, num_classes or card.num_classes, input_size))
    return report


def to_torch(ckpt, out, model_name: Optional[str] = None) -> Report:
    """Write a checkpoint of this package as safetensors under PyTorch's names.

    Args:
        ckpt: `.ckpt` or `.safetensors`, from `convert` or from training.
        out: `.safetensors`.
        model_name: needed where the file does not say of which network it is.
    """
    if pathlib.Path(out).suffix != ".safetensors":
        raise ValueError(f"{out} has to end in .safetensors")
    if str(ckpt).endswith(".ckpt"):
        arrays, description = read_ckpt(ckpt)
    else:
        arrays, metadata = read(ckpt)
        description = json.loads(metadata[DESCRIPTION]) if DESCRIPTION in metadata else None
    if model_name is None and description is None:
        raise ValueError(f"{ckpt} does not say which network it is of; name it with --model")
    model_name = model_name or description["model"]
    args, size = {}, None
    if description is not None and description["model"] == model_name:
        args, size = description["args"], tuple(description["preprocessing"]["input_size"])
    net = create_model(model_name, input_size=size, **args)
    parameters = dict(net.parameters_and_names())
    absent = [name for name in parameters if name not in arrays]
    wrong = [name for name in parameters if name in arrays and arrays[name].shape != tuple(parameters[name].shape)]
    if absent or wrong:
        raise ValueError(f"{ckpt} is no checkpoint of {model_name}: {len(absent)} parameters are missing, "
                         f"{len(wrong)} have another shape, first {(absent + wrong)[0]}")
    for name, parameter in parameters.items():
        parameter.set_data(ms.Tensor(np.array(arrays[name], order="C"), parameter.dtype))
    state = torch_state(net)
    write(out, state, json.dumps(description) if description else describe(net.card, net.card.num_classes))
    return Report(str(ckpt), model_name, "", list(state), [name for name in arrays if name not in parameters])
