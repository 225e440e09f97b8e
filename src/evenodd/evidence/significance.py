"""When is a difference real: paired intervals, exact tests, and the rows it would take to know.

Two things vary when variants are compared: which rows happened to be in the split, and how each fit turned out (the
seed). Both are in every interval here; which rows a variant finds hard is shared by all, so differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from evenodd.evidence.metrics import FloatArray, IntArray, Scored

Weights = NDArray[np.float32]
Metric = Callable[["Aligned", str, Weights], FloatArray]

JACKKNIFE_FOLDS = 500
CHUNK_CELLS = 500_000
MOST_EXACT_SEEDS = 14


@dataclass(frozen=True)
class Aligned:
    """Several variants scored on the same rows with the same seeds.

    Attributes:
        row_ids: int64, (rows,), all rows that some seed scored, sorted.
        labels: int64, (rows,).
        seeds: shared by all variants.
        member: bool, (seeds, rows): rows that this seed's split holds (all of them when the split is fixed).
        probabilities: by variant, float64, (seeds, rows, labels); 0 where a seed did not score a row.
    """

    row_ids: IntArray
    labels: IntArray
    seeds: tuple[int, ...]
    member: NDArray[np.bool_]
    probabilities: Mapping[str, FloatArray]

    @property
    def classes(self) -> int:
        return next(iter(self.probabilities.values())).shape[2]


@dataclass(frozen=True)
class Resampled:
    """One metric of one variant: as measured, and on resampled rows.

    Attributes:
        estimate: float64, (seeds,).
        draws: float64, (samples, seeds): on rows drawn with replacement, the same rows for all variants.
        left_out: float64, (folds, seeds): with one row (or one of 500 groups of rows) left out.
    """

    estimate: FloatArray
    draws: FloatArray
    left_out: FloatArray


@dataclass(frozen=True)
class Difference:
    """A paired difference, its interval, and how sure it is.

    Attributes:
        estimate: mean over seeds of the first variant's metric minus the second's.
        low, high: bounds of the interval at 1 - alpha.
        p_value: two-sided, of no difference.
        row_variance, seed_variance: variance of the estimate from the rows drawn and from the seeds (0 for one seed).
        rows: rows that it was measured on.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    row_variance: float
    seed_variance: float
    rows: int


def align(runs: Mapping[str, Mapping[int, Scored]]) -> Aligned:
    """Pair variants by seed and by row id.

    Args:
        runs: by variant, by seed, the scored rows. Seeds and rows that not every variant has are left out.

    Raises:
        ValueError: no variants, no common seed, no common row, repeated row ids, or labels that contradict each other.
    """
    if not runs:
        raise ValueError("0 variants were given: at least one is needed.")
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in runs.values())))
    if not seeds:
        found = "; ".join(f"{name}: {sorted(by_seed)}" for name, by_seed in runs.items())
        raise ValueError(f"the variants share no seed ({found}): fit them with the same seeds.")
    common = [_common_rows({name: by_seed[seed] for name, by_seed in runs.items()}, seed) for seed in seeds]
    row_ids = np.unique(np.concatenate(common))
    member = np.stack([np.isin(row_ids, ids) for ids in common])
    labels = np.full(len(row_ids), -1, dtype=np.int64)
    probabilities = {}
    for name, by_seed in runs.items():
        classes = by_seed[seeds[0]].probabilities.shape[1]
        values = np.zeros((len(seeds), len(row_ids), classes))
        for s, seed in enumerate(seeds):
            scored = by_seed[seed]
            where = np.searchsorted(row_ids, common[s])
            order = np.argsort(scored.ids)
            take = order[np.searchsorted(scored.ids, common[s], sorter=order)]
            values[s, where] = scored.probabilities[take]
            _agree(labels, where, scored.labels[take], name)
        probabilities[name] = values
    return Aligned(row_ids, labels, tuple(seeds), member, probabilities)


