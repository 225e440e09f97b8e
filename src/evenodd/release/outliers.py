"""Separates outliers of activations, which would coarsen int8's single range per batch.

A few channels of an encoder have ten times the range of all others: in a BERT of 384 channels one, at the first token,
and one to three of the 1,536 neurons of a feed-forward part. Dynamic int8 has one step size for a whole batch, so these
channels make it ten times as coarse for all. Two changes, which do not alter the float32 graph's result:

- Products read a copy of their layer norm in which the widest channels are divided by a constant; the matching rows of
  their weights are multiplied by it (the residual reads the original layer norm).
- The widest neurons of a feed-forward part are computed separately in float and added to the residual.

Sources: Xiao et al. 2023 (SmoothQuant), arXiv 2211.10438; Dettmers et al. 2022 (outliers in float), arXiv 2208.07339.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnxruntime.transformers.onnx_model import OnnxModel

from evenodd.release.encode import Feeds
from evenodd.release.first_token import graph_constants

OUTLIERS = 16
WIDE = 2.0


@dataclass(frozen=True)
class FeedForward:
    """A feed-forward part of a traced encoder: widen → bias → activation → narrow → bias → sum.

    Attributes:
        widen, narrow: the two products.
        bias: the addition between the first one and the activation.
        activation: the activation operator.
        result: the addition of the second product's bias.
        residual: the Sum that adds the result to the residual.
    """

    widen: onnx.NodeProto
    bias: onnx.NodeProto
    activation: onnx.NodeProto
    narrow: onnx.NodeProto
    result: onnx.NodeProto
    residual: onnx.NodeProto


class _Graph:
    """A graph's nodes by output and by input, and its constants."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.constants = graph_constants(model)
        self.producers = {output: node for node in model.graph.node for output in node.output}

    def add_constant(self, name: str, value: np.ndarray) -> str:
        """A new initializer's name."""
        self.model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def only_user(self, name: str) -> onnx.NodeProto | None:
        """The only node that reads a tensor; None if there are several or none."""
        users = [node for node in self.model.graph.node if name in node.input]
        return users[0] if len(users) == 1 else None

    def of_type(self, name: str, kind: str) -> onnx.NodeProto | None:
        """The node that produces a tensor, if it is of the given kind."""
        node = self.producers.get(name)
        return node if node is not None and node.op_type == kind else None

    def operand(self, node: onnx.NodeProto, *, constant: bool) -> str | None:
        """The first input of a node that is, or is not, a constant."""
        return next((name for name in node.input if (name in self.constants) == constant), None)


def feed_forwards(model: onnx.ModelProto) -> list[FeedForward]:
    """The feed-forward parts of a lean graph; parts with another layout are skipped."""
    graph = _Graph(model)
    found = (_feed_forward(graph, node) for node in model.graph.node if node.op_type == "MatMul")
    return [part for part in found if part is not None]


def _feed_forward(graph: _Graph, narrow: onnx.NodeProto) -> FeedForward | None:
    weight = graph.constants.get(narrow.input[1])
    if weight is None or weight.ndim != 2 or weight.shape[0] <= weight.shape[1]:
        return None
    activation = graph.producers.get(narrow.input[0])
    bias = activation and graph.of_type(activation.input[0], "Add")
    widened = bias and graph.operand(bias, constant=False)
    widen = widened and graph.of_type(widened, "MatMul")
    result = graph.only_user(narrow.output[0])
    residual = graph.only_user(result.output[0]) if result is not None and result.op_type == "Add" else None
    if not (activation and bias and widen and result and residual) or residual.op_type != "Sum":
        return None
    alone = graph.only_user(widen.output[0]), graph.only_user(bias.output[0]), graph.only_user(activation.output[0])
    constant = widen.input[1] in graph.constants and graph.operand(bias, constant=True) is not None
    if any(user is None for user in alone) or not constant:
        return None
    return FeedForward(widen, bias, activation, narrow, result, residual)


