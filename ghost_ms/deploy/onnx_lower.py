"""Nodes that MindSpore Lite 2.0.0 lacks or computes wrongly, written in nodes that it computes exactly."""
from typing import Callable, Dict

import numpy as np

from ghost_ms.deploy.onnx_graph import Builder, Node


def lower_for_lite(build: Builder) -> None:
    """Replace what Lite 2.0.0 cannot take; to be done last, since `simplify` makes some of it."""
    nodes, build.nodes = build.nodes, []
    for node in nodes:
        if node.kind not in LOWERINGS:
            build.nodes.append(node)
            continue
        build.scope = node.name
        LOWERINGS[node.kind](build, node)
        build.nodes[-1].outputs = node.outputs


def _hard_swish(build: Builder, node: Node) -> None:
    """x * hard_sigmoid(x); Lite's converter does not know HardSwish."""
    gate = build.node("HardSigmoid", node.inputs, alpha=1 / 6, beta=0.5)
    build.node("Mul", [node.inputs[0], gate])


def _layer_norm(build: Builder, node: Node) -> None:
    """(x - mean) / sqrt(mean((x - mean)^2) + epsilon) * gamma + beta."""
    value, gamma, beta = node.inputs
    first = node.attributes["axis"]
    axes = build.integers(*range(first, 0) if first < 0 else range(first, len(build.shapes[value])))
    centred = build.node("Sub", [value, build.node("ReduceMean", [value, axes], keepdims=1)])
    variance = build.node("ReduceMean", [build.node("Mul", [centred, centred]), axes], keepdims=1)
    epsilon = np.float32(node.attributes["epsilon"])
    deviation = build.node("Sqrt", [build.node("Add", [variance, epsilon])])
    scaled = build.node("Mul", [build.node("Div", [centred, deviation]), gamma])
    build.node("Add", [scaled, beta])


#: Node -> what writes it in others; the last node written takes over its outputs.
LOWERINGS: Dict[str, Callable[[Builder, Node], None]] = {"HardSwish": _hard_swish, "LayerNormalization": _layer_norm}
