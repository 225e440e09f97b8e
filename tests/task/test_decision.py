"""Calibration, pooling, threshold and review band: one rule, by rows and one text at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenodd.task import Decision, Task

TASK = Task.single_label(("noHate", "hate"), "hate")
THREE = Task.single_label(("a", "b", "c"))
DECISIONS = [
    Decision(1.0, 0.6, (0.35, 0.65), "f1_macro", 1, TASK.labels),
    Decision(1.7, 0.2, (0.0, 0.2), "recall", 0, TASK.labels),
    Decision(1.3, 0.3, (0.2, 0.45), "f1_macro", 1, TASK.labels, (0.0, -1.0)),
    Decision(0.8, None, (0.0, 0.7), "f1_macro", None, THREE.labels, pooling="mean"),
]
NAMED = ["band", "band to the threshold", "bias", "three labels"]


def binary(threshold: float, review: tuple[float, float], bias: tuple[float, ...] = ()) -> Decision:
    return Decision(1.0, threshold, review, "f1_macro", 1, TASK.labels, bias)


def random_rows(decision: Decision, rows: int = 2000) -> np.ndarray:
    logits = np.random.default_rng().normal(scale=2, size=(rows, len(decision.label_names)))
    return decision.probabilities(logits)


@pytest.mark.parametrize("decision", DECISIONS, ids=NAMED)
def test_one_text_is_answered_as_a_table_of_them(decision: Decision) -> None:
    """The service answers text by text, `score` and `evaluate` in tables: two rules would part in silence."""
    rows = random_rows(decision)
    answers = [decision.answer(row) for row in rows]
    assert [a["label"] for a in answers] == [decision.label_names[number] for number in decision.labels(rows)]
    assert [a["decision"] for a in answers] == decision.decide(rows)
    np.testing.assert_array_equal([a["score"] for a in answers], decision.scores(rows))
    assert len({a["decision"] for a in answers}) > 1


@pytest.mark.parametrize("decision", DECISIONS, ids=NAMED)
def test_a_decision_survives_its_json(decision: Decision) -> None:
    """A value that is written and not read is the default in the service."""
    task = TASK if len(decision.label_names) == 2 else THREE
    if decision.positive == 0:
        task = Task.single_label(TASK.labels, TASK.labels[0])
    assert Decision.from_dict(decision.to_dict(), task) == decision


@pytest.mark.parametrize("decision", DECISIONS, ids=NAMED)
def test_logits_and_probabilities_are_inverse(decision: Decision) -> None:
    """The uncalibrated score of a text with windows follows from its calibrated score."""
    rows = random_rows(decision)
    np.testing.assert_allclose(decision.probabilities(decision.logits(rows)), rows, atol=1e-12)


@pytest.mark.parametrize("how", ["max", "mean"])
def test_pooled_probabilities_sum_to_one(how: Any) -> None:
    """Without a positive label, the maximum of each label is no distribution by itself."""
    decision = Decision(1.0, None, (0.0, 0.0), "f1_macro", None, THREE.labels, pooling=how)
    rows = random_rows(decision, 5)
    pooled = decision.pool(rows)
    assert pooled.sum() == pytest.approx(1)
    expected = rows.mean(0) if how == "mean" else rows.max(0) / rows.max(0).sum()
    np.testing.assert_allclose(pooled, expected)
    np.testing.assert_allclose(decision.pool_texts(rows, [1, 3, 1]), [rows[0], decision.pool(rows[1:4]), rows[4]])


def test_the_most_positive_window_speaks_for_the_text() -> None:
    """One sentence among a thousand harmless ones would not count."""
    rows = np.array([[0.9, 0.1], [0.3, 0.7], [0.8, 0.2]])
    np.testing.assert_array_equal(binary(0.5, (0.5, 0.5)).pool(rows), rows[1])


def test_probabilities_are_softmax_of_divided_logits() -> None:
    """A temperature multiplied instead of divided still gives probabilities."""
    logits = np.array([[1.0, 3.0], [1000.0, -1000.0]])
    expected = 1 / (1 + np.exp(-(3.0 - 1.0) / 2))
    found = Decision(2.0, 0.5, (0.5, 0.5), "f1_macro", 1, TASK.labels).probabilities(logits)
    np.testing.assert_allclose(found, [[1 - expected, expected], [1.0, 0.0]])


@pytest.mark.parametrize("bias", [(0.0, -1.1), (0.7, 0.0)])
def test_a_bias_moves_probabilities_and_never_the_label(bias: tuple[float, float]) -> None:
    """The label would no longer be that of the highest logit."""
    logits = np.random.default_rng().normal(scale=3, size=(500, 2))
    decision = Decision(1.3, 0.3, (0.2, 0.4), "f1_macro", 1, TASK.labels, bias)
    found = decision.probabilities(logits)
    scaled = np.exp(logits / 1.3 + np.array(bias))
    np.testing.assert_allclose(found, scaled / scaled.sum(axis=1, keepdims=True))
    np.testing.assert_array_equal(decision.labels(found), logits.argmax(axis=1))
    assert (found.argmax(axis=1) != logits.argmax(axis=1)).any()


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.1, "noHate"), (0.29, "noHate"), (0.3, "review"), (0.69, "review"), (0.7, "hate"), (0.99, "hate")],
)
def test_binary_decision_has_a_review_band(score: float, expected: str) -> None:
    """The band includes its lower end and not its upper one; the label stays the likelier of the two."""
    found = binary(0.6, (0.3, 0.7)).answer(np.array([1 - score, score]))
    assert found["decision"] == expected
    assert found["label"] == ("hate" if score > 0.5 else "noHate")
    assert found["score"] == pytest.approx(score)


def test_threshold_decides_outside_an_empty_band() -> None:
    """A threshold above one half must overrule the likelier label."""
    decision = binary(0.8, (0.8, 0.8))
    assert decision.answer(np.array([0.25, 0.75]))["decision"] == "noHate"
    assert decision.answer(np.array([0.25, 0.75]))["label"] == "hate"
    assert decision.answer(np.array([0.2, 0.8]))["decision"] == "hate"


def test_more_labels_review_what_is_unsure() -> None:
    """With more labels the band's upper end is what the best label has to reach."""
    decision = Decision(1.0, None, (0.0, 0.6), "f1_macro", None, THREE.labels)
    assert decision.answer(np.array([0.5, 0.3, 0.2]))["decision"] == "review"
    found = decision.answer(np.array([0.1, 0.7, 0.2]))
    assert (found["decision"], found["score"]) == ("b", 0.7)


