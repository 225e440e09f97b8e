"""Gates and speed: what counts as equal, and how fast it is."""

from __future__ import annotations

import dataclasses
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from release_models import tiny_model

from evenodd.release.bench import latency_p50_ms, latency_table, pareto_front, pareto_points, plot_pareto
from evenodd.release.checked import Checked
from evenodd.release.export import Candidate, Graphs
from evenodd.release.graph import trace_graph
from evenodd.release.parity import compare_logits
from evenodd.release.runtime import installed_runtime
from evenodd.settings import ExportSettings

SETTINGS = ExportSettings()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    return trace_graph(tiny_model(), ("input_ids", "attention_mask"), path)


def logits_of(positive: np.ndarray) -> np.ndarray:
    """Logits whose softmax is (1 - p, p)."""
    return np.stack([np.log1p(-positive), np.log(positive)], axis=1).astype(np.float32)


def test_failure_says_how_many_labels_differ_and_by_how_much() -> None:
    """The line is all that a person sees of a refused export."""
    p = np.full(256, 0.3)
    other = p.copy()
    other[:3] = 0.51
    report = compare_logits("fp32", logits_of(p), logits_of(other), SETTINGS)
    assert report.failure == "3 of 256 labels differ (max |Δp| 0.21 > 0.0001)"
    assert (report.flips, report.texts) == (3, 256)


@pytest.mark.parametrize(
    ("kind", "flips", "passes"),
    [
        ("fp32", 0, True),
        ("fp32", 1, False),
        ("fp16", 1, True),
        ("fp16", 2, False),
        ("int8", 10, True),
        ("int8", 11, False),
    ],
)
def test_each_kind_may_flip_its_share_of_labels(kind: str, flips: int, passes: bool) -> None:
    """Gates off by one kind let int8's bound pass for fp32."""
    p = np.full(1000, 0.49999)
    other = p.copy()
    other[:flips] = 0.50001
    assert compare_logits(kind, logits_of(p), logits_of(other), SETTINGS).passed is passes


def test_probabilities_count_for_fp32_even_when_no_label_differs() -> None:
    """Thresholds and review bands cut at probabilities, not at argmax."""
    p = np.full(100, 0.3)
    report = compare_logits("fp32", logits_of(p), logits_of(p + 2e-4), SETTINGS)
    assert report.failure == "0 of 100 labels differ (max |Δp| 0.0002 > 0.0001)"
    assert compare_logits("int8", logits_of(p), logits_of(p + 2e-4), SETTINGS).passed


def test_int8_may_not_lose_macro_f1_within_its_share_of_flips() -> None:
    """One percent of flips can be every rare label that was detected."""
    labels = np.array([1] * 10 + [0] * 990)
    p = np.where(labels == 1, 0.6, 0.1)
    other = np.where(labels == 1, 0.4, 0.1)
    report = compare_logits("int8", logits_of(p), logits_of(other), SETTINGS, labels)
    assert "macro-F1 falls by" in report.failure
    assert report.f1_loss == pytest.approx(1 - 0.4975, abs=1e-3)


def test_values_that_are_not_numbers_never_pass() -> None:
    """A comparison with NaN is false, also the one that looks for too large a difference."""
    p = logits_of(np.full(10, 0.3))
    broken = p.copy()
    broken[0] = np.nan
    for kind in ("fp32", "fp16", "int8"):
        assert not compare_logits(kind, p, broken, SETTINGS).passed


def test_nothing_to_compare_is_refused() -> None:
    """Parity of no text holds for any graph."""
    with pytest.raises(ValueError, match="equal shapes with at least one row"):
        compare_logits("fp32", np.empty((0, 2)), np.empty((0, 2)), SETTINGS)
    with pytest.raises(ValueError, match="equal shapes"):
        compare_logits("fp32", np.zeros((2, 2)), np.zeros((2, 3)), SETTINGS)