def _common_rows(scored: Mapping[str, Scored], seed: int) -> IntArray:
    """Sorted ids of the rows that every variant scored with this seed."""
    for name, found in scored.items():
        if len(np.unique(found.ids)) != len(found):
            raise ValueError(f"{name}, seed {seed}: row ids repeat; each row is scored once.")
    ids = [found.ids for found in scored.values()]
    common = ids[0]
    for other in ids[1:]:
        common = np.intersect1d(common, other, assume_unique=True)
    if len(common) == 0:
        raise ValueError(f"seed {seed}: {', '.join(scored)} share no row: score them on the same split.")
    return np.sort(common)


def _agree(labels: IntArray, where: IntArray, found: IntArray, name: str) -> None:
    """Write labels into their places; refuse a row that two runs label differently."""
    known = labels[where]
    clash = int(((known >= 0) & (known != found)).sum())
    if clash:
        raise ValueError(f"{name}: {clash} rows carry another label than in the other runs: the data differ.")
    labels[where] = found


def f1_macro_draws(aligned: Aligned, name: str, weights: Weights) -> FloatArray:
    """Macro-F1 of each seed under row weights.

    Args:
        aligned: rows and scores.
        name: variant.
        weights: float32, (rows, draws): how often each row was drawn.

    Returns:
        float64, (draws, seeds).
    """
    classes = aligned.classes
    present = _one_hot(aligned.labels, classes) & aligned.member[:, :, None]
    predicted = _one_hot(aligned.probabilities[name].argmax(axis=2), classes) & aligned.member[:, :, None]
    indicators = np.stack([predicted & present, predicted, present]).astype(np.float32)
    sums = np.moveaxis(indicators, 2, -1).reshape(-1, len(weights)) @ weights
    right, called, there = sums.astype(np.float64).reshape(3, len(aligned.seeds), classes, -1)
    return (2 * right / np.maximum(called + there, 1e-12)).mean(axis=1).T


def average_precision_draws(positive: int | None) -> Metric:
    """Average precision under row weights, of the positive label or as the mean over labels; see `f1_macro_draws`."""

    def metric(aligned: Aligned, name: str, weights: Weights) -> FloatArray:
        labels = range(aligned.classes) if positive is None else [positive]
        values = [
            np.mean([_weighted_ap(aligned.labels[m] == k, scores[m, k], weights[m]) for k in labels], axis=0)
            for m, scores in zip(aligned.member, aligned.probabilities[name], strict=True)
        ]
        return np.stack(values, axis=1)

    return metric


def _one_hot(numbers: IntArray, classes: int) -> NDArray[np.bool_]:
    return numbers[..., None] == np.arange(classes)


