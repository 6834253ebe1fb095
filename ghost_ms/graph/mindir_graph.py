"""An exported MindIR file as a list of tensor operations.

MINDIR is a protobuf whose schema ships with MindSpore. Besides the operations it holds what only MindSpore's runtime
needs (Load, Depend, UpdateState) and tuples that are made and taken apart; here these are resolved, so that an
operation's inputs are tensors, weights, and Python constants.
"""
import collections
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np
from mindspore.train.mind_ir_pb2 import AttributeProto, ModelProto, TensorProto

from ghost_ms.core.text import printable
from ghost_ms.graph.mindir_check import check_mindir

#: NumPy types by the codes of the schema.
DTYPES = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16, TensorProto.DOUBLE: np.float64,
          TensorProto.FLOAT64: np.float64, TensorProto.BOOL: np.bool_, TensorProto.UINT8: np.uint8,
          TensorProto.INT8: np.int8, TensorProto.INT32: np.int32, TensorProto.INT64: np.int64}
#: Operations that compute nothing.
RUNTIME = ("Constant", "Load", "Depend", "UpdateState", "MakeTuple", "TupleGetItem")


class Tensor(NamedTuple):
    """A computed tensor; an extent of its shape is -1 where only the call decides it."""

    name: str
    shape: Tuple[int, ...]
    dtype: Any


class Weight(NamedTuple):
    """A constant tensor; `name` is the parameter's, or empty for a constant of the code."""

    name: str
    array: np.ndarray


class Abstract(NamedTuple):
    """Shape and type of a tensor without its values."""

    shape: Tuple[int, ...]
    dtype: Any


class Operation(NamedTuple):
    """One computation.

    Args:
        kind: name of the primitive, such as 'Conv2D'.
        name: unique in the graph; begins with the cells it stands in, such as 'conv1-SequentialCell/0-Conv2d'.
        inputs: Tensor, Weight, numbers, strings, None, and tuples of these.
        attributes: of the primitive.
        outputs: the tensors it computes.
    """

    kind: str
    name: str
    inputs: tuple
    attributes: Dict[str, Any]
    outputs: Tuple[Tensor, ...]


class Graph(NamedTuple):
    """A file's inputs, operations in order, and outputs."""

    inputs: Tuple[Tensor, ...]
    operations: List[Operation]
    outputs: Tuple[Tensor, ...]


def read_graph(path: str) -> Graph:
    """The graph of a MINDIR file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged; it has control flow, which no translation here knows, or a type that NumPy lacks.
    """
    try:
        return _graph(_read(path))
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"'{path}' is not a valid MINDIR file: it contradicts itself ({type(error).__name__}: "
                         f"{printable(error)[:200]})") from None


def _graph(proto: ModelProto) -> Graph:
    if proto.functions:
        raise ValueError(f"the graph branches on values that only a call decides ({len(proto.functions)} subgraphs), "
                         "which cannot be translated; export with a fixed --batch_size")
    primitives = {primitive.name: (primitive.op_type, {a.name: _value(a) for a in primitive.attribute})
                  for primitive in proto.primitives}
    inputs = tuple(Tensor(value.name, tuple(value.tensor[0].dims), DTYPES[value.tensor[0].data_type])
                   for value in proto.graph.input)
    values: Dict[str, Any] = {tensor.name: tensor for tensor in inputs}
    for parameter in proto.graph.parameter:
        values[parameter.name] = Weight(parameter.name.split(":", 1)[-1], _array(parameter))
    operations = []
    for node in proto.graph.node:
        kind, attributes = primitives.get(node.op_type[len("REF::"):], (node.op_type, {}))
        own = {a.name: _value(a) for a in node.attribute}
        if kind == "Constant":
            values[node.output[0]] = own["value"]
            continue
        arguments = tuple(values[name] for name in node.input)
        if kind in RUNTIME:
            values[node.output[0]] = _resolve(kind, arguments)
            continue
        outputs = _outputs(node.output[0], own.get("shape"))
        values[node.output[0]] = outputs[0] if isinstance(own.get("shape"), Abstract) else outputs
        operations.append(Operation(kind, _readable(node.domain) or node.name, arguments, attributes, outputs))
    return Graph(inputs, operations, tuple(_flat(values[value.name] for value in proto.graph.output)))


