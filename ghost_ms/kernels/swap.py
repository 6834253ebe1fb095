"""Networks that compute by the kernels: their cells change their class, and nothing else of them."""
from typing import Callable, Dict, Iterator, List, Optional, Set, Tuple

import mindspore as ms
from mindspore import nn

from ghost_ms.kernels import cells
from ghost_ms.kernels.build import Unavailable, library
from ghost_ms.layers.conv import DepthwiseConv2d
from ghost_ms.layers.squeeze_excite import SqueezeExcite

#: Activations that have a kernel; see `kernels.ops.ACTIVATIONS`.
ACTIVATIONS = {nn.ReLU: "relu", nn.ReLU6: "relu6", nn.HSwish: "hswish", nn.HSigmoid: "hsigmoid", nn.SiLU: "silu",
               nn.Sigmoid: "sigmoid", nn.GELU: "gelu"}


def accelerate(net: nn.Cell, choice: str = "auto", float32: bool = True) -> str:
    """Let a network that is otherwise complete compute by the kernels, in place; what was done, '' on an accelerator.

    Call it last: parameters, their names and the outputs up to rounding stay, classes of cells do not.

    Args:
        choice: auto, or off for MindSpore's own operators.
        float32: whether the network computes in float32; the kernels know nothing else.
    """
    if ms.get_context("device_target") != "CPU":
        return ""
    if choice == "off":
        return "CPU kernels off: MindSpore's own operators, as run.kernels says"
    if not float32:
        return "CPU kernels off: they are for float32, and precision.level asks for less"
    try:
        path = library()
    except Unavailable as reason:
        return f"CPU kernels off, which makes a step two to four times slower: {reason}"
    count = _swap(net, path)
    return f"CPU kernels on, for {count} layers"


def accelerated(net: nn.Cell) -> bool:
    """Whether cells of this network compute by the kernels."""
    return any(isinstance(cell, cells.Kernel) for _, cell in net.cells_and_names())


def refuse_accelerated(net: nn.Cell) -> None:
    """ValueError for a network that no file can hold: its operators are a library of this machine."""
    if accelerated(net):
        raise ValueError("this network computes by the CPU kernels of this machine, which no exported file can hold: "
                         "export one that `accelerate` was not called on")


def _swap(net: nn.Cell, path: str) -> int:
    fused, silent = _activations_behind_norms(net)
    count = 0
    for _, cell in list(net.cells_and_names()):
        if id(cell) in silent:
            cells.Passed.take_over(cell)
            continue
        for fits, kind in KINDS:
            arguments = fits(cell)
            if arguments is not None:
                if kind is cells.BatchNormKernel:
                    arguments = (fused.get(id(cell), "none"),)
                kind.take_over(cell, path, *arguments)
                count += 1
                break
    return count


def activation_of(cell: Optional[nn.Cell]) -> Optional[str]:
    """The name of an activation that has a kernel; None of another cell."""
    name = ACTIVATIONS.get(type(cell))
    return None if name == "gelu" and cell.approximate else name


def _activations_behind_norms(net: nn.Cell) -> Tuple[Dict[int, str], Set[int]]:
    """(activation of each BatchNorm that one follows, by id; ids of activations that do nothing else)."""
    fused: Dict[int, str] = {}
    places: Dict[int, int] = {}
    for parent in {id(cell): cell for _, cell in net.cells_and_names()}.values():
        for cell in parent._cells.values():
            places[id(cell)] = places.get(id(cell), 0) + 1
    pairs: Dict[int, List[nn.Cell]] = {}
    for norm, act in _pairs(net):
        pairs.setdefault(id(act), []).append(norm)
    silent = {act for act, norms in pairs.items() if len(norms) == places[act] and all(
        places[id(norm)] == 1 for norm in norms)}
    for norm, act in _pairs(net):
        if id(act) in silent:
            fused[id(norm)] = activation_of(act)
    return fused, silent


def _pairs(net: nn.Cell) -> Iterator[Tuple[nn.Cell, nn.Cell]]:
    """(BatchNorm, activation that alone takes its output), from the sources that `surgery.fold_norms` goes by: cells of
    a sequence, and `acts = (("bn1", "act1"), ...)` of a class."""
    for parent in {id(cell): cell for _, cell in net.cells_and_names()}.values():
        inside = parent._cells
        names = list(inside)
        chain = isinstance(parent, nn.SequentialCell) and type(parent).construct is nn.SequentialCell.construct
        for first, second in (zip(names, names[1:]) if chain else getattr(parent, "acts", ())):
            norm, act = inside.get(first), inside.get(second)
            if type(norm) is nn.BatchNorm2d and activation_of(act):
                yield norm, act


def _pointwise(cell: nn.Cell) -> Optional[tuple]:
    plain = type(cell) is nn.Conv2d and cell.group == 1 and cell.weight.dtype == ms.float32
    return () if plain and cell.kernel_size == (1, 1) == cell.stride and not _padded(cell) else None


def _depthwise(cell: nn.Cell) -> Optional[tuple]:
    if type(cell) not in (nn.Conv2d, DepthwiseConv2d) or cell.weight.dtype != ms.float32:
        return None
    channelwise = cell.group == cell.in_channels == cell.out_channels
    return () if channelwise and cell.pad_mode in ("pad", "valid") else None


def _padded(conv: nn.Conv2d) -> bool:
    padding = conv.padding if isinstance(conv.padding, tuple) else (conv.padding,)
    return conv.pad_mode == "pad" and any(padding)


def _norm(cell: nn.Cell) -> Optional[tuple]:
    return () if type(cell) is nn.BatchNorm2d else None


def _gate(cell: nn.Cell) -> Optional[tuple]:
    return () if type(cell) is SqueezeExcite else None


def _activation(cell: nn.Cell) -> Optional[tuple]:
    name = activation_of(cell)
    return None if name is None else (name,)


#: What takes the place of a cell: (function that gives the kernel's arguments, None where it does not fit; class).
KINDS: Tuple[Tuple[Callable, type], ...] = (
    (_pointwise, cells.PointwiseKernel), (_depthwise, cells.DepthwiseKernel), (_norm, cells.BatchNormKernel),
    (_gate, cells.SqueezeExciteKernel), (_activation, cells.ActivationKernel))
