"""Networks that compute by the kernels: their cells change their class, and nothing else of them."""
from typing import Callable, Dict, Iterator, List, Optional, Set, Tuple, Type

import mindspore as ms
from mindspore import nn

from ghost_ms.kernels import cells
from ghost_ms.kernels.build import Unavailable, library
from ghost_ms.layers.attention import ScaledDotProductAttention
from ghost_ms.layers.conv import DepthwiseConv2d
from ghost_ms.layers.ghost import GhostModule
from ghost_ms.layers.graph import LargestIndices
from ghost_ms.layers.squeeze_excite import SqueezeExcite
from ghost_ms.layers.waves import Cosine, Sine

#: Activations that have a kernel; see `kernels.ops.ACTIVATIONS`.
ACTIVATIONS = {nn.ReLU: "relu", nn.ReLU6: "relu6", nn.HSwish: "hswish", nn.HSigmoid: "hsigmoid", nn.SiLU: "silu",
               nn.Sigmoid: "sigmoid", nn.GELU: "gelu", Sine: "sin", Cosine: "cos"}


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
        return "CPU kernels off: MindSpore's own operators, as asked"
    if not float32:
        return "CPU kernels off: they are for float32, and precision.level asks for less"
    try:
        path = library()
    except Unavailable as reason:
        return f"CPU kernels off, which makes a step two to three times slower: {reason}"
    count = _swap(net, path)
    return f"CPU kernels on, for {count} layers"


def fallback(net: nn.Cell, choice: str) -> List[str]:
    """`accelerate`, for a command that uses a network and trains none: a sentence where it has to do without."""
    said = accelerate(net, choice)
    return [said] if said and choice != "off" and not accelerated(net) else []


def accelerated(net: nn.Cell) -> bool:
    """Whether cells of this network compute by the kernels."""
    return any(isinstance(cell, cells.Kernel) for _, cell in net.cells_and_names())


def refuse_accelerated(net: nn.Cell) -> None:
    """ValueError for a network that no file can hold: its operators are a library of this machine."""
    if accelerated(net):
        raise ValueError("this network computes by the CPU kernels of this machine, which no exported file can hold: "
                         "export one that `accelerate` was not called on")


def _swap(net: nn.Cell, path: str) -> int:
    behind, silent = _activations(net)
    # A module is looked at before its cells change.
    modules = [(cell, arguments) for cell in _distinct(net) for arguments in [_ghost_module(cell, behind)] if arguments]
    count = 0
    for cell in _distinct(net):
        if id(cell) in silent:
            cells.Passed.take_over(cell)
            continue
        for fits, kind in KINDS:
            arguments = fits(cell)
            if arguments is not None:
                if kind in TAKE_ACTIVATIONS:
                    arguments = (behind.get(id(cell), "none"),)
                kind.take_over(cell, path, *arguments)
                count += 1
                break
    for cell, arguments in modules:
        cells.GhostModuleKernel.take_over(cell, path, *arguments)
    return count


def _distinct(net: nn.Cell) -> List[nn.Cell]:
    """Every cell once."""
    return list({id(cell): cell for _, cell in net.cells_and_names()}.values())


def activation_of(cell: Optional[nn.Cell]) -> Optional[str]:
    """The name of an activation that has a kernel; None of another cell."""
    name = ACTIVATIONS.get(type(cell))
    # The cell keeps 'none' or 'tanh', whichever way it was told; by tanh it has no kernel.
    return None if name == "gelu" and cell.approximate not in (False, "none") else name


def _activations(net: nn.Cell) -> Tuple[Dict[int, str], Set[int]]:
    """(activation of each cell that computes the one behind it too, by id; ids of activations that then do nothing)."""
    places: Dict[int, int] = {}
    for parent in _distinct(net):
        for cell in parent._cells.values():
            places[id(cell)] = places.get(id(cell), 0) + 1
    pairs: Dict[int, List[nn.Cell]] = {}
    names: Dict[int, str] = {}
    for cell, act in _pairs(net):
        pairs.setdefault(id(act), []).append(cell)
        names[id(act)] = activation_of(act)
    # An activation may stand in several places, and has to do nothing in all of them or in none.
    silent = {act for act, ahead in pairs.items()
              if len(ahead) == places[act] and all(places[id(cell)] == 1 for cell in ahead)}
    return {id(cell): names[act] for act in silent for cell in pairs[act]}, silent


def _pairs(net: nn.Cell) -> Iterator[Tuple[nn.Cell, nn.Cell]]:
    """(BatchNorm or convolution, activation that alone takes its output).

    From the sources that `surgery.fold_norms` goes by: cells of a sequence, and what a class states, `folds` and
    `acts = (("bn1", "act1"), ...)`. A folded BatchNorm has left an Identity behind.
    """
    for parent in _distinct(net):
        inside = parent._cells
        if isinstance(parent, nn.SequentialCell):
            if type(parent).construct is not nn.SequentialCell.construct:
                continue
            chain = [cell for cell in inside.values() if type(cell) is not nn.Identity]
            found = list(zip(chain, chain[1:]))
        else:
            ahead = {norm: conv for conv, norm in getattr(parent, "folds", ())}
            found = [(inside.get(ahead.get(norm, norm)) if type(inside.get(norm)) is nn.Identity else inside.get(norm),
                      inside.get(act)) for norm, act in getattr(parent, "acts", ())]
        for cell, act in found:
            if activation_of(act) and any(fits(cell) is not None for fits, kind in KINDS if kind in TAKE_ACTIVATIONS):
                yield cell, act


