"""Significance and verdict against scipy, scikit-learn and brute force; who may win, and when it is a tie."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score

from evenodd.evidence.counts import compare_counts, rows_in_words
from evenodd.evidence.metrics import Scored
from evenodd.evidence.pairs import compare_pairs, loss_bounds
from evenodd.evidence.resampling import align, average_precision_draws, f1_macro_draws, resample
from evenodd.evidence.significance import Difference, difference, holm, mcnemar_exact, rows_needed, sign_flip
from evenodd.evidence.verdict import Candidate, Verdict
from evenodd.evidence.winner import choose_winner
from evenodd.settings import EvidenceSettings

FAST = EvidenceSettings(bootstrap_samples=300)


def make_runs(
    skill: float, *, rows: int = 400, seeds: int = 3, seed: int = 0, classes: int = 2, world: int = 0
) -> dict[int, Scored]:
    """Runs of one variant; `world` fixes labels and what makes a row hard, `seed` the rest."""
    shared, own = np.random.default_rng(world), np.random.default_rng(seed + 1000)
    labels = np.where(shared.random(rows) < 0.2, 1, 0) if classes == 2 else shared.integers(0, classes, rows)
    hard = shared.normal(size=(rows, classes))
    runs = {}
    for number in range(seeds):
        logits = skill * np.eye(classes)[labels] + hard + 0.3 * own.normal(size=(rows, classes))
        exponents = np.exp(logits)
        runs[number] = Scored(labels, exponents / exponents.sum(axis=1, keepdims=True), np.arange(rows))
    return runs


def score(metric: str, scored: Scored, rows: np.ndarray) -> float:
    """The metric by scikit-learn on chosen rows."""
    labels = scored.labels[rows]
    if metric == "f1_macro":
        every = list(range(scored.probabilities.shape[1]))
        return f1_score(labels, scored.predictions[rows], average="macro", labels=every, zero_division=0)
    return average_precision_score(labels, scored.probabilities[rows, 1])


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


def candidate(name: str, skill: float, cost: float, seed: int, gates: tuple[str, ...] = ()) -> Candidate:
    costs = {"operations_per_token": 2e6 * cost, "parameters": 1e6 * cost, "latency_p50_ms": cost}
    return Candidate(name, make_runs(skill, seed=seed), costs, gates)


def test_tie_ships_the_cheapest_and_says_so() -> None:
    """Naming the higher of two equal scores a winner is the fault that this project exists to end."""
    verdict = choose_winner([candidate("slow", 2.02, 9, 1), candidate("fast", 2.0, 4, 2)], FAST, floor=0.3, positive=1)
    assert verdict.tie
    assert verdict.winner == "fast"
    assert set(verdict.tied) == {"slow", "fast"}
    assert "fast is the cheapest of fast and slow, which these rows cannot tell apart" in verdict.text
    assert "no proof that they are equal" in verdict.text
    assert "rows" in verdict.sentences[2]


def equal_shapes(clock: dict[str, float], lower: float) -> Verdict:
    """A teacher and two students of one shape, with latencies as the clock has them."""
    rows = {"teacher": (2.1, 6, 0), "odd": (2.0, 3, 1), "even": (lower, 3, 1)}
    made = [candidate(name, *about) for name, about in rows.items()]
    timed = [replace(c, cost={**c.cost, "latency_p50_ms": clock[c.name], "latency_spread_ms": 2.0}) for c in made]
    return choose_winner(timed, FAST, floor=0.3, positive=1)


@pytest.mark.parametrize("clock", [(17.1, 19.4), (19.4, 17.1), (1.0, 90.0), (90.0, 1.0)])
def test_of_two_equal_shapes_the_better_one_ships_whatever_the_clock_says(clock: tuple[float, float]) -> None:
    """Equal students differ by a fifth in measured latency from run to run: .867 shipped for .888 over 2 ms."""
    verdict = equal_shapes({"teacher": 30.0, "odd": clock[0], "even": clock[1]}, lower=1.9)
    assert verdict.scores.f1_macro["odd"] > verdict.scores.f1_macro["even"]
    assert set(verdict.tied) >= {"odd", "even"}
    assert verdict.winner == "odd"
    assert "even costs the same and did not score higher" in verdict.text
    assert f"odd {clock[0]:.3g} ± 2 ms" in verdict.text


def test_the_headline_says_what_may_be_lost_against_the_teacher() -> None:
    """ "Not significantly worse" alone hides how much worse it may be: few rows make anything a tie."""
    verdict = equal_shapes({"teacher": 30.0, "odd": 9.0, "even": 9.0}, lower=1.9)
    headline = verdict.sentences[0]
    assert verdict.reference == "teacher"
    assert f"It loses at most {verdict.may_lose:.3f} macro-F1 against teacher, with 95 % confidence" in headline
    assert "validation macro-F1" in headline
    assert verdict.may_lose > verdict.losses.loss["odd"]
    gap = verdict.scores.f1_macro["teacher"] - verdict.scores.f1_macro["odd"]
    assert verdict.losses.loss["odd"] == pytest.approx(gap)
    assert verdict.losses.at_most["teacher"] == 0


def test_bounds_of_losses_hold_together() -> None:
    """With one bound for each of many students, the one that is chosen is too low more often than it says."""
    tested = compare_pairs(
        align({n: make_runs(k, seed=s) for s, (n, k) in enumerate({"t": 2.1, "a": 2.0, "b": 1.9}.items())}), FAST
    )
    alone = loss_bounds(tested, ["t", "a"], "t", 0.05).at_most["a"]
    beside = loss_bounds(tested, ["t", "a", "b"], "t", 0.05).at_most["a"]
    corrected = loss_bounds(tested, ["t", "a"], "t", 0.025).at_most["a"]
    assert alone < beside == corrected


def test_a_variant_that_may_lose_more_than_is_allowed_cannot_win() -> None:
    """A tie on few rows would ship whatever is cheap; non-inferiority has to be shown."""
    variants = [candidate("teacher", 2.1, 6, 0), candidate("odd", 2.0, 3, 1)]
    strict = choose_winner(variants, FAST.model_copy(update={"max_loss": 0.001}), floor=0.3, positive=1)
    assert strict.winner == "teacher"
    assert strict.excluded["odd"].endswith("macro-F1 against teacher, and evidence.max_loss=0.001")
    assert "may not ship: it may lose up to" in strict.text
    loose = choose_winner(variants, FAST.model_copy(update={"max_loss": 0.5}), floor=0.3, positive=1)
    assert loose.winner == "odd"


def test_without_a_teacher_losses_are_counted_from_the_best() -> None:
    """Students fitted from a registered teacher are compared with one another."""
    verdict = choose_winner([candidate("slow", 2.1, 9, 1), candidate("fast", 2.0, 4, 2)], FAST, floor=0.3, positive=1)
    assert verdict.reference == verdict.best
    assert (verdict.may_lose == 0) == (verdict.winner == verdict.best)


def test_clear_difference_names_a_winner_though_it_costs_more() -> None:
    """Cheapest among equals, not cheapest of all."""
    verdict = choose_winner([candidate("slow", 4.0, 9, 1), candidate("fast", 0.6, 4, 2)], FAST, floor=0.3, positive=1)
    assert (verdict.winner, verdict.tie) == ("slow", False)
    assert "fast is significantly worse than slow" in verdict.text


def test_variant_under_the_floor_cannot_win() -> None:
    """It may be the cheapest and have the highest accuracy: always answering noHate does."""
    runs = make_runs(2.0)
    never = {s: Scored(r.labels, np.tile([0.9, 0.1], (len(r), 1)), r.ids) for s, r in runs.items()}
    floor = f1_score(runs[0].labels, np.zeros(400), average="macro")
    free = Candidate("always_no", never, {"operations_per_token": 0.1})
    verdict = choose_winner([candidate("odd", 2.0, 5, 1), free], FAST, floor=floor, positive=1)
    assert verdict.winner == "odd"
    assert "does not exceed the floor" in verdict.excluded["always_no"]
    alone = choose_winner([free], FAST, floor=floor, positive=1)
    assert alone.winner is None
    assert alone.text.startswith("No winner")


def test_variant_that_fails_a_gate_cannot_win() -> None:
    """A gate that the verdict ignores would stop the promotion only after the announcement."""
    barred = candidate("even", 2.0, 1, 2, ("latency",))
    verdict = choose_winner([candidate("odd", 2.0, 5, 1), barred], FAST, floor=0.3, positive=1)
    assert verdict.winner == "odd"
    assert "latency" in verdict.excluded["even"]
    assert verdict.pairs["p_holm"].isna().all()


def test_seeds_that_disagree_are_a_tie() -> None:
    """One seed that is far ahead lifts the mean; the other seeds say that a repeat may come out the other way."""
    steady = make_runs(1.5, rows=3000, seeds=5, seed=1)
    ahead = {s: make_runs(k, rows=3000, seeds=1, seed=20 + s)[0] for s, k in enumerate((1.9, 1.9, 1.9, 1.9, 1.45))}
    verdict = choose_winner([Candidate("steady", steady), Candidate("ahead", ahead)], FAST, positive=1)
    (pair,) = verdict.pairs.to_dict("records")
    assert pair["sign_flip_p"] > 2 / 32
    assert not pair["seeds_agree"]
    assert verdict.tie
    assert "the seeds do not agree" in verdict.text


def test_one_seed_is_said() -> None:
    """A verdict on one seed does not know how a repeat would come out."""
    one = Candidate("a", make_runs(2.0, seeds=1))
    assert "One seed" in choose_winner([one, Candidate("b", make_runs(2.0, seeds=1, seed=3))], FAST).text


def test_verdict_is_the_same_twice() -> None:
    """A verdict that changes with the order of draws or of variants is none."""
    one, two, three = (candidate(n, k, c, s) for n, k, c, s in (("a", 2, 5, 1), ("b", 1.9, 4, 2), ("c", 1.2, 3, 3)))
    first = choose_winner([one, two, three], FAST, positive=1)
    again = choose_winner([three, one, two], FAST, positive=1)
    assert (first.winner, first.tied, first.best) == (again.winner, again.tied, again.best)
    assert first.text == choose_winner([one, two, three], FAST, positive=1).text


def load_simulation() -> object:
    path = Path(__file__).parents[2] / "benchmarks" / "verdict.py"
    spec = importlib.util.spec_from_file_location("verdict_simulation", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_simulated_variants_differ_by_what_is_asked() -> None:
    """A simulation whose gap is not the stated one would claim a power that nobody has."""
    simulation = load_simulation()
    world = simulation.World(rows=120_000, seeds=1, separation_sd=0.0, cut_sd=0.0)
    apart = [simulation.separation_for(f1, world) for f1 in (0.77, 0.72)]
    found = simulation.draw_candidates(world, apart, np.random.default_rng(1))
    scores = [score("f1_macro", c.runs[0], np.arange(world.rows)) for c in found]
    assert scores == pytest.approx([0.77, 0.72], abs=0.006)


def test_the_simulated_loss_is_what_runs_lose_on_many_rows() -> None:
    """A true loss that is too small would make any bound hold."""
    simulation = load_simulation()
    world = simulation.World(rows=40_000, seeds=20)
    apart = [simulation.separation_for(f1, world) for f1 in (0.77, 0.72)]
    found = simulation.draw_candidates(world, apart, np.random.default_rng(1))
    every = np.arange(world.rows)
    means = [np.mean([score("f1_macro", run, every) for run in c.runs.values()]) for c in found]
    assert means == pytest.approx([simulation.long_run_f1(each, world) for each in apart], abs=0.008)


@pytest.mark.slow
def test_verdict_seldom_names_a_false_winner() -> None:
    """The whole point: equal variants end in a tie, clearly different ones do not."""
    simulation = load_simulation()
    found = simulation.measure(simulation.World(bootstrap_samples=300), draws=12, seed=5)
    assert found["false_winner_rate"] <= 3 / 12
    assert found["power"] >= 8 / 12
    assert found["loss_exceeded"] <= 2 / 12


def test_simulation_writes_its_figures(tmp_path: Path) -> None:
    """The rates are read from the file; a renamed key would read as no result."""
    load_simulation().main(["--draws", "1", "--rows", "200", "--seeds", "2", "--json", str(tmp_path / "rates.json")])
    found = json.loads((tmp_path / "rates.json").read_text(encoding="utf-8"))
    assert 0 <= found["false_winner_rate_low"] <= found["false_winner_rate"] <= found["false_winner_rate_high"] <= 1
    assert 0 <= found["loss_exceeded_low"] <= found["loss_exceeded"] <= found["loss_exceeded_high"] <= 1
    assert {"power", "wrong_winner_rate", "world", "draws", "seed"} <= found.keys()