def products_by_norm(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """The products with a constant matrix that read each layer norm, by the norm's output."""
    graph = _Graph(model)
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        constant = node.op_type == "MatMul" and node.input[1] in graph.constants
        if constant and graph.of_type(node.input[0], "LayerNormalization") is not None:
            found.setdefault(node.input[0], []).append(node)
    return found


def widest_values(path: Path, batches: Iterable[Feeds]) -> dict[str, np.ndarray]:
    """Largest absolute value of each channel of the layer norms and activations that products read, by tensor.

    Args:
        path: a lean float32 graph.
        batches: batches of training texts.

    Returns:
        float32, (channels,), for every layer norm that a product reads and every input of `narrow`.
    """
    model = onnx.load(str(path))
    names = [*products_by_norm(model), *(part.narrow.input[0] for part in feed_forwards(model))]
    widest: dict[str, np.ndarray] = {}
    if not names:
        return widest
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for feeds in batches:
        taken = {node.name: feeds[node.name] for node in session.get_inputs()}
        for name, value in zip(names, session.run(names, taken), strict=True):
            found = np.abs(value).reshape(-1, value.shape[-1]).max(axis=0)
            widest[name] = np.maximum(widest.get(name, found), found)
    return widest


def set_outliers_apart(model: onnx.ModelProto, widest: Mapping[str, np.ndarray]) -> list[str]:
    """Narrows the inputs of the feed-forward products, in place.

    Args:
        model: a lean float32 graph.
        widest: see `widest_values`; other parts, and parts without outliers, are not changed.

    Returns:
        Names of the added products, which must stay in float.
    """
    graph, added = _Graph(model), []
    readers = products_by_norm(model)
    for part in feed_forwards(model):
        neurons = widest.get(part.narrow.input[0])
        if neurons is not None and has_outliers(neurons):
            added += _neurons_in_float(graph, part, outliers(neurons))
    for norm, products in readers.items():
        channels = widest.get(norm)
        if channels is not None and has_outliers(channels):
            _narrow_channels(graph, graph.producers[norm], products, channels)
    ordered = OnnxModel(model)
    ordered.prune_graph()
    ordered.topological_sort()
    return added


def outliers(widest: np.ndarray) -> np.ndarray:
    """The widest channels, ascending: int64, (16,)."""
    return np.sort(np.argsort(-widest, kind="stable")[:OUTLIERS])


def has_outliers(widest: np.ndarray) -> bool:
    """Whether the widest channel has more than twice the range of the widest one that is not an outlier."""
    return len(widest) > OUTLIERS and bool(widest.max() > WIDE * np.delete(widest, outliers(widest)).max())


def _narrow_channels(graph: _Graph, norm: onnx.NodeProto, products: list[onnx.NodeProto], widest: np.ndarray) -> None:
    """A copy of the layer norm in which no channel is wider than the widest one that is not an outlier."""
    divisor = np.maximum(1, widest / np.delete(widest, outliers(widest)).max())
    copy, name = onnx.NodeProto(), f"{norm.name}_narrowed"
    copy.CopyFrom(norm)
    copy.name, copy.output[0] = name, name
    del copy.output[1:]
    for place, kind in enumerate(("gamma", "beta"), start=1):  # quantizers call theirs `_scale`
        if place < len(copy.input):
            copy.input[place] = graph.add_constant(f"{name}_{kind}", graph.constants[copy.input[place]] / divisor)
    graph.model.graph.node.append(copy)
    for product in products:
        weight = graph.constants[product.input[1]] * divisor[:, None]
        product.input[0], product.input[1] = name, graph.add_constant(f"{product.name}_narrowed_weight", weight)


def _neurons_in_float(graph: _Graph, part: FeedForward, chosen: np.ndarray) -> list[str]:
    """Moves the chosen neurons out of the part, with zeros in their place; returns the names of the two products."""
    name = f"{part.narrow.name}_outliers"
    bias = next(operand for operand in part.bias.input if operand in graph.constants)
    whole = {"in": graph.constants[part.widen.input[1]], "bias": graph.constants[bias]}
    whole["out"] = graph.constants[part.narrow.input[1]]
    axes = {"in": 1, "bias": 0, "out": 0}
    few, rest = {}, {}
    for key, value in whole.items():
        few[key] = graph.add_constant(f"{name}_{key}_weight", np.take(value, chosen, axes[key]))
        others = value.copy()
        others[(slice(None),) * axes[key] + (chosen,)] = 0
        rest[key] = graph.add_constant(f"{name}_{key}_rest", others)
        graph.constants[rest[key]] = others
    hidden = part.widen.input[0]
    activation = onnx.NodeProto()
    activation.CopyFrom(part.activation)
    activation.name, activation.input[0], activation.output[0] = f"{name}_activation", f"{name}_sum", f"{name}_active"
    products = [f"{name}_widen", f"{name}_narrow"]
    graph.model.graph.node.extend([
        helper.make_node("MatMul", [hidden, few["in"]], [f"{name}_wide"], name=products[0]),
        helper.make_node("Add", [f"{name}_wide", few["bias"]], [f"{name}_sum"], name=f"{name}_bias"),
        activation,
        helper.make_node("MatMul", [f"{name}_active", few["out"]], [f"{name}_result"], name=products[1]),
    ])  # fmt: skip
    part.widen.input[1], part.narrow.input[1] = rest["in"], rest["out"]
    part.bias.input[list(part.bias.input).index(bias)] = rest["bias"]
    part.residual.input.append(f"{name}_result")
    return products
