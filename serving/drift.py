"""Drift of live scores and lengths from those of the validation rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MEMORY = 5000
LEAST = 200


def population_stability(reference: np.ndarray, live: np.ndarray) -> float:
    """Population stability index: sum over bins of (q - p) ln(q / p), with half a count added to each bin.

    Values below 0.1 are commonly read as stable, above 0.25 as a shift.

    Args:
        reference: counts, (bins,).
        live: counts, (bins,).

    Returns:
        0 or more, nats.
    """
    p = (reference + 0.5) / (reference + 0.5).sum()
    q = (live + 0.5) / (live + 0.5).sum()
    return float(((q - p) * np.log(q / p)).sum())


class Drift:
    """Live counts in the reference's bins, with decay: about the last `MEMORY` texts count."""

    def __init__(self, edges: Sequence[float], counts: Sequence[float]) -> None:
        self._inner_edges = np.asarray(edges, dtype=np.float64)[1:-1]
        self._reference = np.asarray(counts, dtype=np.float64)
        self._live = np.zeros(len(counts))
        self.seen = 0

    def add(self, values: Sequence[float]) -> None:
        """Counts values; those beyond the outer edges go into the outer bins."""
        bins = np.searchsorted(self._inner_edges, np.asarray(values, dtype=np.float64), side="right")
        self._live *= max(0.0, 1.0 - len(values) / MEMORY)
        self._live += np.bincount(bins, minlength=len(self._live))
        self.seen += len(values)

    @property
    def index(self) -> float | None:
        """Population stability index, or None before `LEAST` texts."""
        return population_stability(self._reference, self._live) if self.seen >= LEAST else None
