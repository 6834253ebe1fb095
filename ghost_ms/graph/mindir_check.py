"""A look at a MINDIR file before MindSpore loads it.

MindSpore's loader believes a file: it copies as many bytes of a weight as there are, follows names of other files, and
takes references to what does not exist. What can be held against the rest of the file is, here. What an operation does
with inputs that do not suit it is not known here; `mindir_process` runs files of strangers apart for that reason.
"""
from typing import Any, Dict, Iterable, Set

from ghost_ms.core.mapped import all_of, check_bytes, check_extents, mapped
from ghost_ms.core.protobuf import DOUBLES, FLOATS, INT, INTS, RAW, RAWS, TEXT, TEXTS, Budget, Schema, decode
from ghost_ms.core.text import printable

#: mindspore/core/proto/mind_ir.proto, as far as it is looked at.
_TENSOR: Schema = {
    1: ("dims", INTS), 2: ("data_type", INT), 3: ("float_data", FLOATS), 4: ("int32_data", INTS),
    5: ("string_data", RAWS), 6: ("int64_data", INTS), 7: ("name", TEXT), 9: ("raw_data", RAW),
    10: ("double_data", DOUBLES), 11: ("uint64_data", INTS), 12: ("external_data", RAW), 16: ("compression_type", INT)}
_ATTRIBUTE: Schema = {
    1: ("name", TEXT), 3: ("i", INT), 5: ("s", RAW), 6: ("t", _TENSOR), 8: ("floats", FLOATS), 10: ("ints", INTS),
    11: ("strings", RAWS), 12: ("tensors", [_TENSOR]), 16: ("type", INT)}
_ATTRIBUTE.update({17: ("values", [_ATTRIBUTE])})
_VALUE: Schema = {1: ("name", TEXT), 2: ("tensor", [_TENSOR]), 5: ("attr_info", _ATTRIBUTE)}
_NODE: Schema = {1: ("input", TEXTS), 2: ("output", TEXTS), 3: ("name", TEXT), 4: ("op_type", TEXT),
                 5: ("attribute", [_ATTRIBUTE]), 7: ("domain", TEXT)}
_GRAPH: Schema = {1: ("node", [_NODE]), 2: ("name", TEXT), 3: ("parameter", [_TENSOR]), 5: ("input", [_VALUE]),
                  6: ("output", [_VALUE]), 10: ("map_parameter", RAWS)}
_PRIMITIVE: Schema = {1: ("name", TEXT), 2: ("op_type", TEXT), 3: ("attribute", [_ATTRIBUTE])}
_MODEL: Schema = {2: ("producer_name", TEXT), 7: ("graph", _GRAPH), 8: ("functions", [_GRAPH]),
                  9: ("preprocessor", RAW), 10: ("little_endian", INT), 12: ("primitives", [_PRIMITIVE])}
#: Bytes of an element by the codes of TensorProto.DataType, of those with elements of whole bytes.
_ITEM = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2, 17: 8}
#: Ways to store values that MindSpore's export does not use.
_OTHER_DATA = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
#: Most bytes of what is not weights.
_MOST_STRUCTURE = 64 << 20


def check_mindir(path: str) -> None:
    """Look through a file without loading it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut, damaged or encrypted, a weight has other bytes than its shape, a name means nothing, or
            it refers to other files.
    """
    with mapped(path, "MINDIR") as data:
        model = decode(data, _MODEL, Budget())
        if "graph" not in model:
            raise ValueError("holds no network")
        if model.get("preprocessor") or not model.get("little_endian", 1):
            raise ValueError("holds what no export here writes (data operations, or numbers of another byte order)")
        primitives = [primitive.get("name") for primitive in model.get("primitives", [])]
        if None in primitives or len(set(primitives)) < len(primitives):
            raise ValueError("holds operations without a name of their own")
        graphs = [model["graph"], *model.get("functions", [])]
        known = {graph.get("name", "") for graph in graphs[1:]} | {f"REF::{name}" for name in primitives}
        structure = len(data) - sum(_check_graph(graph, known) for graph in graphs)
        if structure > _MOST_STRUCTURE:
            raise ValueError(f"holds {structure} bytes besides its weights")
        for primitive in model.get("primitives", []):
            _check_attributes(primitive.get("attribute", []))


