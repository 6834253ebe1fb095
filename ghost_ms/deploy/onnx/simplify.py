"""Rules that make an ONNX graph smaller without changing what it computes.

A rule looks at one node and what is around it, and says whether it changed anything. It turns the last node of what it
has recognised into the replacement and leaves the others, which nothing needs any more, to `Builder.drop_dead`.
"""
from typing import Callable, Dict, List, Optional, Tuple

import numpy as np

from ghost_ms.deploy.onnx.builder import Builder, Node

#: Nodes that act on every element alone: a Reshape may stand before or behind them.
ELEMENTWISE = ("Relu", "Clip", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Gelu", "Sqrt", "Sin", "Cos", "Exp")


class Index:
    """Who computes and who takes each tensor. All changes go through it.

    Nodes that a change leaves without a user still count as users until the index is made anew: some matches then wait
    for the next round, none is wrong.
    """

    def __init__(self, build: Builder):
        build.drop_dead()
        self.build = build
        self.producers = {name: node for node in build.nodes for name in node.outputs}
        self.position = {id(node): number for number, node in enumerate(build.nodes)}
        self.users: Dict[str, List[Node]] = {}
        for node in build.nodes:
            for name in dict.fromkeys(node.inputs):
                self.users.setdefault(name, []).append(node)

    def replace(self, old: str, new: str) -> None:
        """Let all nodes, and the outputs of the graph, take `new` where they took `old`."""
        for user in self.users.pop(old, []):
            self.become(user, inputs=[new if name == old else name for name in user.inputs])
        self.build.outputs = [new if name == old else name for name in self.build.outputs]

    def become(self, node: Node, kind: str = "", inputs: Optional[List[str]] = None, **attributes) -> None:
        """Change a node in place: its kind (then all attributes too), its inputs, or some attributes."""
        if inputs is not None:
            for name in node.inputs:
                self.users[name] = [user for user in self.users.get(name, []) if user is not node]
            for name in dict.fromkeys(inputs):
                self.users.setdefault(name, []).append(node)
            node.inputs = inputs
        if kind:
            node.kind, node.attributes = kind, {}
        node.attributes.update(attributes)

    def producer(self, name: str, kind: str) -> Optional[Node]:
        """The node that computes a tensor, if it is of this kind."""
        node = self.producers.get(name)
        return node if node is not None and node.kind == kind else None

    def only_user(self, node: Node) -> Optional[Node]:
        """The one node that takes the one output, if no other node and no output of the graph does."""
        users = self.users.get(node.outputs[0], [])
        return users[0] if len(users) == 1 and len(node.outputs) == 1 and node.outputs[0] not in self.build.outputs \
            else None

    def private(self, name: str, kind: str) -> Optional[Node]:
        """The producer, if it is of this kind and has one user."""
        node = self.producer(name, kind)
        return node if node is not None and self.only_user(node) else None

    def constant(self, name: str) -> Optional[np.ndarray]:
        return self.build.constants.get(name)

    def shape(self, name: str) -> Optional[Tuple[int, ...]]:
        return self.build.shapes.get(name)

    def scalar(self, name: str) -> Optional[float]:
        """The value of a constant with one element."""
        array = self.constant(name)
        return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None

    def rewritten(self, name: str, array: np.ndarray) -> str:
        """Name of a constant made from another one, whose name it takes over where nothing else needs that."""
        if len(self.users[name]) == 1:
            self.build.constants[name] = array
            self.build.shapes[name] = array.shape
            return name
        return self.build.constant(array, self.build.unique(name))


Rule = Callable[[Index, Node], bool]


def simplify(build: Builder) -> None:
    """Apply all rules, again and again until none finds anything."""
    changed = True
    while changed:
        changed = False
        for rule in RULES:
            index = Index(build)
            for node in list(build.nodes):
                changed = rule(index, node) or changed
    index = Index(build)
    for node in build.nodes:
        to_gemm(index, node)
    build.drop_dead()


def fold_constant(index: Index, node: Node) -> bool:
    """Compute now what depends on constants alone."""
    if not node.inputs or any(name not in index.build.constants for name in node.inputs) or len(node.outputs) > 1:
        return False
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    from ghost_ms.deploy.onnx.builder import OPSET

    arrays = {name: index.build.constants[name] for name in node.inputs}
    ends = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in arrays.items()]
    graph = helper.make_graph([helper.make_node(node.kind, node.inputs, node.outputs, **node.attributes)], "constant",
                              ends, [helper.make_empty_tensor_value_info(node.outputs[0])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    value = np.asarray(ReferenceEvaluator(model).run(None, arrays)[0])
    named = [name for name in node.inputs if arrays[name].dtype == np.float32]
    index.build.scope = node.name
    index.replace(node.outputs[0], index.build.constant(value, index.build.unique(named[0]) if named else ""))
    return True


def remove_identity(index: Index, node: Node) -> bool:
    """A node that returns its input: no change of shape, of order or of value."""
    source, target = node.inputs[0], node.outputs[0]
    same = {"Reshape": lambda: index.shape(source) is not None and index.shape(source) == index.shape(target),
            "Expand": lambda: index.shape(source) is not None and index.shape(source) == index.shape(target),
            "Transpose": lambda: node.attributes["perm"] == sorted(node.attributes["perm"]),
            "Mul": lambda: index.scalar(node.inputs[1]) == 1.0}
    if node.kind not in same or not same[node.kind]():
        return False
    index.replace(target, source)
    return True


def merge_twice(index: Index, node: Node) -> bool:
    """A computation that stands there twice is done once."""
    if not node.inputs:
        return False
    first = next((other for other in index.users.get(node.inputs[0], [node]) if other.kind == node.kind
                  and other.inputs == node.inputs and other.attributes == node.attributes), node)
    if first is node or index.position[id(first)] > index.position[id(node)]:
        return False
    for old, new in zip(node.outputs, first.outputs):
        index.replace(old, new)
    return True


def merge_reshapes(index: Index, node: Node) -> bool:
    """Two Reshapes in a row become the second."""
    inner = index.producer(node.inputs[0], "Reshape") if node.kind == "Reshape" else None
    if inner is None:
        return False
    index.become(node, inputs=[inner.inputs[0], node.inputs[1]])
    return True


def merge_transposes(index: Index, node: Node) -> bool:
    """Two Transposes in a row are one."""
    inner = index.producer(node.inputs[0], "Transpose") if node.kind == "Transpose" else None
    if inner is None:
        return False
    index.become(node, inputs=inner.inputs[:1],
                 perm=[inner.attributes["perm"][axis] for axis in node.attributes["perm"]])
    return True


def fuse_gelu(index: Index, node: Node) -> bool:
    """x / sqrt(2) -> Erf -> + 1 -> * x -> * 0.5, with the last two in any order, is Gelu."""
    if node.kind != "Mul":
        return False
    factors = _factors(index, node, 2)
    erf_side = [name for name in factors if index.producer(name, "Add")
                and index.producer(index.producers[name].inputs[0], "Erf")]
    halves = [name for name in factors if index.scalar(name) == 0.5]
    if len(factors) != 3 or len(erf_side) != 1 or len(halves) != 1:
        return False
    value = next(name for name in factors if name not in erf_side + halves)
    add = index.producers[erf_side[0]]
    scaled = index.producer(index.producers[add.inputs[0]].inputs[0], "Div")
    if not scaled or index.scalar(add.inputs[1]) != 1.0 or scaled.inputs[0] != value \
            or abs((index.scalar(scaled.inputs[1]) or 0) - 2 ** 0.5) > 1e-6:
        return False
    index.become(node, "Gelu", [value])
    return True


def _factors(index: Index, node: Node, depth: int) -> List[str]:
    """What a product of products multiplies; a product that others take too counts as one factor."""
    found = []
    for name in node.inputs:
        inner = index.private(name, "Mul") if depth > 1 else None
        found += _factors(index, inner, depth - 1) if inner else [name]
    return found


def fuse_padding(index: Index, node: Node) -> bool:
    """Zeros put around a map by a Pad of its own become the window's pads.

    For maximum pooling, whose pads count as minus infinity, only where the map has no negative value.
    """
    if node.kind not in ("Conv", "MaxPool"):
        return False
    pad = index.producer(node.inputs[0], "Pad")
    if pad is None or len(pad.inputs) > 2:
        return False
    amounts = [int(amount) for amount in index.constant(pad.inputs[1])]
    if any(amounts[:2] + amounts[4:6]) or min(amounts) < 0:
        return False
    if node.kind == "MaxPool" and not index.producer(pad.inputs[0], "Relu"):
        return False
    pads = [own + more for own, more in zip(node.attributes["pads"], amounts[2:4] + amounts[6:])]
    index.become(node, inputs=[pad.inputs[0], *node.inputs[1:]], pads=pads)
    return True


def scale_into_convolution(index: Index, node: Node) -> bool:
    """A constant factor per channel before a convolution goes into its kernel; zeros around the map stay zeros."""
    if node.kind != "Conv" or node.attributes["group"] != 1:
        return False
    mul = index.private(node.inputs[0], "Mul")
    factor = index.constant(mul.inputs[1]) if mul else None
    kernel = index.constant(node.inputs[1])
    if factor is None or kernel is None or factor.size not in (1, kernel.shape[1]) \
            or factor.size > 1 and factor.shape[-3:] != (kernel.shape[1], 1, 1):
        return False
    scaled = index.rewritten(node.inputs[1], (kernel * factor.reshape(1, -1, 1, 1)).astype(kernel.dtype))
    index.become(node, inputs=[mul.inputs[0], scaled, *node.inputs[2:]])
    return True


def fold_batch_norm(index: Index, node: Node) -> bool:
    """BatchNormalization after a convolution, or after a concatenation of convolutions, goes into their kernels.

    `to_deploy_form` has folded what it could in the network itself; a filter that several convolutions share is a
    constant of each only here.
    """
    if node.kind != "BatchNormalization":
        return False
    concat = index.private(node.inputs[0], "Concat")
    names = concat.inputs if concat and concat.attributes["axis"] == 1 else node.inputs[:1]
    convs = [index.private(name, "Conv") for name in names]
    if not all(conv and all(name in index.build.constants for name in conv.inputs[1:]) for conv in convs) \
            or len({conv.name for conv in convs}) < len(convs):
        return False
    gamma, beta, mean, variance = (index.constant(name).astype(np.float64) for name in node.inputs[1:])
    scale = gamma / np.sqrt(variance + node.attributes["epsilon"])
    shift, start = beta - mean * scale, 0
    for conv in convs:
        kernel = index.constant(conv.inputs[1])
        part = slice(start, start + len(kernel))
        start += len(kernel)
        bias = index.constant(conv.inputs[2]) * scale[part] if len(conv.inputs) > 2 else 0
        scaled = index.rewritten(conv.inputs[1], (kernel * scale[part, None, None, None]).astype(np.float32))
        bias = index.build.constant((bias + shift[part]).astype(np.float32), index.build.unique(f"{scaled}.bias"))
        index.become(conv, inputs=[conv.inputs[0], scaled, bias])
    index.replace(node.outputs[0], node.inputs[0])
    return True


def sink_reshape(index: Index, node: Node) -> bool:
    """Take a Reshape that keeps the last axis to the next Reshape, through products with matrices and the like.

    MindSpore flattens what a dense layer takes and unfolds what it gives; ONNX's MatMul takes any rank.
    """
    source = index.shape(node.inputs[0]) if node.kind == "Reshape" else None
    target = index.shape(node.outputs[0])
    if not source or not target or source[-1] != target[-1] or len(source) < 2:
        return False
    passed, last = [], node
    while True:
        user = index.only_user(last)
        if user is None or not (user.kind == "Reshape" or _acts_on_last_axis(index, user, last.outputs[0])):
            return False
        if user.kind == "Reshape":
            break
        passed.append(user)
        last = user
    if not any(user.kind == "MatMul" for user in passed):
        return False
    extent = index.shape(last.outputs[0])[-1]
    removed = 2 if index.shape(user.outputs[0]) == source[:-1] + (extent,) else 1
    if removed < sum(user.kind == "MatMul" for user in passed):
        return False
    for step in passed:
        index.become(step, inputs=[node.inputs[0] if name == node.outputs[0] else name for name in step.inputs])
        index.build.shapes[step.outputs[0]] = source[:-1] + index.shape(step.outputs[0])[-1:]
    return True


def _acts_on_last_axis(index: Index, node: Node, value: str) -> bool:
    """Whether a node treats the leading axes of `value` all alike."""
    if index.shape(node.outputs[0]) is None or node.inputs[0] != value:
        return False
    if node.kind in ELEMENTWISE:
        return True
    if node.kind == "LayerNormalization":
        return node.attributes["axis"] == -1
    other = index.constant(node.inputs[1]) if len(node.inputs) == 2 else None
    if other is None:
        return False
    return other.ndim == 2 if node.kind == "MatMul" else node.kind in ("Add", "Mul", "Sub", "Div") and other.ndim < 2


def fuse_resize(index: Index, node: Node) -> bool:
    """Columns copied by a matrix of zeros and ones, rows by an index: nearest-neighbour Resize."""
    if node.kind != "Gather" or node.attributes["axis"] != 2:
        return False
    unfold = index.private(node.inputs[0], "Reshape")
    product = index.private(unfold.inputs[0], "MatMul") if unfold else None
    fold = index.private(product.inputs[0], "Reshape") if product else None
    matrix = index.constant(product.inputs[1]) if product else None
    source = fold.inputs[0] if fold else product.inputs[0] if product else ""
    rows, shape = index.constant(node.inputs[1]), index.shape(source)
    if matrix is None or rows is None or matrix.ndim != 2 or shape is None or len(shape) != 4 or shape[1] < 0:
        return False
    columns = matrix.argmax(0)
    height, width = shape[2:]
    is_copy = np.array_equal(matrix, np.arange(width)[:, None] == columns) if len(matrix) == width else False
    if not (is_copy and _is_nearest(rows, height) and _is_nearest(columns, width)):
        return False
    scales = np.array([1, 1, len(rows) / height, len(columns) / width], np.float32)
    index.build.scope = node.name
    index.become(node, "Resize", [source, "", index.build.constant(scales)], mode="nearest",
                 coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    return True


def _is_nearest(sources: np.ndarray, extent: int) -> bool:
    """Whether Resize, which computes in float32, copies exactly these samples and gives as many."""
    scale = np.float32(len(sources) / extent)
    return int(np.floor(extent * scale)) == len(sources) and np.array_equal(
        sources, np.floor(np.arange(len(sources), dtype=np.float32) / scale).astype(int))


def to_gemm(index: Index, node: Node) -> bool:
    """A product of a matrix with constant weights, and a bias: Gemm, with the weights as a dense layer keeps them."""
    product = index.private(node.inputs[0], "MatMul") if node.kind == "Add" else None
    weight = index.constant(product.inputs[1]) if product else None
    bias = index.constant(node.inputs[1]) if product else None
    shape = index.shape(product.inputs[0]) if product else None
    if weight is None or bias is None or shape is None or len(shape) != 2 or bias.shape != weight.shape[1:]:
        return False
    turned = index.rewritten(product.inputs[1], np.ascontiguousarray(weight.T))
    index.become(node, "Gemm", [product.inputs[0], turned, node.inputs[1]], transB=1)
    return True


RULES: Tuple[Rule, ...] = (fold_constant, remove_identity, merge_twice, merge_reshapes, merge_transposes, fuse_gelu,
                           fuse_padding, fold_batch_norm, scale_into_convolution, fuse_resize, sink_reshape)
