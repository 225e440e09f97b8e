"""The margin of `checked`: measured, enough, and read by the service as it was meant."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from release_models import TEXTS, tiny_model, tiny_tokenizer

from evenodd.classifier.bundle import read_bundle
from evenodd.classifier.engine import EngineOptions, open_engine
from evenodd.release.bundle import BundleContents, write_bundle
from evenodd.release.checked import (
    MAY_CHANGE,
    compare,
    exceedance,
    least_margin,
    measure_checked,
)
from evenodd.release.export import Graphs, export_graphs
from evenodd.release.parity import torch_logits
from evenodd.settings import ExportSettings
from evenodd.task import Decision, Task

LOOSE = ExportSettings(max_int8_flips=1.0, max_int8_f1_loss=1.0)
MANY = [f"{a} {b} {c}" for a in ("i", "we", "they") for b in ("hate", "love", "like") for c in TEXTS]
TASK = Task.single_label(("noHate", "hate"), "hate")
CONTENTS = BundleContents(
    name="n", variant="odd", task=TASK, decision=Decision(1.0, 0.6, (0.35, 0.55), "f1_macro", 1, TASK.labels)
)
SETTINGS = [
    Decision(1.0, 0.6, (0.35, 0.65), "f1_macro", 1, TASK.labels),
    Decision(1.0, 0.2, (0.0, 0.0), "f1_macro", 0, TASK.labels),
    Decision(1.0, 0.3, (0.2, 0.45), "f1_macro", 1, TASK.labels, (0.0, -1.0)),
    Decision(1.0, None, (0.0, 0.7), "f1_macro", None, ("a", "b", "c")),
]
NAMED = ["band", "no band", "bias", "multiclass"]


def random_probabilities(rows: int, labels: int, rng: np.random.Generator) -> np.ndarray:
    return np.exp(logits := rng.normal(scale=2, size=(rows, labels))) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("decision", SETTINGS, ids=NAMED)
def test_what_is_not_near_keeps_its_outcome_however_it_moves(decision: Decision) -> None:
    """A margin in another unit than the distance, or half of it, lets labels through that change."""
    rng = np.random.default_rng()
    labels = 3 if decision.positive is None else 2
    fast = random_probabilities(4000, labels, rng)
    exact = fast * np.exp(rng.normal(scale=0.3, size=fast.shape))
    exact /= exact.sum(axis=1, keepdims=True)
    found = compare(fast[None], exact, decision)
    moved = decision.labels(fast) != decision.labels(exact)
    moved |= decision.outcomes(fast) != decision.outcomes(exact)
    assert found.changed == moved.sum() > 0
    assert found.may_change <= MAY_CHANGE
    near = decision.near_boundary(fast, found.margin)
    assert not (moved & ~near).any()
    assert found.share == pytest.approx(near.mean())
    assert 0 < found.share < 1
    tight = decision.near_boundary(fast, found.max_log_odds_diff / 100)
    assert (moved & ~tight).any(), "a margin that is too small shows"


@pytest.mark.parametrize("shape", ["normal", "laplace"])
def test_of_windows_never_seen_one_in_fifty_thousand_changes(shape: str) -> None:
    """A margin from observed errors says nothing about future errors unless their tail is modelled."""
    rng = np.random.default_rng(0)

    def draw(windows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Errors, distances as int8 sees them, and whether the outcome changed, of windows around one boundary."""
        exact, errors = rng.normal(-3, 2, windows), getattr(rng, shape)(scale=0.05, size=windows)
        return np.abs(errors)[None], np.abs(exact + errors)[None], ((exact > 0) != (exact + errors > 0))[None]

    margins = [least_margin(*draw(1500)) for _ in range(20)]
    _, distances, changed = draw(4_000_000)
    beyond = [float((changed & (distances > margin)).mean()) for margin in margins]
    assert np.median(beyond) <= MAY_CHANGE
    assert max(beyond) <= 5 * MAY_CHANGE
    assert min(margins) > 0.05
    assert max(float((distances <= margin).mean()) for margin in margins) < 0.06, "nor are many run for nothing"


def test_a_window_that_changed_is_within_the_margin() -> None:
    """The tail is a model; what was seen is not."""
    errors, distances = np.full((1, 1000), 0.01), np.linspace(0.5, 5, 1000)[None]
    errors[0, 700] = 4.0
    changed = errors > distances
    assert changed.sum() == 1
    assert least_margin(errors, distances, changed) >= distances[0, 700]


def test_exceedance_counts_and_then_extrapolates() -> None:
    errors = np.random.default_rng(0).exponential(0.1, 20_000)
    sizes = np.array([0.0, 0.1, 0.3, 0.6, 1.2])
    np.testing.assert_allclose(exceedance(errors, sizes), np.exp(-sizes / 0.1), rtol=0.35, atol=1e-7)
    assert (np.diff(exceedance(errors, np.linspace(0, 3, 400))) <= 1e-12).all()


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    folder = tmp_path_factory.mktemp("graphs")
    made = export_graphs(tiny_model(), tiny_tokenizer(), folder, LOOSE, [], validation_texts=MANY, max_length=32)
    checked = measure_checked(made.paths, made.encoder, CONTENTS.decision, MANY)
    return dataclasses.replace(made, checked=checked, recommended={"cpu": "checked", "cuda": "fp32"})


def test_measured_on_real_graphs(graphs: Graphs) -> None:
    """A margin of zero means that int8 was never asked."""
    found = graphs.checked
    assert found is not None
    assert found.margin > 0.001
    assert found.max_log_odds_diff > 0
    assert 0 <= found.may_change <= MAY_CHANGE
    assert found.texts >= len(MANY)
    with pytest.raises(ValueError, match="texts is empty"):
        measure_checked(graphs.paths, graphs.encoder, CONTENTS.decision, [])


def test_served_labels_are_those_of_torch(graphs: Graphs, tmp_path: Path) -> None:
    """From export to service: every label and decision is the registered model's."""
    bundle = read_bundle(write_bundle(tmp_path / "bundle", graphs, CONTENTS, MANY))
    assert bundle.description["checked"]["kind"] == "int8"
    expected = bundle.decision.probabilities(torch_logits(tiny_model(), graphs.encoder, MANY))
    exact = open_engine(bundle, EngineOptions(graph="fp32"))
    assert open_engine(bundle, EngineOptions()).graph in ("checked", "fp32"), "whichever pays here"
    engine = open_engine(bundle, EngineOptions(graph="checked"))
    short = [i for i, parts in enumerate(engine.tokenize(MANY)) if len(parts) == 1]
    texts = [MANY[i] for i in short]
    np.testing.assert_allclose(exact.score(texts), expected[short], atol=1e-4)
    wanted = [bundle.decision.answer(row) for row in expected[short]]
    found = [bundle.decision.answer(row) for row in engine.score(texts)]
    assert [f["label"] for f in found] == [w["label"] for w in wanted]
    assert [f["decision"] for f in found] == [w["decision"] for w in wanted]
