"""Metrics, floors and calibration against scikit-learn and brute force on fresh random input."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn import metrics as reference

from evenodd.evidence.calibration import (
    decision_metrics,
    fit_decision,
    fit_review_band,
    fit_temperature,
    fit_threshold,
    negative_log_likelihood,
)
from evenodd.evidence.floors import blind_guess_f1, check_teacher, fit_floors
from evenodd.evidence.metrics import (
    Scored,
    average_precision,
    classification_metrics,
    expected_calibration_error,
)
from evenodd.settings import DecisionSettings
from evenodd.task import Task

NAMES = ("noHate", "hate")
TASK = Task.single_label(NAMES, "hate")


def random_scores(rows: int, classes: int, seed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Labels and logits that know something about them."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, rows - classes)])
    logits = rng.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[labels]
    return labels, logits.astype(np.float32)


@pytest.mark.parametrize("classes", [2, 4])
def test_figures_equal_scikit_learn(classes: int) -> None:
    """A figure that drifts from its usual definition cannot be compared with anybody's."""
    labels, logits = random_scores(300, classes)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    names = [f"l{i}" for i in range(classes)]
    positive = "l1" if classes == 2 else None
    found = classification_metrics(labels, probabilities, label_names=names, positive=positive)
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, _ = reference.precision_recall_fscore_support(labels, predicted, zero_division=0)
    for i, name in enumerate(names):
        expected = (precision[i], recall[i], f1[i])
        assert (
            found[f"precision_label_{name}"],
            found[f"recall_label_{name}"],
            found[f"f1_label_{name}"],
        ) == pytest.approx(expected)
    hot = np.eye(classes)[labels]
    ranking = (
        reference.average_precision_score(labels, probabilities[:, 1])
        if classes == 2
        else reference.average_precision_score(hot, probabilities, average="macro")
    )
    assert found["average_precision"] == pytest.approx(ranking)
    assert found["f1_macro"] == pytest.approx(f1.mean())
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    assert found["log_loss"] == pytest.approx(reference.log_loss(labels, probabilities))


@pytest.mark.parametrize("names", [("micro", "macro", "none"), ("label_a", "label", "a"), ("😀", "😡", "❤")])
def test_no_label_takes_the_name_of_a_figure(names: tuple[str, ...]) -> None:
    """By macro-F1 everything is chosen: a label called `macro` would put its own F1 in its place."""
    labels, probabilities = np.arange(30) % 3, np.tile([0.2, 0.2, 0.6], (30, 1))
    found = classification_metrics(labels, probabilities, label_names=names, positive=None)
    assert found["f1_macro"] == pytest.approx(0.5 / 3)
    assert len([key for key in found if key.startswith("f1_label_")]) == 3
    plain = classification_metrics(labels, probabilities, label_names=("x", "y", "z"), positive=None)
    own = {key for key in plain if "_label_" not in key}
    assert own == {key for key in found if not key.startswith(("f1_label_", "precision_label_", "recall_label_"))}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=40))
@settings(max_examples=80, deadline=None)
def test_average_precision_counts_ties_as_one_threshold(rows: list[tuple[bool, int]]) -> None:
    """Breaking ties by row order would let a shuffle change the score."""
    hits, scores = np.array([hit for hit, _ in rows]), np.array([score for _, score in rows], dtype=float)
    if hits.any():
        assert average_precision(hits, scores) == pytest.approx(reference.average_precision_score(hits, scores))
    else:
        assert np.isnan(average_precision(hits, scores))


def test_absent_label_counts_as_zero_in_macro_f1() -> None:
    """Leaving absent labels out would lift a model that never finds the rare one."""
    labels, probabilities = np.zeros(10, dtype=int), np.tile([0.9, 0.1], (10, 1))
    found = classification_metrics(labels, probabilities, label_names=NAMES, positive="hate")
    assert found["f1_macro"] == pytest.approx(0.5)
    assert np.isnan(found["average_precision"])


def test_calibration_error_is_the_gap_between_confidence_and_share_right() -> None:
    """An error that cancels between bins, or that one bin dominates, would pass an overconfident model."""
    labels = np.array([0] * 60 + [1] * 40)
    probabilities = np.tile([0.9, 0.1], (100, 1))
    assert expected_calibration_error(labels, probabilities) == pytest.approx(0.3)


def test_calibrated_scores_have_a_small_error() -> None:
    """Labels drawn from the probabilities themselves are the definition of calibrated."""
    rng = np.random.default_rng()
    positive = rng.beta(0.5, 2, 20_000)
    labels = (rng.random(20_000) < positive).astype(int)
    assert expected_calibration_error(labels, np.column_stack([1 - positive, positive])) < 0.015