def _check_graph(graph: Dict[str, Any], known: Set[str]) -> int:
    """Bytes of the weights of a graph; ValueError (half a sentence) where it cannot be.

    Args:
        known: names that all graphs may refer to.
    """
    if not graph.get("output") or graph.get("map_parameter"):
        raise ValueError("holds a network without outputs, or with a map of parameters")
    defined = set(known)
    for value in all_of(graph, "input", "output"):
        for tensor in value.get("tensor", []):
            _check_abstract(tensor)
        _check_attributes([value.get("attr_info", {})])
    for value in graph.get("input", []):
        _define(value.get("name"), defined)
    for weight in graph.get("parameter", []):
        _check_weight(weight)
        _define(weight.get("name"), defined)
    for node in graph.get("node", []):
        kind = node.get("op_type", "")
        # A branch is called by the name of the value that chose it.
        if kind.startswith("REF::") and kind not in known and kind[len("REF::"):] not in defined:
            raise ValueError(f"holds the operation {_name(node)}, which it does not describe")
        for source in node.get("input", []):
            if source not in defined and source not in known:
                raise ValueError(f"holds the operation {_name(node)}, which takes what nothing gives")
        if len(node.get("output", [])) != 1 or not node.get("op_type"):
            raise ValueError(f"holds the operation {_name(node)} without a kind or without one output")
        _check_attributes(node.get("attribute", []))
        _define(node["output"][0], defined)
    for value in graph["output"]:
        if value.get("name") not in defined:
            raise ValueError("has an output that nothing gives")
    return sum(len(weight["raw_data"]) for weight in graph.get("parameter", []))


def _define(name: Any, defined: Set[str]) -> None:
    if not name or name in defined:
        raise ValueError(f"defines {printable(name)[:100]!r} twice" if name else "holds a value without a name")
    defined.add(name)


def _name(node: Dict[str, Any]) -> str:
    return repr(printable(node.get("name", ""))[:100])


def _check_weight(tensor: Dict[str, Any]) -> None:
    what = f"the weight {printable(tensor.get('name', ''))[:100]!r}"
    _check_storage(tensor, what)
    check_bytes(tensor.get("dims", []), len(tensor.get("raw_data", b"")), _ITEM[tensor["data_type"]], what)
    tensor.setdefault("raw_data", b"")


def _check_abstract(tensor: Dict[str, Any]) -> None:
    """A tensor that may be a type and extents alone."""
    _check_storage(tensor, "a value")
    if "raw_data" in tensor:
        check_bytes(tensor.get("dims", []), len(tensor["raw_data"]), _ITEM[tensor["data_type"]], "a constant")
    else:
        check_extents(tensor.get("dims", []), "a value", open_ones=True)


def _check_storage(tensor: Dict[str, Any], what: str) -> None:
    if tensor.get("data_type") not in _ITEM:
        raise ValueError(f"holds {what} of the type {tensor.get('data_type')}, which is not known")
    if "external_data" in tensor:
        raise ValueError(f"keeps {what} in another file, which is not followed; export it into one file")
    if tensor.get("compression_type") or any(name in tensor for name in _OTHER_DATA):
        raise ValueError(f"holds {what} in a form that no export here writes")


def _check_attributes(attributes: Iterable[Dict[str, Any]]) -> None:
    for attribute in attributes:
        for tensor in [*attribute.get("tensors", []), *([attribute["t"]] if "t" in attribute else [])]:
            _check_abstract(tensor)
        _check_attributes(attribute.get("values", []))
