"""Tests of every pair of variants on validation, and bounds on each variant's loss against a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from evenodd.evidence.resampling import Aligned, Resampled, average_precision_draws, f1_macro_draws, resample
from evenodd.evidence.significance import Difference, difference, holm, mcnemar_exact, rows_needed, sign_flip
from evenodd.settings import EvidenceSettings


@dataclass(frozen=True)
class Tested:
    """Variants scored on the same rows, and the tests of their differences.

    Attributes:
        scores: table by variant, see `Verdict`.
        pairs: table by pair, see `Verdict`, without p_holm and significant.
        f1_macro: macro-F1 of each variant, on the rows and on resampled rows.
        rows: number of scored rows.
    """

    scores: pd.DataFrame
    pairs: pd.DataFrame
    f1_macro: Mapping[str, Resampled]
    rows: int


def compare_pairs(aligned: Aligned, settings: EvidenceSettings, *, positive: int | None = None) -> Tested:
    """Scores of each variant and all tests of each pair, before Holm's correction."""
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
    frame = pd.DataFrame(pairs, columns=None if pairs else ["first", "second"])
    return Tested(scores.rename_axis("variant"), frame, f1, rows)


def loss_bounds(tested: Tested, names: Sequence[str], reference: str, alpha: float) -> pd.DataFrame:
    """Loss of each variant against a reference, with an upper bound.

    The bounds are one-sided and hold simultaneously with a confidence of 1 - alpha (Bonferroni's correction). So the
    bound of any variant that is chosen afterwards holds with at least that confidence.

    Args:
        tested: from `compare_pairs`.
        names: the variants that can be chosen.
        reference: the variant that they are compared with.
        alpha: probability that any bound is exceeded.

    Returns:
        By variant: `loss`, macro-F1 of the reference minus the variant's, and `at_most`, >= 0.
    """
    others = max(len(set(names) - {reference}), 1)
    found = {}
    for name in names:
        gap = difference(tested.f1_macro[reference], tested.f1_macro[name], rows=tested.rows, alpha=2 * alpha / others)
        found[name] = {"loss": gap.estimate, "at_most": 0.0 if name == reference else max(gap.high, 0.0)}
    return pd.DataFrame(found, index=["loss", "at_most"]).T.rename_axis("variant")


def _more_data(gap: Difference, alpha: float) -> dict[str, object]:
    """Rows needed with the present seeds; if their noise alone hides the difference, rows needed with many seeds."""
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
    """McNemar's test on the labels of the mean probability over seeds, and the sign-flip test over seeds."""
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


def correct_pairs(pairs: pd.DataFrame, eligible: set[str], alpha: float) -> pd.DataFrame:
    """Holm's correction over the pairs of variants that may win; other pairs have no corrected p."""
    if pairs.empty:
        return pairs
    counted = (pairs["first"].isin(eligible) & pairs["second"].isin(eligible)).to_numpy()
    adjusted = np.full(len(pairs), np.nan)
    adjusted[counted] = holm(pairs["p_value"].to_numpy()[counted])
    return pairs.assign(p_holm=adjusted, significant=(adjusted < alpha) & pairs["seeds_agree"])


def pair_row(pairs: pd.DataFrame, one: str, two: str) -> pd.Series:
    """The row of two variants, in either order."""
    found = pairs[(pairs["first"].isin([one, two])) & (pairs["second"].isin([one, two]))]
    return found.iloc[0]