def _ghost_module(cell: nn.Cell, behind: Dict[int, str]) -> Optional[tuple]:
    """(activation, whether its norms are folded) of a module that is computed whole; None of any other cell."""
    if type(cell) is not GhostModule or not cell.exact:
        return None
    # What is left of each half when the activation behind it is computed with it.
    halves = [[part for part in half.cell_list if type(part) is not nn.Identity and activation_of(part) is None]
              for half in (cell.primary_conv, cell.cheap_operation)]
    acts = [behind.get(id(half[-1]), "none") for half in halves]
    stated = [[activation_of(part) for part in half.cell_list if activation_of(part)] or ["none"]
              for half in (cell.primary_conv, cell.cheap_operation)]
    (first, *norm), (second, *norm2) = halves
    if stated != [[act] for act in acts] or acts[0] != acts[1] or len(norm) != len(norm2) or len(norm) > 1:
        return None
    if _pointwise(first) is None or _depthwise(second) is None:
        return None
    if not second.in_channels == second.out_channels == first.out_channels:
        return None
    if second.stride != (1, 1) or cells.geometry_of(second).size(64, 64) != (64, 64):
        return None
    folded = not norm
    fits = first.has_bias and second.has_bias if folded else not (first.has_bias or second.has_bias) and all(
        _norm(one) is not None for one in norm + norm2)
    return (acts[0], folded) if fits else None


def _pointwise(cell: nn.Cell) -> Optional[tuple]:
    plain = type(cell) is nn.Conv2d and cell.group == 1 and cell.weight.dtype == ms.float32
    return () if plain and cell.kernel_size == (1, 1) == cell.stride and not _padded(cell) else None


def _depthwise(cell: nn.Cell) -> Optional[tuple]:
    if type(cell) not in (nn.Conv2d, DepthwiseConv2d) or cell.weight.dtype != ms.float32:
        return None
    # Of several channels of the input each, where there are more of these.
    return () if cell.group == cell.out_channels and cells.geometry_of(cell) is not None else None


def _convolution(cell: nn.Cell) -> Optional[tuple]:
    if type(cell) is not nn.Conv2d or cell.weight.dtype != ms.float32 or cells.geometry_of(cell) is None:
        return None
    # A group of fewer outputs would leave most of a product's registers idle.
    return () if cell.out_channels // cell.group >= 4 else None


def _padded(conv: nn.Conv2d) -> bool:
    padding = conv.padding if isinstance(conv.padding, tuple) else (conv.padding,)
    return conv.pad_mode == "pad" and any(padding)


def _norm(cell: nn.Cell) -> Optional[tuple]:
    return () if type(cell) is nn.BatchNorm2d else None


def _dense(cell: nn.Cell) -> Optional[tuple]:
    return () if type(cell) is nn.Dense and not cell.activation_flag and cell.weight.dtype == ms.float32 else None


def _layer_norm(cell: nn.Cell) -> Optional[tuple]:
    return () if type(cell) is nn.LayerNorm and cell.begin_norm_axis == cell.begin_params_axis == -1 else None


def _softmax(cell: nn.Cell) -> Optional[tuple]:
    return () if type(cell) is nn.Softmax and cell.softmax.axis in (-1, (-1,)) else None


def _attention(cell: nn.Cell) -> Optional[tuple]:
    return () if type(cell) is ScaledDotProductAttention else None


def _largest(cell: nn.Cell) -> Optional[tuple]:
    return () if type(cell) is LargestIndices else None


def _gate(cell: nn.Cell) -> Optional[tuple]:
    return () if type(cell) is SqueezeExcite else None


def _activation(cell: nn.Cell) -> Optional[tuple]:
    name = activation_of(cell)
    return None if name is None else (name,)


#: What takes the place of a cell: (function that gives the kernel's arguments, None where it does not fit; class).
KINDS: Tuple[Tuple[Callable, Type[cells.Kernel]], ...] = (
    (_pointwise, cells.PointwiseKernel), (_depthwise, cells.DepthwiseKernel), (_convolution, cells.ConvolutionKernel),
    (_norm, cells.BatchNormKernel),
    (_gate, cells.SqueezeExciteKernel), (_activation, cells.ActivationKernel),
    (_dense, cells.DenseKernel), (_layer_norm, cells.LayerNormKernel), (_softmax, cells.SoftmaxKernel),
    (_attention, cells.AttentionKernel), (_largest, cells.LargestIndicesKernel))
#: Those that compute an activation behind them too.
TAKE_ACTIVATIONS = (cells.PointwiseKernel, cells.DepthwiseKernel, cells.ConvolutionKernel, cells.BatchNormKernel)