@pytest.mark.parametrize(
    ("labels", "probabilities", "words"),
    [
        ([0, 1], [[0.5, 0.5]], "shape"),
        ([], np.zeros((0, 2)), "0 rows"),
        ([0], [[np.nan, 1.0]], "NaN"),
        ([0], [[-2.0, 3.0]], "softmax"),
        ([2], [[0.5, 0.5]], r"allowed are 0\.\.1"),
    ],
)
def test_scores_that_mean_nothing_are_refused(labels: list, probabilities: list, words: str) -> None:
    """Logits passed for probabilities give plausible, wrong figures."""
    with pytest.raises(ValueError, match=words):
        classification_metrics(np.array(labels, int), np.array(probabilities), label_names=NAMES, positive="hate")


def test_temperature_finds_the_scale_that_was_applied() -> None:
    """Logits stretched by a known factor must come back by that factor."""
    rng = np.random.default_rng()
    logits = rng.normal(size=(20_000, 3)) * 2
    labels = (softmax(logits, axis=1).cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    assert fit_temperature(logits * 3.0, labels) == pytest.approx(3.0, rel=0.1)


def test_temperature_never_changes_the_label() -> None:
    """Quality figures and the service's label would drift apart."""
    labels, logits = random_scores(200, 3)
    decision = fit_decision(logits, labels, DecisionSettings(), Task.single_label(("a", "b", "c")))
    assert (decision.probabilities(logits).argmax(axis=1) == logits.argmax(axis=1)).all()
    own = negative_log_likelihood(logits, labels, decision.temperature)
    assert own <= min(negative_log_likelihood(logits, labels, t) for t in np.geomspace(0.06, 19, 60)) + 1e-6


@pytest.mark.parametrize("positive", [0, 1])
def test_a_bias_takes_back_what_a_class_weight_added(positive: int) -> None:
    """Probabilities of a model trained with class weights are too high, which no temperature repairs."""
    rng = np.random.default_rng()
    true = np.zeros((30_000, 2))
    true[:, positive] = rng.normal(-2.0, 2.0, len(true))
    labels = (softmax(true, axis=1)[:, 1] > rng.random(len(true))).astype(np.int64)
    weighted = true * 1.5
    weighted[:, positive] += 1.8
    decision = fit_decision(weighted, labels, DecisionSettings(), Task.single_label(NAMES, NAMES[positive]))
    assert decision.temperature == pytest.approx(1.5, rel=0.15)
    assert decision.bias[positive] == pytest.approx(-1.2, abs=0.2)
    found = decision.probabilities(weighted)
    np.testing.assert_allclose(found, softmax(true, axis=1), atol=0.05)
    assert (decision.labels(found) == weighted.argmax(axis=1)).all()
    assert (found.argmax(axis=1) != weighted.argmax(axis=1)).mean() > 0.05, "the label is not the more probable one"
    figures = decision_metrics(decision, weighted, labels)
    assert figures["ece"] < 0.012 < figures["ece_before"]


def test_threshold_is_the_best_of_all() -> None:
    """A threshold off by one row loses macro-F1 without an error."""
    rng = np.random.default_rng()
    hits, scores = rng.random(150) < 0.2, np.round(rng.random(150), 2)
    hits[0] = True
    cut = fit_threshold(hits, scores, DecisionSettings())
    every = [reference.f1_score(hits, scores >= c, average="macro", zero_division=0) for c in np.unique(scores)]
    assert reference.f1_score(hits, scores >= cut, average="macro") == pytest.approx(max(every))


@pytest.mark.parametrize("target", ["precision", "recall"])
def test_threshold_keeps_the_minimum_and_gives_the_most_of_the_other(target: str) -> None:
    """A minimum precision that is missed is the promise that a team relies on."""
    rng = np.random.default_rng()
    hits = rng.random(400) < 0.25
    scores = 0.3 * hits + 0.7 * rng.random(400)
    rule = DecisionSettings(target=target, minimum=0.7)
    called = scores >= fit_threshold(hits, scores, rule)
    score = {"precision": reference.precision_score, "recall": reference.recall_score}
    other = score["recall" if target == "precision" else "precision"]
    assert score[target](hits, called) >= 0.7
    allowed = [c for c in np.unique(scores) if score[target](hits, scores >= c, zero_division=0) >= 0.7]
    assert other(hits, called) == pytest.approx(max(other(hits, scores >= c) for c in allowed))


def test_precision_out_of_reach_is_refused_with_the_best_one() -> None:
    """Taking the nearest instead would break the promise in silence."""
    hits, scores = np.array([False, True, False, True]), np.array([0.9, 0.8, 0.7, 0.6])
    with pytest.raises(ValueError, match=r"best precision on validation is 0\.500"):
        fit_threshold(hits, scores, DecisionSettings(target="precision", minimum=0.9))


@given(st.floats(0.02, 0.98), st.floats(0.0, 0.9), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_review_band_holds_the_share_and_the_threshold(threshold: float, share: float, seed: int) -> None:
    """A band that misses its share floods people or hides the unsure texts from them."""
    scores = np.random.default_rng(seed).beta(0.4, 1.5, 300)
    low, high = fit_review_band(scores, threshold, share)
    assert 0 <= low <= threshold <= high <= 1
    reviewed = ((scores >= low) & (scores < high)).mean()
    # Scores within 1e-9 of 0 or 1 are one distance: a band that needs some of them may take or leave them all.
    inside = (scores > 2e-9) & (scores < 1 - 2e-9)
    assert reviewed == pytest.approx(share, abs=2 / 300 + (~inside).mean())


def test_a_fitted_decision_reviews_what_was_asked_for() -> None:
    """A share of review that is not the one asked for fills or starves the people's queue."""
    labels, logits = random_scores(120, 2)
    decision = fit_decision(logits, labels, DecisionSettings(review_share=0.2), Task.single_label(NAMES, "hate"))
    figures = decision_metrics(decision, logits, labels)
    assert figures["review_share"] == pytest.approx(0.2, abs=0.01)
    assert figures["log_loss"] <= figures["log_loss_before"] + 1e-9


def test_nan_logits_are_refused() -> None:
    """NaN sorts last and would be decided as if it were a score."""
    with pytest.raises(ValueError, match="finite"):
        fit_decision(np.full((4, 2), np.nan), np.array([0, 1, 0, 1]), DecisionSettings(), TASK)


def rows_of_words(rows: int, seed: int) -> SimpleNamespace:
    """Texts in which one word predicts the label four times in five."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.3).astype(int)
    told = np.where(rng.random(rows) < 0.8, labels, 1 - labels)
    texts = [f"{('calm', 'cruel')[k]} {rng.choice(['one', 'two', 'three'])}" for k in told]
    return SimpleNamespace(texts=texts, labels=labels, row_ids=np.arange(rows))


def test_floors_are_the_majority_and_a_real_text_model() -> None:
    """A floor fitted on other rows, or without class weights, sits too low and everything beats it."""
    train, other = rows_of_words(400, 1), rows_of_words(200, 2)
    floors = fit_floors(train, {"validation": other, "test": other}, label_names=NAMES, positive="hate")
    assert floors.metrics["majority"]["validation/accuracy"] == pytest.approx((other.labels == 0).mean())
    assert floors.metrics["majority"]["test/average_precision"] == pytest.approx(other.labels.mean())
    assert 0.7 < floors.metrics["tfidf"]["test/f1_macro"] < 0.9
    assert floors.best() == floors.metrics["tfidf"]["validation/f1_macro"]
    assert floors.to_metrics()["floor/tfidf_f1_macro"] == floors.metrics["tfidf"]["test/f1_macro"]
    assert (
        floors.to_metrics()["floor/validation_majority_f1_macro"] == floors.metrics["majority"]["validation/f1_macro"]
    )


def test_no_skill_floor_is_what_blind_guessers_stay_under() -> None:
    """Random answers in the right proportion beat the majority's macro-F1; that floor alone lets chance through."""
    rng = np.random.default_rng()
    labels = (rng.random(800) < 0.12).astype(int)
    floor = blind_guess_f1(labels, 2)
    guesses = [reference.f1_score(labels, rng.random(800) < 0.12, average="macro") for _ in range(300)]
    assert 0.88 < np.mean(np.array(guesses) < floor) < 0.99


@pytest.mark.parametrize("kind", ["majority", "chance", "nan"])
def test_teacher_without_skill_is_refused(kind: str) -> None:
    """Distilling from it copies noise and still trains without an error."""
    train, other = rows_of_words(300, 3), rows_of_words(150, 4)
    floors = fit_floors(train, {"validation": other}, label_names=NAMES, positive="hate")
    score = {"majority": floors.metrics["majority"]["validation/f1_macro"], "chance": 0.5, "nan": float("nan")}[kind]
    with pytest.raises(RuntimeError, match=r"cannot be distilled.* does not beat the no-skill floor 0\.\d+\. Train"):
        check_teacher({"validation/f1_macro": score}, floors, longer="teacher.epochs=9")
    check_teacher({"f1_macro": 0.9}, floors, longer="teacher.epochs=9")
    assert floors.no_skill["validation"] < 0.9


def test_rows_and_ids_must_fit() -> None:
    """Ids of another split would pair the wrong rows."""
    with pytest.raises(ValueError, match="one id per row"):
        Scored(np.array([0, 1]), np.full((2, 2), 0.5), np.arange(3))
