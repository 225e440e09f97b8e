"""Scored runs of made-up variants."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score, f1_score

from evenodd.evidence.metrics import Scored


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
