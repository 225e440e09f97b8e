"""The graph `checked`: int8 answers, and float32 answers again if int8's score is close to a boundary.

Dynamic int8 uses one range of activations for a whole batch. So a text's scores depend slightly on the other texts in
the batch, and a label near a boundary can change. This module measures the error on validation texts in several kinds
of batches. Windows whose int8 score is within a margin of a boundary are run again in float32; the others have the
label and the decision of the float32 graph, with about one exception in 50,000. The margin is the smallest one with two
properties: the tail of the errors and the number of windows at each distance predict no more exceptions, and no
validation window changes. If a text of several windows uses the window with the highest positive score, the same holds
for the text; with other pooling it is run in float32.

Distances are in log-odds, log p - log (1 - p), where int8's errors have a similar size over all probabilities.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evenodd.classifier.manifest import EXACT
from evenodd.classifier.scoring import Session
from evenodd.classifier.session import open_session
from evenodd.release.encode import TextEncoder
from evenodd.release.parity import rows_logits
from evenodd.task import Decision
from evenodd.task.decision import log_odds

log = logging.getLogger(__name__)

FAST = "int8"
MAY_CHANGE = 2e-5
TAIL = 0.05
NEAREST = 0.25
MAX_WINDOWS = 2000
LEAST_MARGIN = 1e-3
"""Minimum margin in log-odds, even if no validation text is close to a boundary."""
MIXED_BATCH = 8


@dataclass(frozen=True)
class Checked:
    """Result of the measurement. It is stored in bundle.json; the service reads `kind`, `margin` and `share`.

    Attributes:
        margin: log-odds; a window closer than this to a boundary is run again in float32.
        share: share of the windows that are run again.
        may_change: expected share of windows whose label or decision still differs from float32's.
        texts: number of measured windows.
        max_log_odds_diff: largest difference between int8 and float32 in any kind of batch, in log-odds.
        max_abs_diff: largest difference of a probability among windows that are not run again.
        changed: number of windows whose label or decision int8 alone changes in some kind of batch.
        held_out: number of windows of one half that still change with a margin from the other half, summed over both.
        kind: the graph that answers first.
    """

    margin: float
    share: float
    may_change: float
    texts: int
    max_log_odds_diff: float
    max_abs_diff: float
    changed: int
    held_out: int
    kind: str = FAST


def measure_checked(
    graphs: Mapping[str, Path], encoder: TextEncoder, decision: Decision, texts: Sequence[str]
) -> Checked:
    """Measures the margin that keeps labels and decisions, and its cost.

    Args:
        graphs: kind to file, `int8` and `fp32` among them.
        encoder: encodes texts as inputs of the graphs.
        decision: determines where labels and decisions change.
        texts: texts of the validation split; at most 2,000 windows are used.

    Raises:
        ValueError: there are no texts.
    """
    if not len(texts):
        raise ValueError("texts is empty: the margin of int8 is measured on the validation split.")
    rows = [window for windows in encoder.windows(texts) for window in windows]
    rows = [rows[i] for i in np.linspace(0, len(rows) - 1, min(len(rows), MAX_WINDOWS)).astype(int)]
    exact = decision.probabilities(rows_logits(open_session(graphs[EXACT]), encoder, rows))
    session = open_session(graphs[FAST])
    fast = np.stack([decision.probabilities(logits) for logits in _kinds_of_batches(session, encoder, rows)])
    found = compare(fast, exact, decision)
    log.info(
        "checked | int8 alone changes %d of %d labels and decisions; %.1f%% of the windows run again in float32, none "
        "differs (%d with a margin of the other half)",
        found.changed,
        found.texts,
        100 * found.share,
        found.held_out,
    )
    return found


def compare(fast: np.ndarray, exact: np.ndarray, decision: Decision) -> Checked:
    """Computes the result from probabilities of both graphs.

    Args:
        fast: float64, (kinds of batches, windows, labels).
        exact: float64, (windows, labels).
        decision: determines where labels and decisions change.
    """
    errors = np.abs(log_odds(fast) - log_odds(exact)).max(axis=2)
    distances = np.stack([decision.distance(p) for p in fast])
    differs = np.stack([_outcomes(decision, p) for p in fast]) != _outcomes(decision, exact)
    margin = least_margin(errors, distances, differs)
    near = distances <= margin
    kept = np.abs(fast - exact).max(axis=2)[~near]
    held_out = 0
    for half in (0, 1):
        other, ours = slice(1 - half, None, 2), slice(half, None, 2)
        found = least_margin(errors[:, other], distances[:, other], differs[:, other])
        held_out += int((differs & (distances > found)).any(axis=0)[ours].sum())
    return Checked(
        margin=margin,
        share=float(near.mean()),
        may_change=_changing(errors, distances, margin),
        texts=len(exact),
        max_log_odds_diff=float(errors.max()),
        max_abs_diff=float(kept.max(initial=0.0)),
        changed=int(differs.any(axis=0).sum()),
        held_out=held_out,
    )


def _outcomes(decision: Decision, probabilities: np.ndarray) -> np.ndarray:
    """A number for each row, equal for equal label and decision: int64, (rows,)."""
    kinds = len(decision.label_names) + 1
    return decision.labels(probabilities) * kinds + decision.outcomes(probabilities)


def least_margin(errors: np.ndarray, distances: np.ndarray, differs: np.ndarray) -> float:
    """The smallest margin with at most `MAY_CHANGE` expected changes beyond it, and no observed ones.

    Args:
        errors: float64, (kinds of batches, windows), error of int8.
        distances: same shape, distance of int8's score from the nearest boundary.
        differs: bool, same shape, whether label or decision changed.
    """
    candidates = np.unique(np.append(distances, 0.0))
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if _changing(errors, distances, candidates[middle]) <= MAY_CHANGE:
            high = middle
        else:
            low = middle + 1
    return float(max(candidates[low], distances[differs].max(initial=0.0), LEAST_MARGIN))


def _changing(errors: np.ndarray, distances: np.ndarray, margin: float) -> float:
    """Expected share of windows beyond the margin that change: their error is at least as large as their distance."""
    kept = distances[distances > margin]
    return float(exceedance(errors[distances <= np.quantile(distances, NEAREST)], kept).sum() / distances.size)


def exceedance(errors: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Probability of an error larger than each size: counted up to the 95th percentile of the errors; beyond it, from
    an exponential tail with the mean excess (peaks over a threshold).

    Args:
        errors: float64, (n,), at least one.
        sizes: float64, (m,).
    """
    ordered = np.sort(errors)
    threshold = float(np.quantile(ordered, 1 - TAIL))
    counted = 1 - np.searchsorted(ordered, sizes, side="right") / len(ordered)
    excess = ordered[ordered > threshold] - threshold
    scale = max(float(excess.mean()) if len(excess) else 0.0, 1e-9)
    tail = TAIL * np.exp(-np.maximum(sizes - threshold, 0.0) / scale)
    return np.where(sizes > threshold, tail, counted)


def _kinds_of_batches(session: Session, encoder: TextEncoder, rows: Sequence[Sequence[int]]) -> Iterator[np.ndarray]:
    """Logits, (windows, labels), in batches sorted by length, in random batches, and of single windows."""
    yield rows_logits(session, encoder, rows)
    order = np.random.default_rng(0).permutation(len(rows))
    for size in (MIXED_BATCH, 1):
        starts = range(0, len(rows), size)
        parts = [session.run(encoder.pad([rows[i] for i in order[s : s + size]])) for s in starts]
        yield np.concatenate(parts)[np.argsort(order)]
