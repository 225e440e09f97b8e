"""Quality metrics of scored rows, computed by one function that is cheap enough to run in each epoch.

Undefined metrics (such as the average precision of a label without rows) are NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evenodd.task import Task

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ECE_BINS = 15


@dataclass(frozen=True)
class Scored:
    """Rows with their true labels and a model's probabilities.

    Attributes:
        labels: int64, (rows,), label indices.
        probabilities: float64, (rows, labels), each row sums to 1.
        row_ids: int64, (rows,), position in the source, by which rows are paired; None: 0, 1, 2, ...
        logits: float32, (rows, labels), before any calibration; None if not kept.
    """

    labels: IntArray
    probabilities: FloatArray
    row_ids: IntArray | None = None
    logits: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        check_scores(self.labels, self.probabilities)
        if self.row_ids is not None and len(self.row_ids) != len(self.labels):
            raise ValueError(f"{len(self.row_ids)} row_ids for {len(self.labels)} rows: one id per row is needed.")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predictions(self) -> IntArray:
        """The label with the highest logit of each row (probability, if logits are not kept): int64, (rows,)."""
        return (self.probabilities if self.logits is None else self.logits).argmax(axis=1)

    @property
    def ids(self) -> IntArray:
        """Row ids; 0, 1, 2, ... if none were given."""
        return np.arange(len(self)) if self.row_ids is None else np.asarray(self.row_ids, dtype=np.int64)


def check_scores(labels: IntArray, probabilities: FloatArray) -> None:
    """Refuses scores that metrics cannot be computed on.

    Raises:
        ValueError: there are no rows, shapes do not match, values are NaN or outside [0, 1], or a label has no column.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if probabilities.ndim != 2 or labels.ndim != 1 or len(labels) != len(probabilities):
        raise ValueError(
            f"labels have shape {labels.shape}, probabilities {probabilities.shape}: need (rows,) and (rows, labels)."
        )
    if len(labels) == 0:
        raise ValueError("0 rows were scored: at least one is needed.")
    if not np.isfinite(probabilities).all() or probabilities.min() < 0 or probabilities.max() > 1 + 1e-6:
        raise ValueError("probabilities hold NaN or values outside [0, 1]: pass softmax(logits), not logits.")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(f"labels are {labels.min()}..{labels.max()}: allowed are 0..{probabilities.shape[1] - 1}.")


