"""Intervals, p-values and corrections against scipy, scikit-learn and brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats
from scored_runs import make_runs, score

from evenodd.evidence.counts import compare_counts, rows_in_words
from evenodd.evidence.metrics import Scored
from evenodd.evidence.resampling import align, average_precision_draws, f1_macro_draws, resample
from evenodd.evidence.significance import Difference, difference, holm, mcnemar_exact, rows_needed, sign_flip
from evenodd.settings import EvidenceSettings

FAST = EvidenceSettings(bootstrap_samples=300)


def macro_f1(scored: Scored, rows: np.ndarray) -> np.ndarray:
    """Macro-F1 of two labels along the last axis of row numbers."""
    truth, called = scored.labels[rows] == 1, scored.predictions[rows] == 1
    hit, rest = (truth & called).sum(-1), (~truth & ~called).sum(-1)
    return hit / (truth.sum(-1) + called.sum(-1)) + rest / ((~truth).sum(-1) + (~called).sum(-1))


@pytest.mark.parametrize("metric", ["f1_macro", "average_precision"])
@pytest.mark.parametrize("rounded", [False, True])
def test_weighted_metrics_equal_scikit_learn_on_the_drawn_rows(metric: str, rounded: bool) -> None:
    """The fast bootstrap must resample rows, ties among scores included, not something like it."""
    runs = make_runs(1.5, rows=80, seeds=2, seed=np.random.SeedSequence().entropy % 1000)
    if rounded:
        runs = {s: Scored(r.labels, np.round(r.probabilities, 1), r.row_ids) for s, r in runs.items()}
    aligned = align({"a": runs})
    drawn = np.random.default_rng().integers(0, 80, (80, 6))
    weights = np.stack([np.bincount(column, minlength=80) for column in drawn.T], axis=1).astype(np.float32)
    compute = f1_macro_draws if metric == "f1_macro" else average_precision_draws(1)
    found = compute(aligned, "a", weights)
    expected = [[score(metric, runs[s], column) for s in (0, 1)] for column in drawn.T]
    assert found == pytest.approx(np.array(expected), abs=1e-5)


def test_macro_f1_draws_hold_for_many_labels() -> None:
    """Indicator columns of several labels must not be mixed up."""
    runs = make_runs(1.0, rows=90, seeds=2, classes=4)
    found = resample(align({"a": runs}), f1_macro_draws, samples=100)["a"]
    every = np.arange(90)
    assert found.estimate == pytest.approx([score("f1_macro", runs[s], every) for s in (0, 1)], abs=1e-6)
    kept = np.delete(every, 17)
    assert found.left_out[17] == pytest.approx([score("f1_macro", runs[s], kept) for s in (0, 1)], abs=1e-6)


def test_interval_equals_scipys_bca() -> None:
    """A wrong bias or acceleration gives plausible bounds that cover too little."""
    one, two = make_runs(2.0, rows=300, seeds=1, seed=1), make_runs(1.2, rows=300, seeds=1, seed=2)
    found = resample(align({"a": one, "b": two}), f1_macro_draws, samples=6000)
    ours = difference(found["a"], found["b"], rows=300)

    def statistic(rows: np.ndarray, axis: int = -1) -> np.ndarray:
        return macro_f1(one[0], rows) - macro_f1(two[0], rows)

    reference = stats.bootstrap((np.arange(300),), statistic, vectorized=True, n_resamples=6000, method="BCa", rng=3)
    spread = reference.standard_error
    every = np.arange(300)
    expected = score("f1_macro", one[0], every) - score("f1_macro", two[0], every)
    assert ours.estimate == pytest.approx(expected, abs=1e-6)
    assert ours.row_variance**0.5 == pytest.approx(spread, rel=0.1)
    assert ours.low == pytest.approx(reference.confidence_interval.low, abs=0.25 * spread)
    assert ours.high == pytest.approx(reference.confidence_interval.high, abs=0.25 * spread)


@pytest.mark.parametrize("gap", [0.0, 0.2, 0.5])
def test_p_value_agrees_with_the_interval(gap: float) -> None:
    """A p-value under .05 beside an interval that holds 0 would contradict itself on the page."""
    aligned = align({"a": make_runs(1.5 + gap, seed=4), "b": make_runs(1.5, seed=5)})
    found = resample(aligned, f1_macro_draws, samples=2000)
    wide = difference(found["a"], found["b"], rows=400)
    if 0.001 < wide.p_value < 0.999:
        edge = difference(found["a"], found["b"], rows=400, alpha=wide.p_value)
        assert min(abs(edge.low), abs(edge.high)) < 0.1 * (edge.high - edge.low)
    assert (wide.p_value < 0.05) == (not wide.low <= 0 <= wide.high)


def test_seed_noise_widens_the_interval() -> None:
    """With the rows alone, a lucky seed looks like a better variant."""
    steady = {s: make_runs(1.5, seeds=1, seed=6)[0] for s in range(4)}
    other = {s: make_runs(k, seeds=1, seed=7)[0] for s, k in enumerate((0.9, 1.4, 1.9, 2.4))}
    found = resample(align({"a": steady, "b": other}), f1_macro_draws, samples=1000)
    with_seeds = difference(found["a"], found["b"], rows=400)
    by_seed = found["a"].estimate - found["b"].estimate
    assert with_seeds.seed_variance == pytest.approx(by_seed.var(ddof=1) / 4)
    assert with_seeds.high - with_seeds.low > 1.3 * 3.92 * with_seeds.row_variance**0.5


def test_rows_are_paired_by_id_not_by_place() -> None:
    """Runs that store rows in another order would be compared row against wrong row."""
    runs, rng = make_runs(1.5), np.random.default_rng()
    shuffled = {}
    for seed, scored in runs.items():
        order = rng.permutation(len(scored))
        shuffled[seed] = Scored(scored.labels[order], scored.probabilities[order], scored.ids[order])
    aligned = align({"a": runs, "b": shuffled})
    assert np.array_equal(aligned.probabilities["a"], aligned.probabilities["b"])


def test_splits_that_vary_by_seed_are_paired_within_the_seed() -> None:
    """A row of one seed's split must not count in another's."""
    whole = make_runs(1.5, rows=300, seeds=2)
    parts = {0: np.arange(0, 200), 1: np.arange(100, 300)}
    runs = {s: Scored(r.labels[parts[s]], r.probabilities[parts[s]], parts[s]) for s, r in whole.items()}
    aligned = align({"a": runs})
    assert aligned.member.sum(axis=1).tolist() == [200, 200]
    for name, compute in (("f1_macro", f1_macro_draws), ("average_precision", average_precision_draws(1))):
        found = resample(aligned, compute, samples=100)["a"].estimate
        assert found == pytest.approx([score(name, whole[s], parts[s]) for s in (0, 1)], abs=1e-5)


def test_runs_that_do_not_belong_together_are_refused() -> None:
    """Pairing rows with other labels, or no common rows, compares nothing."""
    runs = make_runs(1.5, seeds=1)
    flipped = {0: Scored(1 - runs[0].labels, runs[0].probabilities, runs[0].ids)}
    moved = {0: Scored(runs[0].labels, runs[0].probabilities, runs[0].ids + 10_000)}
    with pytest.raises(ValueError, match="another label"):
        align({"a": runs, "b": flipped})
    with pytest.raises(ValueError, match="share no row"):
        align({"a": runs, "b": moved})
    with pytest.raises(ValueError, match="share no seed"):
        align({"a": runs, "b": {7: runs[0]}})


def test_mcnemar_equals_the_binomial_sum() -> None:
    """The exact test counts only rows on which the two differ."""
    rng = np.random.default_rng()
    one, two = rng.random(60) < 0.8, rng.random(60) < 0.6
    b, c = int((one & ~two).sum()), int((two & ~one).sum())
    tail = sum(stats.binom.pmf(k, b + c, 0.5) for k in range(min(b, c) + 1))
    assert mcnemar_exact(one, two) == (b, c, pytest.approx(min(1.0, 2 * tail)))
    assert mcnemar_exact(one, one)[2] == 1.0


def test_sign_flip_counts_every_sign() -> None:
    """Five seeds that all agree give 2/32, never less."""
    values = np.random.default_rng().normal(size=6)
    flips = [abs(np.dot(signs, values)) for signs in product((1, -1), repeat=6)]
    assert sign_flip(values) == pytest.approx(np.mean(np.array(flips) >= abs(values.sum()) - 1e-12))
    assert sign_flip([0.1, 0.2, 0.1, 0.3, 0.2]) == pytest.approx(2 / 32)
    assert sign_flip(np.full(20, 0.1)) < 0.001


def test_holm_rejects_what_the_step_down_procedure_rejects() -> None:
    """A correction that forgets to step down loses power; one that steps wrongly names false winners."""
    rng = np.random.default_rng()
    for _ in range(200):
        values = rng.random(7) ** 2 * 0.2
        adjusted = holm(values)
        for alpha in (0.01, 0.05, 0.2):
            rejected = set()
            for step, index in enumerate(np.argsort(values)):
                if values[index] > alpha / (7 - step):
                    break
                rejected.add(int(index))
            assert rejected == set(np.flatnonzero(adjusted <= alpha))


def test_rows_needed_find_the_difference() -> None:
    """With the rows that it asks for, the test must have the power that it promises."""
    rng = np.random.default_rng(8)
    measured = Difference(0.02, 0, 0, 1, row_variance=0.015**2, seed_variance=0.002**2, rows=1500)
    needed = rows_needed(measured)
    spread = np.sqrt(measured.row_variance * 1500 / needed + measured.seed_variance)
    found = np.abs(rng.normal(0.02, spread, 40_000)) > 1.96 * spread
    assert found.mean() == pytest.approx(0.8, abs=0.01)
    hidden = Difference(0.002, 0, 0, 1, row_variance=1e-4, seed_variance=1e-4, rows=1500)
    assert rows_needed(hidden) == float("inf")
    assert rows_needed(hidden, many_seeds=True) < float("inf")
    assert "over a million" in rows_in_words(float("inf"))


def test_451_against_449_of_500_is_a_tie() -> None:
    """The write-up's winner is the result of two rows; no pairing of its rows can make that a difference."""
    found = compare_counts(451, 449, 500)
    assert found.p_value > 0.9
    assert found.least_p_value == pytest.approx(stats.binomtest(2, 2, 0.5).pvalue)
    assert found.low < 0 < found.high
    assert "are a tie, whichever rows they got right" in found.text
    assert found.rows_needed > 50_000
    clear = compare_counts(450, 400, 500)
    assert clear.p_value == pytest.approx(stats.fisher_exact([[450, 50], [400, 100]]).pvalue)
    assert "differ" in clear.text


def test_newcombe_interval_matches_a_published_example() -> None:
    """56/70 against 48/80 is Newcombe's own example (1998), here with equal rows: 56/80 against 48/80."""
    found = compare_counts(56, 48, 80)
    from_scipy = [stats.binomtest(k, 80).proportion_ci(method="wilson") for k in (56, 48)]
    low = 0.1 - np.hypot(0.7 - from_scipy[0].low, from_scipy[1].high - 0.6)
    high = 0.1 + np.hypot(from_scipy[0].high - 0.7, 0.6 - from_scipy[1].low)
    assert (found.low, found.high) == pytest.approx((low, high))