@pytest.mark.parametrize("installed", [(), ("onnxruntime", "onnxruntime-gpu")])
def test_none_or_two_runtimes_are_refused(installed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime and onnxruntime-gpu overwrite each other's files: CUDA disappears after an unrelated pip install."""
    assert installed_runtime() in ("onnxruntime", "onnxruntime-gpu")

    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(RuntimeError, match="both installed and overwrite" if installed else "no ONNX Runtime"):
        installed_runtime()


def test_latency_is_measured_for_models_and_graphs_alike(graph: Path) -> None:
    """The metric compares variants, so it must not change the state that training goes on with."""
    model = tiny_model().train()
    threads = torch.get_num_threads()
    start = time.perf_counter()
    assert latency_p50_ms(model, seconds=0.1) > 0
    assert latency_p50_ms(graph, seconds=0.1) > 0
    assert time.perf_counter() - start < 30
    assert model.training
    assert torch.get_num_threads() == threads


def test_latency_table_has_a_row_for_every_runtime_batch_and_length(graph: Path) -> None:
    """A missing cell reads as a measurement that was fine."""
    table = latency_table(tiny_model(), {"fp32": graph}, batches=(1, 2), lengths=(8, 16), seconds=0.0)
    assert list(dict.fromkeys(table.runtime)) == ["torch fp32", "torch bf16", "onnx fp32"]
    assert len(table) == 3 * 2 * 2
    assert (table.p95_ms >= table.p50_ms).all()
    np.testing.assert_allclose(table.sentences_per_second * table.p50_ms / 1000, table.batch)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12))
def test_front_is_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    """A dominated point on the front sends someone to a model that is slower and worse."""
    front = pareto_front([p[0] for p in points], [p[1] for p in points])
    for (latency, f1), on_front in zip(points, front, strict=True):
        beaten = any(a <= latency and b >= f1 and (a, b) != (latency, f1) for a, b in points)
        assert on_front == (not beaten)


def test_points_hold_torch_every_graph_and_checked() -> None:
    """int8 drawn with float32's macro-F1, or `checked` drawn as fast as int8, sells what nobody gets."""
    row = {"recipe": "lean", "flips": 1, "texts": 100, "max_abs_diff": 0.1, "failure": ""}
    fp32 = Candidate(kind="fp32", megabytes=90.0, sentences_per_second=100.0, f1_loss=None, **row)
    int8 = Candidate(kind="int8", megabytes=50.0, sentences_per_second=300.0, f1_loss=0.01, **row)
    checked = Checked(0.5, 0.2, 1e-5, 100, 0.4, 0.05, 3, 0)
    graphs = Graphs({}, None, {"fp32": fp32, "int8": int8}, pd.DataFrame(), f1_macro=0.8, checked=checked)
    cells = [("torch fp32", 9.0), ("torch bf16", 5.0), ("onnx fp32", 4.0), ("onnx int8", 2.0)]
    table = pd.DataFrame([{"runtime": name, "batch": 1, "tokens": 32, "p50_ms": ms} for name, ms in cells])
    points = pareto_points(table, graphs, parameters=25_000_000).set_index("name")
    assert points.latency_ms.to_dict() == {"torch fp32": 9, "onnx fp32": 4, "onnx int8": 2, "checked": 2 + 0.2 * 4}
    assert points.f1_macro.to_dict() == {"torch fp32": 0.8, "onnx fp32": 0.8, "onnx int8": 0.79, "checked": 0.8}
    assert points.megabytes.to_dict() == {"torch fp32": 100, "onnx fp32": 90, "onnx int8": 50, "checked": 140}
    with pytest.raises(ValueError, match="f1_macro is None"):
        pareto_points(table, dataclasses.replace(graphs, f1_macro=None), parameters=1)


def test_pareto_plot_shows_every_graph() -> None:
    """A graph that is left out of the plot was never considered."""
    points = pd.DataFrame(
        {"name": ["odd int8", "teacher"], "latency_ms": [1.0, 8.0], "f1_macro": [0.77, 0.78], "megabytes": [53.0, 91.0]}
    )
    axes = plot_pareto(points).axes[0]
    assert [text.get_text() for text in axes.texts] == ["odd int8", "teacher"]
    with pytest.raises(ValueError, match="columns megabytes are missing"):
        plot_pareto(points.drop(columns="megabytes"))
