"""What a network costs: parameters, multiply-accumulates and activations of every layer, for any input size.

The network is run once on zeros in PyNative mode, and the operators that multiply matrices or convolve are watched as
they run, whichever layer or function calls them. So what is counted is what runs, attention included.

One multiply-accumulate (MAC) is one product and its addition. Convolutions and matrix products have them; biases,
norms, activations, poolings, softmax and other element-wise work are not counted, as in the papers, which call the
number FLOPs. Products with constant tables, by which this project resizes and averages maps, are not counted either:
they stand for operators that have none (see `RESAMPLING`).
Activations are the elements that the same operators write (Radosavovic et al., arXiv 2003.13678, section 3.2).
"""
import contextlib
import dataclasses
import json
import sys
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.ops import auto_generate as generated


@dataclasses.dataclass
class Layer:
    """One cell of a network, or a whole part of it.

    Args:
        name: path of the cell, '' for the network itself.
        kind: class of the cell.
        output: shape of what it gave last; None where it is never called.
        params: trainable parameters that it holds itself.
        macs, activations: of the operators that it calls itself.
        depthwise: MACs among them of convolutions with one input channel a filter.
    """

    name: str
    kind: str
    output: Optional[Tuple[int, ...]] = None
    params: int = 0
    macs: int = 0
    activations: int = 0
    depthwise: int = 0


def _convolution(_, x: Tensor, weight: Tensor, *__) -> int:
    return int(np.prod(weight.shape[1:]))


def _product(primitive, a: Tensor, *_) -> int:
    return a.shape[-2] if getattr(primitive, "transpose_a", False) else a.shape[-1]


def _is_depthwise(primitive, _: Tensor, weight: Tensor, *__) -> bool:
    return isinstance(primitive, ops.Conv2D) and primitive.group > 1 and weight.shape[1] == 1


#: Operators that are counted; each function gives the MACs of one element of the output.
OPERATORS: Dict[type, Callable[..., int]] = {
    ops.Conv2D: _convolution, ops.MatMul: _product, ops.BatchMatMul: _product, generated.MatMulExt: _product,
    generated.BatchMatMulExt: _product, generated.Dense: _product}

#: Modules whose products have a constant table as one factor.
RESAMPLING = ("ghost_ms.layers.pool", "ghost_ms.layers.upsample")


def _caller() -> str:
    """The module of this package that called the operator."""
    frame = sys._getframe(2)
    while frame.f_back is not None and not frame.f_globals["__name__"].startswith("ghost_ms."):
        frame = frame.f_back
    return frame.f_globals["__name__"]


@contextlib.contextmanager
def _watched(record: Callable[[int, Tensor, bool], None]) -> Iterator[None]:
    """Call `record` with MACs and output of every counted operator, and whether it is a depthwise convolution, while
    this lasts."""
    def wrap(run: Callable, each: Callable[..., int]) -> Callable:
        def call(primitive, *args):
            output = run(primitive, *args)
            if _caller() not in RESAMPLING:
                record(output.size * each(primitive, *args), output, _is_depthwise(primitive, *args))
            return output
        return call

    own = {kind: vars(kind).get("__call__") for kind in OPERATORS}
    for kind, each in OPERATORS.items():
        kind.__call__ = wrap(kind.__call__, each)
    try:
        yield
    finally:
        for kind, call in own.items():
            if call is None:
                del kind.__call__
            else:
                kind.__call__ = call


def count_layers(net: nn.Cell, channels: int, input_size: Tuple[int, int]) -> List[Layer]:
    """Every cell of a network in the order in which it first ends, those that are not called last.

    Args:
        net: images to anything; it is put into evaluation mode.
        input_size: (height, width) of the one image that is counted.
    """
    layers = {name: Layer(name, type(cell).__name__, params=sum(p.size for p in _own(cell)))
              for name, cell in net.cells_and_names()}
    stack, done, handles = [], {}, []

    def enter(name: str) -> Callable:
        return lambda cell, inputs: stack.append(layers[name])

    def leave(name: str) -> Callable:
        def hook(cell, inputs, output):
            stack.pop()
            first = output[0] if isinstance(output, (tuple, list)) else output
            layers[name].output = tuple(first.shape)
            done[name] = None
        return hook

    def record(macs: int, output: Tensor, depthwise: bool) -> None:
        stack[-1].macs += macs
        stack[-1].depthwise += macs * depthwise
        stack[-1].activations += output.size

    for name, cell in net.cells_and_names():
        handles += [cell.register_forward_pre_hook(enter(name)), cell.register_forward_hook(leave(name))]
    mode = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        with _watched(record):
            net.set_train(False)(Tensor(np.zeros((1, channels, *input_size), np.float32)))
    finally:
        ms.set_context(mode=mode)
        for handle in handles:
            handle.remove()
    return [layers[name] for name in [*done, *(name for name in layers if name not in done)]]


def _own(cell: nn.Cell) -> Sequence[Parameter]:
    return [p for _, p in cell.parameters_and_names(expand=False) if p.requires_grad]


def part_of(layers: Sequence[Layer], depth: int) -> List[Layer]:
    """Layers summed over the parts of a network that names of so many components tell apart; 0 keeps every layer.

    Parts that neither hold parameters nor multiply anything are left out.
    """
    shapes = {layer.name: layer for layer in layers}
    parts: Dict[str, Layer] = {}
    for layer in layers:
        name = ".".join(layer.name.split(".")[:depth]) if depth else layer.name
        if name not in parts:
            parts[name] = Layer(name, shapes[name].kind)
        part = parts[name]
        # A list of cells is never called itself; what its last cell gave stands for it.
        part.output = shapes[name].output or layer.output or part.output
        part.params, part.macs = part.params + layer.params, part.macs + layer.macs
        part.activations, part.depthwise = part.activations + layer.activations, part.depthwise + layer.depthwise
    return [part for part in parts.values() if part.params or part.macs]


def total(layers: Sequence[Layer]) -> Layer:
    """The sum of all layers."""
    return Layer("", "total", None, *(sum(getattr(layer, name) for layer in layers)
                                      for name in ("params", "macs", "activations", "depthwise")))


def main(argv: Sequence[str]) -> None:
    """Count the networks that match the patterns (by default all) and enter their activations into the table."""
    from ghost_ms.core import device
    from ghost_ms.core.files import write_text
    from ghost_ms.factory import create_model
    from ghost_ms.models import list_models, model_card
    from ghost_ms.models.table import ACTIVATIONS, read_activations

    device.setup("CPU", mode="pynative")
    for name in sorted({name for pattern in argv or ["*"] for name in list_models(pattern)}):
        card = model_card(name)
        counted = total(count_layers(create_model(name, input_size=card.input_size), 3, card.input_size))
        print(f"{name}: {counted.macs / 1e6:.2f} M MACs ({counted.macs / card.macs - 1:+.3%} to the card), "
              f"{counted.activations / 1e6:.2f} M activations", flush=True)
        table = {**read_activations(), name: counted.activations}
        write_text(ACTIVATIONS, json.dumps({key: table[key] for key in sorted(table)}, indent=0) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