@pytest.mark.parametrize(
    ("positive", "review", "probabilities", "near"),
    [
        (1, (0.3, 0.7), (0.48, 0.52), True),
        (1, (0.3, 0.7), (0.32, 0.68), True),
        (1, (0.3, 0.7), (0.62, 0.38), False),
        (1, (0.0, 0.0), (0.97, 0.03), False),
        (1, (0.6, 0.6), (0.41, 0.59), True),
        (None, (0.0, 0.6), (0.3, 0.33, 0.37), True),
        (None, (0.0, 0.6), (0.2, 0.22, 0.58), True),
        (None, (0.0, 0.6), (0.02, 0.03, 0.95), False),
    ],
)
def test_near_means_any_boundary(
    positive: int | None, review: tuple[float, float], probabilities: tuple[float, ...], near: bool
) -> None:
    """A boundary that is forgotten, or an empty band at zero that sends everything twice."""
    labels = THREE.labels[: len(probabilities)]
    decision = Decision(1.0, None if positive is None else 0.6, review, "f1_macro", positive, labels)
    assert decision.near_boundary(np.array([probabilities]), 0.2).tolist() == [near]


@pytest.mark.parametrize("decision", DECISIONS, ids=NAMED)
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_beyond_the_distance_nothing_changes(decision: Decision, data: st.DataObject) -> None:
    """A distance in another unit than the margin lets labels through that change."""
    seed = data.draw(st.integers(0, 1 << 30))
    rng, size = np.random.default_rng(seed), data.draw(st.floats(0.001, 1.0))
    logits = rng.normal(scale=2, size=(200, len(decision.label_names)))
    before = decision.probabilities(logits)
    after = decision.probabilities(logits + rng.uniform(-size, size, logits.shape))
    clipped = np.clip([before, after], 1e-12, 1 - 1e-12)
    odds = np.log(clipped) - np.log1p(-clipped)
    moved = np.abs(odds[1] - odds[0]).max(axis=1)
    far = decision.distance(before) > moved
    assert (decision.labels(before) == decision.labels(after))[far].all()
    assert (decision.outcomes(before) == decision.outcomes(after))[far].all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"temperature": 0}, "temperature=0: a number above 0"),
        ({"temperature": "1"}, "temperature='1'"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": True}, "temperature=True"),
        ({"threshold": 1.5}, "threshold=1.5: a probability"),
        ({"threshold": None}, "there is a positive label"),
        ({"review": [0.7, 0.3]}, "0 <= low <= high <= 1"),
        ({"review": [0.7]}, "low, high"),
        ({"review": 0.5}, "review=0.5: a list"),
        ({"bias": [1.0]}, "bias="),
        ({"bias": [0.0, "1"]}, "bias="),
        ({"target": "accuracy"}, "target='accuracy': allowed are f1_macro, precision, recall"),
        ({"pooling": "sum"}, "pooling='sum': allowed are max, mean"),
        ({"margin": 1}, "unknown"),
    ],
)
def test_values_out_of_type_or_range_are_refused(change: dict[str, Any], reason: str) -> None:
    """A stored decision that nobody checks answers, and answers wrongly."""
    values = binary(0.5, (0.4, 0.6)).to_dict() | change
    with pytest.raises(ValueError, match=reason):
        Decision.from_dict(values, TASK)


def test_all_faults_are_reported_at_once() -> None:
    """One fault at a time costs a start for each."""
    with pytest.raises(ValueError, match=r"temperature=-1.*threshold=2"):
        Decision(-1, 2.0, (0.4, 0.6), "f1_macro", 1, TASK.labels)


def test_a_label_called_review_is_refused() -> None:
    """It could not be distinguished from the decision that a person should review the text."""
    with pytest.raises(ValueError, match="label 'review'"):
        Decision(1.0, 0.5, (0.4, 0.6), "f1_macro", 1, ("news", "review"))
