"""Who wins: the cheapest variant that is not significantly worse than the best, or a tie, in plain words.

Only validation is read here. The deciding figure is macro-F1, by its paired interval over rows and seeds with Holm's
correction, and the seeds must agree: the sign-flip test has to be as small as so many seeds allow, or under alpha.
Average precision and McNemar's test stand beside it and do not decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd

from evenodd.evidence.counts import rows_in_words
from evenodd.evidence.metrics import Scored
from evenodd.evidence.resampling import Aligned, align, average_precision_draws, f1_macro_draws, resample
from evenodd.evidence.significance import Difference, difference, holm, mcnemar_exact, rows_needed, sign_flip
from evenodd.settings import EvidenceSettings

LATENCY = "latency_p50_ms"
SAME_LATENCY = 1.1


NO_DIFFERENCE = "no significant difference"


@dataclass(frozen=True)
class Candidate:
    """One variant, as the verdict sees it.

    Attributes:
        name: of the variant.
        runs: by seed, the scored validation rows.
        cost: `latency_p50_ms` and `parameters` decide what is cheaper; other entries are carried along.
        failed_gates: names of gates it did not pass; with any, it cannot win.
    """

    name: str
    runs: Mapping[int, Scored]
    cost: Mapping[str, float] = field(default_factory=dict)
    failed_gates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What the evidence says.

    Attributes:
        winner: the variant to ship; None when none is above the floor and through its gates.
        tie: several variants cannot be told apart from the best; the winner is the cheapest of them.
        best: highest mean macro-F1 among those that may win; None when none may.
        tied: all that cannot be told apart from the best, itself included, cheapest first.
        excluded: why a variant may not win, by name.
        scores: table by variant: f1_macro, f1_macro_sd, average_precision, average_precision_sd, seeds, rows.
        pairs: table by pair: first, second, difference, low, high, p_value, p_holm, significant, average_precision
            difference with its bounds and p, McNemar's counts and p, sign-flip p, seeds_agree, rows_needed, and
            more_seeds: that many rows would do it only with more seeds.
        sentences: the verdict in plain words, one thought each.
    """

    winner: str | None
    tie: bool
    best: str | None
    tied: tuple[str, ...]
    excluded: Mapping[str, str]
    scores: pd.DataFrame
    pairs: pd.DataFrame
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


def choose_winner(
    candidates: Sequence[Candidate], settings: EvidenceSettings, *, floor: float = 0.0, positive: int | None = None
) -> Verdict:
    """Compare variants on validation and name the one to ship.

    Args:
        candidates: at least one; rows are paired by seed and row id.
        settings: alpha and bootstrap_samples.
        floor: highest macro-F1 on validation of the floors; a variant that does not exceed it cannot win.
        positive: number of the label that average precision is about; None: the mean over all labels.

    Raises:
        ValueError: no candidates, a repeated name, or rows that cannot be paired (see `align`).
    """
    names = [c.name for c in candidates]
    if len(set(names)) != len(names):
        raise ValueError(f"candidates={names}: every variant is named once.")
    aligned = align({c.name: c.runs for c in candidates})
    scores, pairs = compare_runs(aligned, settings, positive=positive)
    excluded = _excluded(candidates, scores, floor)
    eligible = [c for c in candidates if c.name not in excluded]
    pairs = _correct(pairs, {c.name for c in eligible}, settings.alpha)
    if not eligible:
        return Verdict(None, False, None, (), excluded, scores, pairs, _no_winner(excluded))
    best = scores.loc[[c.name for c in eligible], "f1_macro"].idxmax()
    tied = _by_cost([c for c in eligible if not _worse(pairs, c.name, str(best))], scores)
    verdict = Verdict(tied[0], len(tied) > 1, str(best), tied, excluded, scores, pairs, ())
    return Verdict(**{**vars(verdict), "sentences": _sentences(verdict, candidates, settings, len(aligned.seeds))})


