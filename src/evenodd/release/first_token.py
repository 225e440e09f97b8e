"""Restricts a graph's last layer to the first token, because a classifier reads nothing else of it.

The last layer's keys and values need every token; its query, attention output, residuals and feed-forward part need
only the first one. The restriction does not change the logits and saves ten twelfths of that layer's matrix products,
which is a third of a three-layer student.

The restriction starts where the graph selects the first token. It is pushed up, operator by operator, to the tensors
that are needed in full. An unknown operator stops it, which costs only speed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.transformers.onnx_model import OnnxModel

UNARY = frozenset({"Gelu", "FastGelu", "Erf", "Tanh", "Relu", "Sqrt", "Sigmoid", "Cast", "Identity", "Softmax"})
BINARY = frozenset({"Add", "Sub", "Mul", "Div", "Pow"})
TOKEN_AXIS = 1


def keep_first_token(graph: onnx.ModelProto) -> int:
    """Restricts the last layer to the first token, in place.

    Args:
        graph: a traced classifier without fused attention.

    Returns:
        The number of operators that now process one token instead of all; 0 if the graph selects no first token.
    """
    gathers = _first_token_gathers(graph)
    if not gathers:
        return 0
    push = _Push(graph)
    for gather in gathers:
        gather.input[0] = push.first(gather.input[0], TOKEN_AXIS)
    graph.graph.node.extend(push.added)
    model = OnnxModel(graph)
    model.prune_graph()
    model.topological_sort()
    return sum(node.op_type != "Slice" for node in push.added)


def _first_token_gathers(graph: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Nodes that select index 0 of the token axis of hidden states."""
    constants = graph_constants(graph)
    shapes = {output for node in graph.graph.node if node.op_type == "Shape" for output in node.output}
    inputs = {value.name for value in graph.graph.input}
    found = []
    for node in graph.graph.node:
        if node.op_type != "Gather" or _attribute(node, "axis", 0) != TOKEN_AXIS:
            continue
        index = constants.get(node.input[1])
        hidden = node.input[0] not in constants and node.input[0] not in shapes and node.input[0] not in inputs
        if index is not None and index.ndim == 0 and index == 0 and hidden:
            found.append(node)
    return found


class _Push:
    """Pushes the restriction from a tensor to its inputs."""

    def __init__(self, graph: onnx.ModelProto) -> None:
        self.graph = graph
        self.constants = graph_constants(graph)
        self.producers = {output: node for node in graph.graph.node for output in node.output}
        self.whole = self._needed_whole()
        self.done: dict[tuple[str, int], str] = {}
        self.added: list[onnx.NodeProto] = []

    def first(self, name: str, axis: int) -> str:
        """Name of a tensor that holds index 0 of `name` along `axis`, which is kept with size 1."""
        if (name, axis) not in self.done:
            node = None if name in self.whole else self.producers.get(name)
            inputs = None if node is None else self._inputs(node, axis)
            if node is None or inputs is None:
                self.done[name, axis] = self._slice(name, axis)
            else:
                self.done[name, axis] = self._copy(node, inputs, name)
        return self.done[name, axis]

    def _needed_whole(self) -> set[str]:
        """Keys, values and all of their inputs: right operands of products of two activations."""
        found: set[str] = set()
        waiting = [
            n.input[1] for n in self.graph.graph.node if n.op_type == "MatMul" and self._is_activation(n.input[1])
        ]
        while waiting:
            name = waiting.pop()
            if name and name not in found:
                found.add(name)
                waiting.extend(self.producers[name].input if name in self.producers else [])
        return found

    def _is_activation(self, name: str) -> bool:
        return name not in self.constants

    def _inputs(self, node: onnx.NodeProto, axis: int) -> list[str] | None:
        """The inputs of a copy of `node` that computes only the first index; None if the operator is unknown."""
        if node.op_type in UNARY and not (node.op_type == "Softmax" and _attribute(node, "axis", -1) != -1):
            return [self.first(node.input[0], axis), *node.input[1:]]
        if node.op_type == "LayerNormalization" and _attribute(node, "axis", -1) == -1:
            return [self.first(node.input[0], axis), *node.input[1:]]
        if node.op_type in BINARY:
            return self._binary_inputs(node, axis)
        if node.op_type == "MatMul":
            return [self.first(node.input[0], axis), node.input[1]]
        if node.op_type == "Transpose":
            return [self.first(node.input[0], list(_attribute(node, "perm", []))[axis])]
        if node.op_type == "Reshape" and axis == TOKEN_AXIS:
            shape = self._shape_after_tokens(node.input[1])
            return None if shape is None else [self.first(node.input[0], axis), shape]
        return None

    def _binary_inputs(self, node: onnx.NodeProto, axis: int) -> list[str] | None:
        """Constants must be vectors of the last axis or scalars; a mask of size 1 along the axis is not changed."""
        if any(self.constants[name].ndim > 1 for name in node.input if name in self.constants):
            return None
        return [self.first(name, axis) if self._is_activation(name) else name for name in node.input]

    def _shape_after_tokens(self, name: str) -> str | None:
        """For a target shape (batch, tokens, constants…), the name of one that copies the first two from the input."""
        node = self.producers.get(name)
        if node is None or node.op_type != "Concat" or len(node.input) < TOKEN_AXIS + 2:
            return None
        rest = [self.constants.get(part) for part in node.input[TOKEN_AXIS + 1 :]]
        leading = [self._is_activation(part) for part in node.input[: TOKEN_AXIS + 1]]
        if not all(leading) or any(part is None for part in rest):
            return None
        sizes = [0, 0, *(int(size) for part in rest if part is not None for size in part.ravel())]
        return self._constant(f"{name}_first_token", np.array(sizes, dtype=np.int64))

    def _constant(self, name: str, value: np.ndarray) -> str:
        if name not in self.constants:
            self.constants[name] = value
            self.graph.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _slice(self, name: str, axis: int) -> str:
        """Selects the first index of a complete tensor."""
        bounds = [self._constant(f"first_token_{value}", np.array([value], dtype=np.int64)) for value in (0, 1)]
        along = self._constant(f"first_token_axis_{axis}", np.array([axis], dtype=np.int64))
        output = f"{name}_first_{axis}"
        self.added.append(helper.make_node("Slice", [name, *bounds, along], [output], name=f"Slice_{output}"))
        return output

    def _copy(self, node: onnx.NodeProto, inputs: list[str], name: str) -> str:
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        del copied.input[:], copied.output[:]
        copied.input.extend(inputs)
        copied.output.append(f"{name}_first")
        copied.name = f"{node.name}_first"
        self.added.append(copied)
        return copied.output[0]


def graph_constants(graph: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Initializers, constant nodes, and their other names (the exporter stores equal tensors once) by name."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = numpy_helper.to_array(helper.get_node_attr_value(node, "value"))
        elif node.op_type == "Identity" and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