def _weighted_ap(hits: NDArray[np.bool_], scores: FloatArray, weights: Weights) -> FloatArray:
    """Average precision for each column of weights, (draws,); 0 in a draw without a hit."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    found_at = np.flatnonzero(hits[order])
    if len(found_at) == 0:
        return np.zeros(weights.shape[1])
    end_of_tie = ends[np.searchsorted(ends, found_at)]
    seen = np.cumsum(weights[order], axis=0)[end_of_tie]
    gained = weights[order[found_at]]
    found = np.cumsum(gained, axis=0)[np.searchsorted(found_at, end_of_tie, side="right") - 1]
    area = np.einsum("rd,rd->d", gained, found / np.maximum(seen, 1e-6), dtype=np.float64)
    return area / np.maximum(gained.sum(axis=0), 1e-6)


def _row_draws(rows: int, samples: int, seed: int) -> Iterator[Weights]:
    """Counts of rows drawn with replacement, in pieces that bound the memory, each (rows, some draws)."""
    rng = np.random.default_rng(seed)
    step = max(1, min(samples, CHUNK_CELLS // rows))
    for start in range(0, samples, step):
        size = min(step, samples - start)
        cells = rng.integers(0, rows, (rows, size)) * size + np.arange(size)
        yield np.bincount(cells.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float32)


def _left_out(rows: int) -> Iterator[Weights]:
    """All rows but one fold, in pieces; a fold is one row, or one of 500 interleaved groups."""
    folds = min(rows, JACKKNIFE_FOLDS)
    step = max(1, CHUNK_CELLS // rows)
    for start in range(0, folds, step):
        these = np.arange(start, min(folds, start + step))
        yield (np.arange(rows)[:, None] % folds != these).astype(np.float32)


def resample(aligned: Aligned, metric: Metric, *, samples: int = 2000, seed: int = 0) -> dict[str, Resampled]:
    """Measure a metric for each variant on the rows, on bootstrap draws of the rows, and with rows left out.

    All variants see the same draws, so that differences of draws are paired.

    Args:
        aligned: rows and scores.
        metric: `f1_macro_draws`, or what `average_precision_draws` returns.
        samples: bootstrap draws.
        seed: of the draws.
    """
    rows, names = len(aligned.labels), list(aligned.probabilities)
    whole = np.ones((rows, 1), dtype=np.float32)
    draws: dict[str, list[FloatArray]] = {name: [] for name in names}
    left: dict[str, list[FloatArray]] = {name: [] for name in names}
    for found, pieces in ((draws, _row_draws(rows, samples, seed)), (left, _left_out(rows))):
        for weights in pieces:
            for name in names:
                found[name].append(metric(aligned, name, weights))
    return {
        name: Resampled(metric(aligned, name, whole)[0], np.concatenate(draws[name]), np.concatenate(left[name]))
        for name in names
    }


def difference(first: Resampled, second: Resampled, *, rows: int, alpha: float = 0.05, seed: int = 0) -> Difference:
    """Paired difference with a BCa interval that covers rows and seeds.

    The draws are the mean over seeds on resampled rows, plus the noise of the seeds: S - 1 of the S measured
    differences drawn with replacement, which has the variance of their mean without bias (Rao and Wu 1988). Because few
    seeds tell their own variance badly, the draws are spread as a t distribution with Welch and Satterthwaite's degrees
    of freedom. What varies with row and seed together is counted in both parts, which errs towards a tie. With one seed
    the rows alone are covered.

    Args:
        first, second: the same metric of two variants, from one call of `resample`.
        rows: rows measured on.
        alpha: 1 - alpha is the interval's level.
        seed: of the draws of seeds.

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
    """Deviation of a resampled mean over seeds from the measured one, and factors that give the tails of t."""
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
    """Share of draws under a value, equal ones counted half."""
    return float((draws < value).mean() + 0.5 * (draws == value).mean())


def mcnemar_exact(right_first: NDArray[np.bool_], right_second: NDArray[np.bool_]) -> tuple[int, int, float]:
    """McNemar's exact test on the same rows.

    Args:
        right_first, right_second: bool, (rows,): whether each variant's decision was right.

    Returns:
        Rows that only the first has right, rows that only the second has right, two-sided p-value.

    Source: McNemar 1947; exact binomial form.
    """
    first, second = np.asarray(right_first, dtype=bool), np.asarray(right_second, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    changed = only_first + only_second
    return only_first, only_second, float(binomtest(only_first, changed, 0.5).pvalue) if changed else 1.0


def sign_flip(differences: Sequence[float] | FloatArray, *, samples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value that paired differences over seeds are centred on 0.

    Exact over all signs up to 14 seeds, drawn above. With S seeds it cannot go below 2 / 2**S: .0625 for five, so
    that five seeds alone never reach .05: the verdict asks for as little as the seeds allow, beside the interval.

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
    """P-values adjusted for having made several comparisons, in the order given.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def rows_needed(measured: Difference, *, alpha: float = 0.05, power: float = 0.8, many_seeds: bool = False) -> float:
    """Rows at which a difference of the measured size would be found, with as many seeds as now.

    Args:
        measured: its row variance shrinks with rows, its seed variance does not.
        alpha: two-sided level.
        power: chance to find it.
        many_seeds: take the noise of the seeds as averaged out.

    Returns:
        Number of rows; infinity when the seeds alone hide it (more seeds are needed), or when there is no difference.
    """
    reach = (norm.ppf(1 - alpha / 2) + norm.ppf(power)) ** 2
    left = measured.estimate**2 / reach - (0.0 if many_seeds else measured.seed_variance)
    return float(np.ceil(measured.row_variance * measured.rows / left)) if left > 0 else float("inf")