def compare_runs(
    aligned: Aligned, settings: EvidenceSettings, *, positive: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of each variant and every test of each pair, before Holm's correction.

    Returns:
        Tables `scores` and `pairs` as `Verdict` describes them, the latter without p_holm and significant.
    """
    f1 = resample(aligned, f1_macro_draws, samples=settings.bootstrap_samples)
    ranking = resample(aligned, average_precision_draws(positive), samples=settings.bootstrap_samples)
    rows, alpha, pairs = len(aligned.labels), settings.alpha, []
    for one, two in combinations(aligned.probabilities, 2):
        gap = difference(f1[one], f1[two], rows=rows, alpha=alpha)
        other = difference(ranking[one], ranking[two], rows=rows, alpha=alpha)
        pairs.append(
            _pair(one, two, gap, other) | _decision_tests(aligned, one, two, f1[one].estimate - f1[two].estimate, alpha)
        )
        pairs[-1] |= _more_data(gap, alpha)
    scores = pd.DataFrame(
        {
            name: {
                "f1_macro": f1[name].estimate.mean(),
                "f1_macro_sd": _spread(f1[name].estimate),
                "average_precision": ranking[name].estimate.mean(),
                "average_precision_sd": _spread(ranking[name].estimate),
                "seeds": len(aligned.seeds),
                "rows": rows,
            }
            for name in aligned.probabilities
        }
    ).T
    return scores.rename_axis("variant"), pd.DataFrame(pairs, columns=None if pairs else ["first", "second"])


def _more_data(gap: Difference, alpha: float) -> dict[str, object]:
    """Rows needed with the seeds at hand; where these alone hide the difference, rows needed with many seeds."""
    rows = rows_needed(gap, alpha=alpha)
    more_seeds = rows == float("inf") and gap.seed_variance > 0
    return {
        "rows_needed": rows_needed(gap, alpha=alpha, many_seeds=True) if more_seeds else rows,
        "more_seeds": more_seeds,
    }


def _spread(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def _pair(one: str, two: str, gap: Difference, ranking: Difference) -> dict[str, object]:
    return {
        "first": one,
        "second": two,
        "difference": gap.estimate,
        "low": gap.low,
        "high": gap.high,
        "p_value": gap.p_value,
        "average_precision": ranking.estimate,
        "average_precision_low": ranking.low,
        "average_precision_high": ranking.high,
        "average_precision_p": ranking.p_value,
    }


def _decision_tests(aligned: Aligned, one: str, two: str, by_seed: np.ndarray, alpha: float) -> dict[str, object]:
    """McNemar on the labels that the mean probability over seeds gives, and sign flips over seeds."""
    seen = np.maximum(aligned.member.sum(axis=0), 1)[:, None]
    right = [(aligned.probabilities[name].sum(axis=0) / seen).argmax(axis=1) == aligned.labels for name in (one, two)]
    only_first, only_second, p_value = mcnemar_exact(*right)
    flipped = sign_flip(by_seed) if len(by_seed) > 1 else float("nan")
    return {
        "only_first_right": only_first,
        "only_second_right": only_second,
        "mcnemar_p": p_value,
        "sign_flip_p": flipped,
        "seeds_agree": not flipped > max(alpha, 2 / 2 ** len(by_seed)),
    }


def _score(scores: pd.DataFrame, name: str) -> float:
    return float(scores["f1_macro"].loc[name])


def _excluded(candidates: Sequence[Candidate], scores: pd.DataFrame, floor: float) -> dict[str, str]:
    reasons = {}
    for candidate in candidates:
        score = _score(scores, candidate.name)
        if not score > floor:
            reasons[candidate.name] = f"macro-F1 {score:.3f} does not exceed the floor {floor:.3f}"
        elif candidate.failed_gates:
            reasons[candidate.name] = f"gates not passed: {', '.join(candidate.failed_gates)}"
    return reasons


def _correct(pairs: pd.DataFrame, eligible: set[str], alpha: float) -> pd.DataFrame:
    """Holm over the pairs of variants that may win; the other pairs are shown without a corrected p."""
    if pairs.empty:
        return pairs
    counted = (pairs["first"].isin(eligible) & pairs["second"].isin(eligible)).to_numpy()
    adjusted = np.full(len(pairs), np.nan)
    adjusted[counted] = holm(pairs["p_value"].to_numpy()[counted])
    return pairs.assign(p_holm=adjusted, significant=(adjusted < alpha) & pairs["seeds_agree"])


def _worse(pairs: pd.DataFrame, name: str, best: str) -> bool:
    """Whether a variant is significantly worse than the best, which no variant's mean exceeds."""
    return name != best and bool(_row(pairs, name, best)["significant"])


def _row(pairs: pd.DataFrame, one: str, two: str) -> pd.Series:
    found = pairs[(pairs["first"].isin([one, two])) & (pairs["second"].isin([one, two]))]
    return found.iloc[0]


def _by_cost(candidates: Sequence[Candidate], scores: pd.DataFrame) -> tuple[str, ...]:
    """Names, cheapest first: by latency (within 10 % is the same), then parameters, then the higher macro-F1."""
    left, order = list(candidates), []
    while left:
        fastest = min(c.cost.get(LATENCY, float("inf")) for c in left)
        alike = [c for c in left if c.cost.get(LATENCY, float("inf")) <= fastest * SAME_LATENCY]
        alike.sort(key=lambda c: (c.cost.get("parameters", float("inf")), -_score(scores, c.name), c.name))
        order += [c.name for c in alike]
        left = [c for c in left if c not in alike]
    return tuple(order)


def _no_winner(excluded: Mapping[str, str]) -> tuple[str, ...]:
    reasons = "; ".join(f"{name}: {reason}" for name, reason in excluded.items())
    return ("No winner: no variant may be shipped.", f"{reasons[0].upper()}{reasons[1:]}.")


def _sentences(
    verdict: Verdict, candidates: Sequence[Candidate], settings: EvidenceSettings, seeds: int
) -> tuple[str, ...]:
    """The verdict in words; `winner` and `best` are set."""
    rows = int(verdict.scores["rows"].iloc[0])
    basis = f"{rows:,} validation rows and {seeds} seed{'s' if seeds > 1 else ''}"
    lines = [_headline(verdict, candidates, basis)]
    lines += [_tie_sentence(verdict, name, settings, seeds) for name in verdict.tied if name != verdict.best]
    worse = [c.name for c in candidates if c.name not in verdict.tied and c.name not in verdict.excluded]
    lines += [_worse_sentence(verdict, name) for name in worse]
    lines += [f"{name} may not win: {reason}." for name, reason in verdict.excluded.items()]
    if seeds == 1:
        lines.append(
            "One seed: the intervals cover which rows were drawn, not how much a repeat of the training would differ; "
            "-P seeds=5 measures that."
        )
    return tuple(lines)


def _headline(verdict: Verdict, candidates: Sequence[Candidate], basis: str) -> str:
    cost = _cost_words(next(c for c in candidates if c.name == verdict.winner))
    score = f"macro-F1 {_score(verdict.scores, str(verdict.winner)):.3f}"
    if verdict.tie:
        return (
            f"A tie between {_listed(sorted(verdict.tied))} on {basis}: {verdict.winner} is shipped because it is the "
            f"cheapest of them{cost}, {score}."
        )
    if len(verdict.scores) - len(verdict.excluded) == 1:
        return f"{verdict.winner} is the only variant that may be shipped ({score} on {basis})."
    return f"{verdict.winner} wins on {basis}: {score}, and every other variant that may win is significantly worse."


def _tie_sentence(verdict: Verdict, name: str, settings: EvidenceSettings, seeds: int) -> str:
    row = _row(verdict.pairs, name, str(verdict.best))
    sign = 1 if row["first"] == verdict.best else -1
    low, high = sorted((sign * row["low"], sign * row["high"]))
    level = 100 * (1 - settings.alpha)
    split = "" if row["seeds_agree"] else ", and the seeds do not agree on which is better"
    return (
        f"{verdict.best} scores {sign * row['difference']:+.3f} macro-F1 against {name}, with a {level:.3g} % interval "
        f"of {low:+.3f} to {high:+.3f} (Holm-corrected {_p_words(row['p_holm'])}): {NO_DIFFERENCE}{split}; "
        f"{rows_in_words(float(row['rows_needed']), seeds if row['more_seeds'] else 0)}."
    )


def _worse_sentence(verdict: Verdict, name: str) -> str:
    row = _row(verdict.pairs, name, str(verdict.best))
    gap = abs(float(row["difference"]))
    return (
        f"{name} is significantly worse than {verdict.best}, by {gap:.3f} macro-F1 "
        f"({min(abs(row['low']), abs(row['high'])):.3f} to {max(abs(row['low']), abs(row['high'])):.3f}; "
        f"Holm-corrected {_p_words(row['p_holm'])})."
    )


def _p_words(value: float) -> str:
    return f"p {value:.2g}" if value >= 0.001 else "p below .001"


def _cost_words(candidate: Candidate) -> str:
    words = []
    if LATENCY in candidate.cost:
        words.append(f"{candidate.cost[LATENCY]:.3g} ms a text")
    if "parameters" in candidate.cost:
        words.append(f"{candidate.cost['parameters'] / 1e6:.1f} M parameters")
    return f" ({', '.join(words)})" if words else ""


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
