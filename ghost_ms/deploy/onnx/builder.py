"""An ONNX graph while it is built: nodes that can still be changed, initialisers, and names that say where from."""
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from ghost_ms.graph.mindir_graph import Tensor, Weight

#: The lowest with one node for each of HardSwish (14), LayerNormalization (17) and Gelu (20).
OPSET, IR_VERSION = 20, 9


class Node:
    """An ONNX node; the lists of inputs and outputs may be changed until `Builder.model`."""

    def __init__(self, kind: str, name: str, inputs: List[str], outputs: List[str], attributes: Dict[str, Any]):
        self.kind, self.name, self.inputs, self.outputs, self.attributes = kind, name, inputs, outputs, attributes


class Builder:
    """Collects the nodes and initialisers of a graph.

    `scope` is the operation that is being translated; its nodes and their tensors are named after it. `uses` counts
    how many operations of the source take a tensor, `shapes` holds what is known of the extents (-1 where open).
    """

    def __init__(self):
        self.nodes: List[Node] = []
        self.constants: Dict[str, np.ndarray] = {}
        self.shapes: Dict[str, Tuple[int, ...]] = {}
        self.inputs: List[str] = []
        self.outputs: List[str] = []
        self.scope = ""
        self._names: Dict[str, str] = {}
        self.uses: Dict[str, int] = {}
        self._constant_names: Dict[tuple, str] = {}
        self._taken: set = set()

    def unique(self, name: str) -> str:
        """`name`, or with a number behind it where it is taken."""
        candidate, number = name, 1
        while candidate in self._taken:
            number += 1
            candidate = f"{name}_{number}"
        self._taken.add(candidate)
        return candidate

    def name(self, value: Union[Tensor, Weight, str, np.ndarray]) -> str:
        """The ONNX name of an argument; a constant becomes an initialiser."""
        if isinstance(value, str):
            return value
        if isinstance(value, Tensor):
            return self._names[value.name]
        return self.constant(value.array, value.name) if isinstance(value, Weight) else self.constant(value)

    def bind(self, tensor: Tensor, name: str) -> None:
        """Let a tensor of the source be known by an ONNX name."""
        self._names[tensor.name] = name
        self.shapes[name] = tensor.shape

    def constant(self, array: Any, name: str = "") -> str:
        """Name of an initialiser with these values; equal nameless constants are one.

        All integers become int64, which is what ONNX's own operations give (TopK) and take (shapes).
        """
        array = np.asarray(array)
        if array.dtype == np.int32:
            array = array.astype(np.int64)
        key = (name,) if name else (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constant_names:
            chosen = self.unique(name or f"{self.scope}/constant")
            self._constant_names[key] = chosen
            self.constants[chosen] = array
            self.shapes[chosen] = array.shape
        return self._constant_names[key]

    def integers(self, *values: int) -> str:
        """Name of a vector of int64."""
        return self.constant(np.asarray(values, np.int64))

    def node(self, kind: str, inputs: Sequence, outputs: int = 1, shape: Optional[Sequence[int]] = None,
             **attributes) -> Any:
        """Append a node; the name of its output, or the list of names where there are several.

        Args:
            inputs: names, or what `name` takes.
            shape: of the single output, where it is known.
        """
        taken = [self.name(value) for value in inputs]
        name = self.unique(f"{self.scope}/{kind}")
        names = [name] if outputs == 1 else [f"{name}:{index}" for index in range(outputs)]
        self.nodes.append(Node(kind, name, taken, names, attributes))
        if shape is not None:
            self.shapes[names[0]] = tuple(shape)
        return names[0] if outputs == 1 else names

    def producer(self, name: str) -> Optional[Node]:
        """The node that computes a tensor, looked for among the latest first."""
        return next((node for node in reversed(self.nodes) if name in node.outputs), None)

    def drop_dead(self) -> None:
        """Remove the nodes and the initialisers that no output depends on."""
        needed, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in needed}
