"""The work of `ghost-ms weights convert` and `to-torch`: a weight file into another one."""
import os
import pathlib
from typing import Any, Dict, List, Optional, Tuple

from mindspore import nn

from ghost_ms.core.text import printable
from ghost_ms.models import model_card
from ghost_ms.models.imagenet import class_names
from ghost_ms.models.registry import ModelCard, build
from ghost_ms.weights import agreement
from ghost_ms.weights.convert import torch_state
from ghost_ms.weights.files import WeightFile, describe, open_file, write
from ghost_ms.weights.load import load_weights, settle
from ghost_ms.weights.report import Report

OUTPUTS = (".ckpt", ".safetensors")


def convert_file(path, model_name: Optional[str], out, ema: bool = False, head: str = "keep",
                 input_size: Optional[Tuple[int, int]] = None, num_classes: Optional[int] = None, *,
                 in_channels: Optional[int] = None, entry: Optional[str] = None,
                 prefix: Optional[str] = None) -> Report:
    """Convert a weight file into one of this package, which `infer`, `eval` and `export` take.

    A file that describes its network keeps its classes, arguments, preprocessing and metrics; any other one gets what
    the model's card says.

    Args:
        path: `.pth`, `.pt`, `.pth.tar`, `.safetensors` or `.ckpt`, of PyTorch, of MindSpore or of this package.
        model_name: a name from `list_models()`; None for a file that says it.
        out: `.ckpt` or `.safetensors`, in MindSpore's names.
        ema, head, entry, prefix: as for `load_weights`.
        input_size: (height, width), where position tables are to fit another size than the file's.
        num_classes: of the file with head 'keep', of the fresh classifier with 'new'; by default the file's own count,
            or the published one.
        in_channels: of the images; the first convolution is summed or repeated for another count than the file's.

    Raises:
        OSError, ValueError: the file cannot be read, does not fit the model to the last entry, or cannot be written.
    """
    if pathlib.Path(out).suffix not in OUTPUTS:
        raise ValueError(f"{out} has to end in {' or '.join(OUTPUTS)}")
    if os.path.exists(out) and os.path.exists(path) and os.path.samefile(path, out):
        raise ValueError(f"{out} is the file that is read; name another one")
    given = {key: value for key, value in (("num_classes", num_classes), ("in_channels", in_channels))
             if value is not None}
    file, card, net, size = _built(path, model_name, given, input_size)
    report = load_weights(net, file, ema, head, entry=entry, prefix=prefix)
    arrays = {name: parameter.asnumpy() for name, parameter in net.parameters_and_names()}
    write(out, arrays, _description(file, card, net, size, bool(report.fresh)))
    return report


def to_torch(path, out, model_name: Optional[str] = None, ema: bool = False) -> Report:
    """Write a checkpoint of this package as safetensors under PyTorch's names, with what it says of itself.

    Args:
        path: `.ckpt` or `.safetensors`, from `convert` or from training.
        out: `.safetensors`.
        model_name: needed where the file does not say of which network it is.
        ema: take the EMA weights of a training state.

    Raises:
        OSError, ValueError: see `convert_file`.
    """
    if pathlib.Path(out).suffix != ".safetensors":
        raise ValueError(f"{out} has to end in .safetensors")
    file, card, net, size = _built(path, model_name, {}, None)
    report = load_weights(net, file, ema)
    state = torch_state(net)
    write(out, state, _description(file, card, net, size, False))
    report.used = list(state)
    return report


def _built(path, model_name: Optional[str], given: Dict[str, Any], input_size: Optional[Tuple[int, int]]
           ) -> Tuple[WeightFile, ModelCard, nn.Cell, Tuple[int, int]]:
    """(file, card of its model, a fresh network for it, height and width of its images)."""
    if model_name is not None:
        model_card(model_name)
    file = open_file(path)
    if model_name is None and file.described is None:
        raise ValueError(f"{printable(path)} does not say which network it is of; name it with --model")
    card = model_card(model_name or file.described["model"])
    arguments, size = settle(file, card, given, input_size)
    sized = {"input_size": tuple(size)} if size is not None and card.sized else {}
    return file, card, build(card, {**arguments, **sized}), tuple(size or card.input_size)


def _description(file: WeightFile, card: ModelCard, net: nn.Cell, size: Tuple[int, int], fresh: bool) -> str:
    """What the new file says of itself."""
    arguments = {key: value for key, value in net.arguments.items() if key != "input_size"}
    classes, channels = ({**agreement.defaults(net), **arguments}[key] for key in ("num_classes", "in_channels"))
    if file.described is None:
        return describe(card, classes, size, channels)
    names: List[str] = file.described["classes"]
    if classes != file.described["args"].get("num_classes", agreement.defaults(net)["num_classes"]):
        names = class_names(card, classes)
    return agreement.renewed(file.described, args=arguments, classes=names, input_size=size, channels=channels,
                                fresh=fresh)
