"""A look at an ONNX file before ONNX Runtime, or the onnx package, gets it.

Both can be led out of the file: weights may be said to stand in other files, of any path, and operators of other
domains may come of libraries. Both compute what the file asks for while they load it. `check_onnx` looks at the file
alone; `check_sizes` asks onnx for the size of everything that would be computed.
"""
from typing import Any, Dict

from ghost_ms.core.mapped import check_bytes, check_extents, mapped
from ghost_ms.core.protobuf import DOUBLES, FLOATS, INT, INTS, RAW, RAWS, TEXT, TEXTS, Budget, Schema, decode
from ghost_ms.core.text import printable

#: onnx/onnx.proto, as far as it is looked at.
_TENSOR: Schema = {
    1: ("dims", INTS), 2: ("data_type", INT), 3: ("segment", RAW), 4: ("float_data", FLOATS), 5: ("int32_data", INTS),
    6: ("string_data", RAWS), 7: ("int64_data", INTS), 8: ("name", TEXT), 9: ("raw_data", RAW),
    10: ("double_data", DOUBLES), 11: ("uint64_data", INTS), 13: ("external_data", RAWS), 14: ("data_location", INT)}
_ATTRIBUTE: Schema = {
    1: ("name", TEXT), 5: ("t", _TENSOR), 6: ("g", RAW), 8: ("ints", INTS), 10: ("tensors", [_TENSOR]),
    11: ("graphs", RAWS), 22: ("sparse_tensor", RAW), 23: ("sparse_tensors", RAWS)}
_NODE: Schema = {1: ("input", TEXTS), 2: ("output", TEXTS), 3: ("name", TEXT), 4: ("op_type", TEXT),
                 5: ("attribute", [_ATTRIBUTE]), 7: ("domain", TEXT)}
_SHAPE: Schema = {1: ("dim", [{2: ("dim_param", TEXT)}])}
_VALUE: Schema = {1: ("name", TEXT), 2: ("type", {1: ("tensor_type", {2: ("shape", _SHAPE)})})}
_GRAPH: Schema = {1: ("node", [_NODE]), 5: ("initializer", [_TENSOR]), 11: ("input", [_VALUE]),
                  12: ("output", [_VALUE]), 13: ("value_info", [_VALUE]), 15: ("sparse_initializer", RAWS)}
_MODEL: Schema = {1: ("ir_version", INT), 7: ("graph", _GRAPH), 8: ("opset_import", [{1: ("domain", TEXT)}]),
                  20: ("training_info", RAWS), 25: ("functions", RAWS)}
#: By the codes of TensorProto.DataType: bytes of an element, and the field of the values where raw_data has none.
_TYPES = {1: (4, "float_data"), 2: (1, "int32_data"), 3: (1, "int32_data"), 4: (2, "int32_data"), 5: (2, "int32_data"),
          6: (4, "int32_data"), 7: (8, "int64_data"), 9: (1, "int32_data"), 10: (2, "int32_data"),
          11: (8, "double_data"), 12: (4, "uint64_data"), 13: (8, "uint64_data"), 16: (2, "int32_data")}
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data", "raw_data")
#: ONNX's own operators; those of other domains come of libraries.
_DOMAINS = ("", "ai.onnx")
#: Most bytes of what is not weights.
_MOST_STRUCTURE = 64 << 20


def check_onnx(path: str) -> None:
    """Look through a file without loading it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut or damaged, a weight has other bytes than its shape, it keeps weights in other files, or
            holds operators of other domains, branches or loops.
    """
    with mapped(path, "ONNX") as data:
        model = decode(data, _MODEL, Budget())
        graph = model.get("graph")
        if not graph or "ir_version" not in model or not graph.get("input") or not graph.get("output"):
            raise ValueError("holds no network with inputs and outputs")
        if any(model.get(name) for name in ("training_info", "functions")) or graph.get("sparse_initializer"):
            raise ValueError("holds functions, training or sparse weights, which no export here writes")
        for used in model.get("opset_import", []):
            _check_domain(used.get("domain", ""), "operators")
        weights = 0
        for tensor in graph.get("initializer", []):
            weights += _check_tensor(tensor, f"the weight {printable(tensor.get('name', ''))[:100]!r}")
        for node in graph.get("node", []):
            _check_node(node)
        if len(data) - weights > _MOST_STRUCTURE:
            raise ValueError(f"holds {len(data) - weights} bytes besides its weights")