def confusion(labels: IntArray, predictions: IntArray, classes: int) -> IntArray:
    """Counts of (true label, predicted label), int64, (classes, classes)."""
    cells = np.asarray(labels) * classes + np.asarray(predictions)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def rates(counts: NDArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Precision, recall and F1 of each label from confusion counts; 0 if nothing was predicted or present.

    Args:
        counts: (..., classes, classes), rows are true labels.

    Returns:
        Three float64 arrays, (..., classes).
    """
    right = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    predicted, present = counts.sum(axis=-2), counts.sum(axis=-1)
    precision = right / np.maximum(predicted, 1e-12)
    recall = right / np.maximum(present, 1e-12)
    f1 = 2 * right / np.maximum(predicted + present, 1e-12)
    return precision, recall, f1


def f1_macro(labels: IntArray, predictions: IntArray, classes: int) -> float:
    """Unweighted mean of the labels' F1; absent labels count as 0."""
    return float(rates(confusion(labels, predictions, classes))[2].mean())


def average_precision(hits: NDArray, scores: FloatArray) -> float:
    """Sum over thresholds of precision times the gain in recall; tied scores are one threshold.

    Args:
        hits: bool or 0/1, (rows,): the positive rows.
        scores: float, (rows,), higher is more likely.

    Returns:
        In [0, 1]; NaN if no row is positive.

    Source: the definition of scikit-learn's `average_precision_score` (no interpolation).
    """
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(np.asarray(hits, dtype=np.float64)[order])
    if found[-1] == 0:
        return float("nan")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    found, seen = found[last_of_tie], np.flatnonzero(last_of_tie) + 1
    return float(np.sum(np.diff(found, prepend=0.0) * found / seen) / found[-1])


def calibration_bins(labels: IntArray, probabilities: FloatArray, bins: int = ECE_BINS) -> FloatArray:
    """Mean confidence, accuracy and rows of bins of about equal size, by the probability of the predicted label.

    Equal texts have equal confidence, so a tie is never split over two bins.

    Returns:
        float64, (nonempty bins, 3): confidence, accuracy, rows.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    edges = np.unique(np.quantile(confidence, np.linspace(0, 1, bins + 1)[1:-1]))
    which = np.searchsorted(edges, confidence, side="right")
    rows = np.bincount(which, minlength=len(edges) + 1).astype(np.float64)
    total = np.bincount(which, weights=confidence, minlength=len(rows))
    correct = np.bincount(which, weights=right, minlength=len(rows))
    kept = rows > 0
    return np.column_stack([total[kept] / rows[kept], correct[kept] / rows[kept], rows[kept]])


def expected_calibration_error(labels: IntArray, probabilities: FloatArray, bins: int = ECE_BINS) -> float:
    """Mean gap between confidence and accuracy of the predicted label, over bins of equal size.

    Even a perfectly calibrated model does not reach 0 on few rows: about .015 at 1,500 rows and 15 bins.

    Source: Guo et al. 2017, arXiv 1706.04599; equal-mass bins as in Nguyen and O'Connor 2015, arXiv 1508.05154.
    """
    table = calibration_bins(labels, probabilities, bins)
    return float(np.average(np.abs(table[:, 0] - table[:, 1]), weights=table[:, 2]))


def _ranking(labels: IntArray, probabilities: FloatArray, positive: int | None) -> float:
    """Average precision of the positive label, or the mean over all labels, one against the rest."""
    if positive is not None:
        return average_precision(labels == positive, probabilities[:, positive])
    each = [average_precision(labels == k, probabilities[:, k]) for k in range(probabilities.shape[1])]
    return float(np.nanmean(each))


def classification_metrics(
    labels: IntArray,
    probabilities: FloatArray,
    *,
    label_names: Sequence[str],
    positive: str | None,
    predictions: IntArray | None = None,
) -> dict[str, float]:
    """All quality metrics of a scored split, by their names after `split/`.

    Args:
        labels: int64, (rows,).
        probabilities: float64, (rows, labels).
        label_names: in the order of the columns.
        positive: the label for average precision if there are two labels; None or more labels: the mean over all.
        predictions: int64, (rows,), predicted labels; None: the most probable ones.

    Returns:
        accuracy, f1_macro, average_precision, ece (see `expected_calibration_error`), log_loss (nats), and for each
        label f1_label_KEY, precision_label_KEY, recall_label_KEY, with its key of `Task.label_keys`.

    Raises:
        ValueError: see `check_scores`; or the label names do not match the columns.
    """
    labels, probabilities = np.asarray(labels, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    check_scores(labels, probabilities)
    task = Task.single_label(label_names, positive)
    if len(label_names) != probabilities.shape[1]:
        raise ValueError(f"label_names={tuple(label_names)}: the probabilities have {probabilities.shape[1]} columns.")
    given = probabilities.argmax(axis=1) if predictions is None else np.asarray(predictions, dtype=np.int64)
    counts = confusion(labels, given, len(label_names))
    precision, recall, f1 = rates(counts)
    values = {
        "accuracy": float(np.trace(counts) / len(labels)),
        "f1_macro": float(f1.mean()),
        "average_precision": _ranking(labels, probabilities, task.positive_index),
        "ece": expected_calibration_error(labels, probabilities),
        "log_loss": log_loss(labels, probabilities),
    }
    for key, *figures in zip(task.label_keys, f1, precision, recall, strict=True):
        values |= {
            f"{name}_label_{key}": float(v) for name, v in zip(("f1", "precision", "recall"), figures, strict=True)
        }
    return values


def log_loss(labels: IntArray, probabilities: FloatArray) -> float:
    """Mean over rows of -log p(true label), nats."""
    own = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(own, 1e-15, 1.0)).mean())
