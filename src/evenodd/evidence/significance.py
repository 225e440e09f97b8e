"""Significance of differences: paired intervals, exact tests, and the number of rows needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from evenodd.evidence.metrics import FloatArray
from evenodd.evidence.resampling import Resampled

MOST_EXACT_SEEDS = 14


@dataclass(frozen=True)
class Difference:
    """A paired difference with its interval and p-value.

    Attributes:
        estimate: mean over seeds of the first variant's metric minus the second's.
        low, high: bounds of the interval at 1 - alpha.
        p_value: two-sided, for the hypothesis of no difference.
        row_variance, seed_variance: variance of the estimate from the sampling of rows and from the seeds (0 for one).
        rows: number of rows that it was measured on.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    row_variance: float
    seed_variance: float
    rows: int


def difference(first: Resampled, second: Resampled, *, rows: int, alpha: float = 0.05, seed: int = 0) -> Difference:
    """Paired difference with a BCa interval that covers rows and seeds.

    The draws are the mean over seeds on resampled rows, plus the noise of the seeds: S - 1 of the S measured
    differences drawn with replacement, which has the variance of their mean without bias (Rao and Wu 1988). Because few
    seeds estimate their own variance poorly, the draws are spread as a t distribution with Welch and Satterthwaite's
    degrees of freedom. Variance that depends on row and seed together is counted in both parts, which favours a tie.
    With one seed the interval covers only the rows.

    Args:
        first, second: the same metric of two variants, from one call of `resample`.
        rows: number of rows.
        alpha: 1 - alpha is the interval's level.
        seed: random seed of the draws.

    Source: Efron 1987, Better bootstrap confidence intervals.
    """
    by_seed = first.estimate - second.estimate
    estimate, seeds = float(by_seed.mean()), len(by_seed)
    row_part = (first.draws - second.draws).mean(axis=1)
    seed_variance = float(by_seed.var(ddof=1) / seeds) if seeds > 1 else 0.0
    row_variance = float(row_part.var(ddof=1))
    draws = row_part
    if seed_variance > 0:
        noise, tails = _seed_noise(by_seed, row_variance, len(row_part), seed)
        draws = estimate + (row_part + noise - estimate) * tails
    influence = (first.left_out - second.left_out).mean(axis=1)
    low, high, p_value = _bca(draws, estimate, influence, alpha)
    return Difference(estimate, low, high, p_value, row_variance, seed_variance, rows)


def _seed_noise(by_seed: FloatArray, row_variance: float, samples: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Deviation of a resampled mean over seeds from the measured one, and factors that produce the tails of t."""
    rng, seeds = np.random.default_rng(seed), len(by_seed)
    chosen = rng.integers(0, seeds, (samples, seeds - 1))
    seed_variance = by_seed.var(ddof=1) / seeds
    freedom = (row_variance + seed_variance) ** 2 * (seeds - 1) / seed_variance**2
    return by_seed[chosen].mean(axis=1) - by_seed.mean(), np.sqrt(freedom / rng.chisquare(freedom, samples))


def _bca(draws: FloatArray, estimate: float, left_out: FloatArray, alpha: float) -> tuple[float, float, float]:
    """Bias-corrected, accelerated bounds and the two-sided p-value of 0, by inverting them."""
    spread = float(draws.std())
    if spread < 1e-12:
        return estimate, estimate, 1.0 if abs(estimate) < 1e-12 else 0.0
    edge = 1 / (len(draws) + 1)
    bias = norm.ppf(np.clip(_share_below(draws, estimate), edge, 1 - edge))
    centred = left_out.mean() - left_out
    scale = 6 * (centred**2).sum() ** 1.5
    acceleration = float((centred**3).sum() / scale) if scale > 0 else 0.0
    z = bias + norm.ppf([alpha / 2, 1 - alpha / 2])
    low, high = np.quantile(draws, norm.cdf(bias + z / (1 - acceleration * z)))
    below = _share_below(draws, 0.0)
    if not edge < below < 1 - edge:
        return float(low), float(high), float(min(2 * edge, 2 * norm.sf(abs(estimate) / spread)))
    w = norm.ppf(below) - bias
    z_zero = w / (1 + acceleration * w) - bias
    return float(low), float(high), float(min(1.0, 2 * min(norm.cdf(z_zero), norm.sf(z_zero))))


def _share_below(draws: FloatArray, value: float) -> float:
    """Share of draws below a value; equal draws count half."""
    return float((draws < value).mean() + 0.5 * (draws == value).mean())


def mcnemar_exact(right_first: NDArray[np.bool_], right_second: NDArray[np.bool_]) -> tuple[int, int, float]:
    """McNemar's exact test on the same rows.

    Args:
        right_first, right_second: bool, (rows,): whether each variant's decision was correct.

    Returns:
        Number of rows that only the first has right, number that only the second has right, two-sided p-value.

    Source: McNemar 1947; exact binomial form.
    """
    first, second = np.asarray(right_first, dtype=bool), np.asarray(right_second, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    changed = only_first + only_second
    return only_first, only_second, float(binomtest(only_first, changed, 0.5).pvalue) if changed else 1.0


def sign_flip(differences: Sequence[float] | FloatArray, *, samples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value for the hypothesis that paired differences over seeds are centred on 0.

    It is exact over all signs for up to 14 seeds, and sampled for more. With S seeds it cannot go below 2 / 2**S: .0625
    for five, so that five seeds alone never reach .05. The verdict therefore requires only the smallest p that the
    seeds allow, in addition to the interval.

    Source: Fisher 1935, randomisation test.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) == 0:
        raise ValueError("0 differences were given: one per seed is needed.")
    if len(values) <= MOST_EXACT_SEEDS:
        signs = np.array(list(product((1.0, -1.0), repeat=len(values))))
    else:
        signs = np.random.default_rng(seed).choice((1.0, -1.0), (samples, len(values)))
        signs[0] = 1.0
    sums = np.abs(signs @ values)
    return float((sums >= abs(values.sum()) - 1e-12).mean())


def holm(p_values: Sequence[float] | FloatArray) -> FloatArray:
    """P-values adjusted for several comparisons, in the given order.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def rows_needed(measured: Difference, *, alpha: float = 0.05, power: float = 0.8, many_seeds: bool = False) -> float:
    """Number of rows at which a difference of the measured size would be detected, with the present seeds.

    Args:
        measured: its row variance shrinks with rows, its seed variance does not.
        alpha: two-sided level.
        power: probability of detecting it.
        many_seeds: assume that the noise of the seeds is averaged out.

    Returns:
        Number of rows; infinity if the noise of the seeds alone hides it (more seeds are needed) or there is none.
    """
    reach = (norm.ppf(1 - alpha / 2) + norm.ppf(power)) ** 2
    left = measured.estimate**2 / reach - (0.0 if many_seeds else measured.seed_variance)
    return float(np.ceil(measured.row_variance * measured.rows / left)) if left > 0 else float("inf")