def _check_domain(domain: str, what: str) -> None:
    if domain not in _DOMAINS:
        raise ValueError(f"holds {what} of the domain {printable(domain)[:100]!r}, which would need a library of its "
                         "own; only ONNX's own are run")


def _check_node(node: Dict[str, Any]) -> None:
    what = f"the operator {printable(node.get('op_type', ''))[:100]!r}"
    _check_domain(node.get("domain", ""), what)
    for attribute in node.get("attribute", []):
        if any(name in attribute for name in ("g", "graphs", "sparse_tensor", "sparse_tensors")):
            raise ValueError(f"holds {what} with a graph or a sparse tensor of its own, which no export here writes")
        for tensor in [*attribute.get("tensors", []), *([attribute["t"]] if "t" in attribute else [])]:
            _check_tensor(tensor, f"a constant of {what}")


def _check_tensor(tensor: Dict[str, Any], what: str) -> int:
    """Bytes of its raw data; ValueError (half a sentence) where its values are not what its extents say."""
    if tensor.get("external_data") or tensor.get("data_location", 0) != 0:
        raise ValueError(f"keeps {what} in another file, which is not followed: store all weights in the file itself")
    if tensor.get("data_type") not in _TYPES or "segment" in tensor:
        raise ValueError(f"holds {what} of the type {tensor.get('data_type')}, which no export here writes")
    item, field = _TYPES[tensor["data_type"]]
    dims, given = tensor.get("dims", []), [name for name in _FIELDS if name in tensor]
    if given == ["raw_data"]:
        check_bytes(dims, len(tensor["raw_data"]), item, what)
        return len(tensor["raw_data"])
    values = tensor.get(field, 0)
    count = values if isinstance(values, int) else len(values)
    if (given and given != [field]) or count != check_extents(dims, what):
        raise ValueError(f"holds {what} with other values than its extents {list(dims)} say")
    return 0


def check_sizes(model: Any) -> None:
    """Hold the extents of all that a model computes against what is possible.

    Args:
        model: onnx.ModelProto of a file that `check_onnx` has passed.

    Raises:
        ValueError: its shapes contradict each other, or one is larger than any network needs; half a sentence.
    """
    import onnx

    try:
        # The values of weights say nothing about shapes; those of small tensors may be such.
        inferred = onnx.shape_inference.infer_shapes(_without_weights(model), strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ValueError(f"has shapes that cannot be: {printable(str(error).strip().splitlines()[0])[:300]}") from None
    graph = inferred.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = [extent.dim_value for extent in value.type.tensor_type.shape.dim if extent.HasField("dim_value")]
        check_extents(dims, f"{printable(value.name)[:100]!r}")


def _without_weights(model: Any) -> Any:
    import onnx

    lean = onnx.ModelProto()
    lean.ir_version, lean.graph.name = model.ir_version, model.graph.name
    for name in ("node", "input", "output", "value_info"):
        getattr(lean.graph, name).extend(getattr(model.graph, name))
    lean.opset_import.extend(model.opset_import)
    for tensor in model.graph.initializer:
        kept = lean.graph.initializer.add()
        if len(tensor.raw_data) <= 1024:
            kept.CopyFrom(tensor)
        else:
            kept.name, kept.data_type = tensor.name, tensor.data_type
            kept.dims.extend(tensor.dims)
    return lean
