"""Variants scored on the same rows with the same seeds, and their metrics on resampled rows.

A comparison varies with the rows that happen to be in the split and with the seed of each fit. The same rows are hard
for all variants, so all variants see the same draws: differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evenodd.evidence.metrics import FloatArray, IntArray, Scored

Weights = NDArray[np.float32]
Metric = Callable[["Aligned", str, Weights], FloatArray]

JACKKNIFE_FOLDS = 500
CHUNK_CELLS = 500_000


@dataclass(frozen=True)
class Aligned:
    """Several variants scored on the same rows with the same seeds.

    Attributes:
        row_ids: int64, (rows,), all rows that any seed scored, sorted.
        labels: int64, (rows,).
        seeds: shared by all variants.
        member: bool, (seeds, rows): rows in the split of each seed (all rows if the split is fixed).
        probabilities: by variant, float64, (seeds, rows, labels); 0 if a seed did not score a row.
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
    """One metric of one variant, on the rows and on resampled rows.

    Attributes:
        estimate: float64, (seeds,).
        draws: float64, (samples, seeds): on rows drawn with replacement, the same rows for all variants.
        left_out: float64, (folds, seeds): with one row (or one of 500 groups of rows) left out.
    """

    estimate: FloatArray
    draws: FloatArray
    left_out: FloatArray


def align(runs: Mapping[str, Mapping[int, Scored]]) -> Aligned:
    """Pairs variants by seed and by row id.

    Args:
        runs: the scored rows by variant and seed. Seeds and rows that some variant lacks are left out.

    Raises:
        ValueError: there are no variants, no common seed or no common row, row ids repeat, or labels differ.
    """
    if not runs:
        raise ValueError("0 variants were given: at least one is needed.")
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in runs.values())))
    if not seeds:
        given = "; ".join(f"{name}: {sorted(by_seed)}" for name, by_seed in runs.items())
        raise ValueError(f"the variants share no seed ({given}): fit them with the same seeds.")
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
            raise ValueError(f"{name}, seed {seed}: row ids repeat; each row must be scored once.")
    ids = [found.ids for found in scored.values()]
    common = ids[0]
    for other in ids[1:]:
        common = np.intersect1d(common, other, assume_unique=True)
    if len(common) == 0:
        raise ValueError(f"seed {seed}: {', '.join(scored)} share no row: score them on the same split.")
    return np.sort(common)


def _agree(labels: IntArray, where: IntArray, found: IntArray, name: str) -> None:
    """Writes labels to their positions; refuses a row that two runs label differently."""
    known = labels[where]
    clash = int(((known >= 0) & (known != found)).sum())
    if clash:
        raise ValueError(f"{name}: {clash} rows have another label than in the other runs: the data differ.")
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
    """Counts of rows drawn with replacement, in chunks that bound the memory, each (rows, some draws)."""
    rng = np.random.default_rng(seed)
    step = max(1, min(samples, CHUNK_CELLS // rows))
    for start in range(0, samples, step):
        size = min(step, samples - start)
        cells = rng.integers(0, rows, (rows, size)) * size + np.arange(size)
        yield np.bincount(cells.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float32)


def _left_out(rows: int) -> Iterator[Weights]:
    """All rows except one fold, in chunks; a fold is one row, or one of 500 interleaved groups."""
    folds = min(rows, JACKKNIFE_FOLDS)
    step = max(1, CHUNK_CELLS // rows)
    for start in range(0, folds, step):
        these = np.arange(start, min(folds, start + step))
        yield (np.arange(rows)[:, None] % folds != these).astype(np.float32)


def resample(aligned: Aligned, metric: Metric, *, samples: int = 2000, seed: int = 0) -> dict[str, Resampled]:
    """Measures a metric of each variant on the rows, on bootstrap draws of the rows, and with rows left out.

    All variants see the same draws, so that differences of draws are paired.

    Args:
        aligned: rows and scores.
        metric: `f1_macro_draws`, or the result of `average_precision_draws`.
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
