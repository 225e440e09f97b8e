"""Separated outliers: the float32 graph's result does not change, and int8 comes much closer to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from release_models import BUILDERS, tiny_model, tiny_tokenizer

from evenodd.classifier.session import open_session
from evenodd.release.encode import Feeds, TextEncoder, plain_tokenizer, sorted_batches
from evenodd.release.graph import graph_inputs, lean_graph, model_inputs, trace_graph
from evenodd.release.outliers import (
    OUTLIERS,
    feed_forwards,
    has_outliers,
    outliers,
    products_by_norm,
    set_outliers_apart,
    widest_values,
)
from evenodd.release.parity import session_logits
from evenodd.release.quantize import INT8_RECIPES, write_int8

TEXTS = [" ".join(f"w{(i * 7 + j * j) % 40}" for j in range(3 + i % 9)) for i in range(60)]
RECIPES = {recipe.name: recipe for recipe in INT8_RECIPES}


def lean(model: Any, folder: Path) -> tuple[Path, TextEncoder, list[Feeds]]:
    """The model's lean graph, its encoder, and batches of calibration texts."""
    plain = trace_graph(model, model_inputs(model, tiny_tokenizer()), folder / "plain.onnx")
    path = lean_graph(plain, folder / "lean.onnx", model.config)
    encoder = TextEncoder(plain_tokenizer(tiny_tokenizer()), graph_inputs(path), 0, 64)
    return path, encoder, [feeds for _, feeds in sorted_batches(encoder.encode(TEXTS), encoder, 8)]


def with_outliers() -> Any:
    """A tiny BERT with one channel and one neuron of each layer thirty times as wide as the others."""
    model: Any = tiny_model("bert")
    with torch.no_grad():
        for layer in model.bert.encoder.layer:
            layer.attention.output.LayerNorm.weight[3] *= 30
            layer.intermediate.dense.weight[:, 3] /= 30
            layer.intermediate.dense.bias[5] += 30
            layer.output.dense.weight[:, 5] /= 10
    return model


def test_the_float_graphs_result_does_not_change(tmp_path: Path) -> None:
    """A weight that is scaled without its channel, or a neuron counted twice, is another model."""
    model = with_outliers()
    path, encoder, batches = lean(model, tmp_path)
    graph = onnx.load(str(path))
    layers = model.config.num_hidden_layers
    assert len(feed_forwards(graph)) == layers
    assert len(set_outliers_apart(graph, widest_values(path, batches))) == 2 * layers
    onnx.save(graph, str(tmp_path / "apart.onnx"))
    found = session_logits(open_session(tmp_path / "apart.onnx"), encoder, TEXTS)
    np.testing.assert_allclose(found, session_logits(open_session(path), encoder, TEXTS), atol=2e-5)


def test_what_products_read_is_narrow_afterwards(tmp_path: Path) -> None:
    """The range of a batch is what its step depends on."""
    path, _, batches = lean(with_outliers(), tmp_path)
    before = widest_values(path, batches)
    graph = onnx.load(str(path))
    in_float = set_outliers_apart(graph, before)
    onnx.save(graph, str(tmp_path / "apart.onnx"))
    after = widest_values(tmp_path / "apart.onnx", batches)
    quantised = {node.input[0] for node in graph.graph.node if node.op_type == "MatMul" and node.name not in in_float}
    read = [values.max() for name, values in after.items() if name in quantised]
    assert len(read) == len(before)
    assert max(values.max() for values in before.values()) > 20
    assert max(read) < 8


def test_query_key_and_value_read_one_copy(tmp_path: Path) -> None:
    """A copy for each of the three products costs as much as narrower channels gain."""
    model = tiny_model("bert")
    path, _, batches = lean(model, tmp_path)
    graph = onnx.load(str(path))
    widest = {name: np.where(np.arange(len(v)) == 1, 100.0, v) for name, v in widest_values(path, batches).items()}
    norms = sum(node.op_type == "LayerNormalization" for node in graph.graph.node)
    readers = products_by_norm(graph)
    set_outliers_apart(graph, widest)
    assert max(len(products) for products in readers.values()) == 3
    assert sum(node.op_type == "LayerNormalization" for node in graph.graph.node) == norms + len(readers)


def test_int8_comes_closer(tmp_path: Path) -> None:
    """What it is for."""
    path, encoder, batches = lean(with_outliers(), tmp_path)
    expected = session_logits(open_session(path), encoder, TEXTS)
    error = {}
    for name in ("dynamic", "dynamic, outliers apart"):
        written = write_int8(path, tmp_path / "int8.onnx", RECIPES[name], batches)
        error[name] = np.std(session_logits(open_session(written), encoder, TEXTS) - expected)
    assert error["dynamic, outliers apart"] < 0.5 * error["dynamic"]


@pytest.mark.parametrize("family", BUILDERS)
def test_graphs_of_every_family_are_left_as_good(family: str, tmp_path: Path) -> None:
    """A layout that is not known is passed over, not half changed."""
    path, encoder, batches = lean(tiny_model(family), tmp_path)
    graph = onnx.load(str(path))
    widest = {name: np.where(np.arange(len(v)) == 1, 100.0, v) for name, v in widest_values(path, batches).items()}
    set_outliers_apart(graph, widest)
    onnx.save(graph, str(tmp_path / "apart.onnx"))
    found = session_logits(open_session(tmp_path / "apart.onnx"), encoder, TEXTS)
    np.testing.assert_allclose(found, session_logits(open_session(path), encoder, TEXTS), atol=1e-4)


def test_outliers_are_channels_far_wider_than_the_rest() -> None:
    """Without outliers, changes would cost time and gain nothing."""
    flat = np.linspace(1, 1.9, 64)
    assert not has_outliers(flat)
    assert not has_outliers(np.full(OUTLIERS, 9.0)), "there is no rest to compare with"
    peaked = flat.copy()
    peaked[[7, 50]] = 30, 12
    assert has_outliers(peaked)
    assert len(outliers(peaked)) == OUTLIERS
    assert {7, 50} <= set(outliers(peaked))