def _flat(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors of outputs, which may be tuples of tensors and of tuples."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple) and not isinstance(value, (Weight, Abstract)):
            yield from _flat(value)
        else:
            raise ValueError("an output is no tensor that the network computes")


def count_operations(path: str) -> Dict[str, int]:
    """How often each primitive stands in a MINDIR file, most frequent first, without what only the runtime needs."""
    counts = collections.Counter(operation.kind for operation in read_graph(path).operations)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def name_ends(source: str, target: str, input_name: str, output_names: Sequence[str]) -> None:
    """Copy a MINDIR and name its first input and its outputs; MindSpore names them after source lines. Outputs that
    stand in a tuple, which is one value of the graph, keep their order for a name."""
    proto = _read(source)
    ends = [(proto.graph.input[0], input_name)]
    if len(output_names) == len(proto.graph.output):
        ends += zip(proto.graph.output, output_names)
    names = {end.name: name for end, name in ends}
    for end, name in ends:
        end.name = name
    for node in proto.graph.node:
        for ends in (node.input, node.output):
            ends[:] = [names.get(end, end) for end in ends]
    with open(target, "wb") as file:
        file.write(proto.SerializeToString())


def _read(path: str) -> ModelProto:
    check_mindir(path)
    proto = ModelProto()
    with open(path, "rb") as file:
        proto.ParseFromString(file.read())
    return proto


def _resolve(kind: str, arguments: tuple) -> Any:
    if kind == "MakeTuple":
        return arguments
    if kind == "TupleGetItem":
        return arguments[0][arguments[1]] if isinstance(arguments[0], tuple) and arguments[0] else None
    return arguments[0]


def _outputs(name: str, shape: Any) -> Tuple[Tensor, ...]:
    """Tensors of a node, from its attribute `shape`."""
    parts = (shape,) if isinstance(shape, Abstract) else shape or ()
    return tuple(Tensor(f"{name}:{index}" if index else name, part.shape, part.dtype)
                 if isinstance(part, Abstract) else None for index, part in enumerate(parts))


def _value(attribute: AttributeProto) -> Any:
    """What an attribute holds, as a Python value; a tensor without data is an Abstract."""
    kind = attribute.type
    if kind in (AttributeProto.TUPLE, AttributeProto.LIST):
        return tuple(_value(part) for part in attribute.values)
    if kind == AttributeProto.TENSORS:
        return _tensor(attribute.tensors[0])
    if kind == AttributeProto.TENSOR:
        return _tensor(attribute.t)
    if kind == AttributeProto.STRING:
        return attribute.s.decode()
    if kind == AttributeProto.BOOL:
        return bool(attribute.i)
    if kind == AttributeProto.FLOAT:
        return attribute.f
    if kind == AttributeProto.DOUBLE:
        return attribute.d
    if AttributeProto.UINT8 <= kind <= AttributeProto.INT64 or kind in (AttributeProto.UINT32, AttributeProto.UINT64):
        # Inside a tuple a number stands in the repeated field.
        return attribute.ints[0] if attribute.ints else attribute.i
    return None


def _tensor(proto: TensorProto) -> Any:
    if proto.raw_data:
        return Weight("", _array(proto))
    return Abstract(tuple(proto.dims), DTYPES[proto.data_type])


def _array(proto: TensorProto) -> np.ndarray:
    if proto.data_type not in DTYPES:
        raise ValueError(f"'{proto.name}' has the type {TensorProto.DataType.Name(proto.data_type)}, which cannot be "
                         "translated")
    return np.frombuffer(proto.raw_data, DTYPES[proto.data_type]).reshape(tuple(proto.dims))


def _readable(scope: str) -> str:
    """Default/stage2-SequentialCell/Conv2D-op0 -> stage2-SequentialCell/Conv2D-op0."""
    return scope[len("Default/"):] if scope.startswith("Default/") else scope
