"""Fits a decision on validation (temperature, bias, threshold, review band) and measures its effect on scored rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, logit, softmax

from evenodd.evidence.metrics import FloatArray, IntArray, expected_calibration_error, log_loss
from evenodd.settings import DecisionSettings
from evenodd.task import Decision, Task

TEMPERATURE_RANGE = (0.05, 20.0)
MOST_BIAS = 6.0


def negative_log_likelihood(logits: NDArray, labels: IntArray, temperature: float = 1.0) -> float:
    """Mean over rows of -log p(true label), nats."""
    values = log_softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1)
    return float(-values[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: NDArray, labels: IntArray) -> float:
    """Temperature with the lowest negative log likelihood, within 0.05..20.

    Args:
        logits: float, (rows, labels).
        labels: int64, (rows,).

    Source: Guo et al. 2017, arXiv 1706.04599.
    """
    bounds = tuple(np.log(TEMPERATURE_RANGE))
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(logits, labels, float(np.exp(log_t))), bounds=bounds, method="bounded"
    )
    return float(np.exp(found.x))


def fit_scale_and_bias(logits: NDArray, labels: IntArray, positive: int) -> tuple[float, tuple[float, float]]:
    """Temperature and bias for two labels with the lowest negative log likelihood: logistic regression on the score.

    Args:
        logits: float64, (rows, 2).
        labels: int64, (rows,).
        positive: index of the label that gets the bias; the other label's bias is 0.

    Source: Platt 1999, "Probabilistic outputs for support vector machines".
    """
    score, sign = logits[:, positive] - logits[:, 1 - positive], np.where(labels == positive, 1.0, -1.0)

    def loss(values: FloatArray) -> float:
        return float(np.logaddexp(0.0, -sign * (score * np.exp(-values[0]) + values[1])).mean())

    start = np.array([np.log(fit_temperature(logits, labels)), 0.0])
    low, high = np.log(TEMPERATURE_RANGE)
    found = minimize(loss, start, method="L-BFGS-B", bounds=[(low, high), (-MOST_BIAS, MOST_BIAS)]).x
    bias = (0.0, float(found[1])) if positive == 1 else (float(found[1]), 0.0)
    return float(np.exp(found[0])), bias


def _threshold_table(hits: NDArray[np.bool_], scores: FloatArray) -> dict[str, FloatArray]:
    """Precision, recall and macro-F1 at every cut between two different scores, highest cut first."""
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], hits[order]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    found, taken = np.cumsum(hits)[last].astype(np.float64), last + 1.0
    below = np.append(scores[last[:-1] + 1], 0.0)
    rows, total = float(len(hits)), float(hits.sum())
    f1 = 2 * found / np.maximum(taken + total, 1)
    right_below = rows - taken - (total - found)
    f1_rest = 2 * right_below / np.maximum((rows - taken) + (rows - total), 1)
    return {
        "threshold": (scores[last] + below) / 2,
        "precision": found / taken,
        "recall": found / max(total, 1.0),
        "f1_macro": (f1 + f1_rest) / 2,
    }


def fit_threshold(hits: NDArray[np.bool_], scores: FloatArray, settings: DecisionSettings) -> float:
    """Threshold on the positive label's probability for the given target.

    Args:
        hits: bool, (rows,): rows whose true label is the positive one.
        scores: float64, (rows,): calibrated probability of the positive label.
        settings: `f1_macro`: the highest macro-F1; `precision`: the highest recall among thresholds of at least
            `minimum` precision; `recall`: the highest precision among those of at least `minimum` recall.

    Returns:
        Halfway between two neighbouring scores.

    Raises:
        ValueError: no threshold reaches the minimum precision, or there is no positive row.
    """
    if not hits.any():
        raise ValueError("validation has 0 rows of the positive label: no threshold can be fitted.")
    table = _threshold_table(hits, scores)
    if settings.target == "f1_macro":
        return float(table["threshold"][int(np.argmax(table["f1_macro"]))])
    other = {"precision": "recall", "recall": "precision"}[settings.target]
    allowed = table[settings.target] >= settings.minimum
    if not allowed.any():
        raise ValueError(
            f"decision.minimum={settings.minimum}: the best {settings.target} on validation is "
            f"{table[settings.target].max():.3f}. Lower the minimum, or pass -P decision.target=f1_macro."
        )
    return float(table["threshold"][int(np.argmax(np.where(allowed, table[other], -1.0)))])


def fit_review_band(scores: FloatArray, threshold: float, share: float) -> tuple[float, float]:
    """Interval around the threshold that contains the given share of rows: those nearest to it in log odds.

    Args:
        scores: float64, (rows,), calibrated probability of the positive label.
        threshold: within [0, 1].
        share: of rows, in [0, 1).

    Returns:
        (low, high) with low <= threshold <= high; both equal the threshold if no row is reviewed.
    """
    rows = int(np.floor(share * len(scores)))
    if rows == 0:
        return threshold, threshold
    clip = 1e-9
    centre = logit(np.clip(threshold, clip, 1 - clip))
    distance = np.sort(np.abs(logit(np.clip(scores, clip, 1 - clip)) - centre))
    reach = distance[rows - 1] if rows == len(scores) else (distance[rows - 1] + distance[rows]) / 2
    return float(min(expit(centre - reach), threshold)), float(max(expit(centre + reach), threshold))


def fit_decision(logits: NDArray, labels: IntArray, settings: DecisionSettings, task: Task) -> Decision:
    """Fits temperature, bias, threshold and review band on the validation rows.

    Args:
        logits: float, (rows, labels).
        labels: int64, (rows,).
        settings: target, minimum, review share and pooling.
        task: without a positive label there is no threshold, and the least certain texts go to review.

    Raises:
        ValueError: logits are NaN, shapes differ, or the target cannot be reached (see `fit_threshold`).
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    names, positive = task.labels, task.positive_index
    if logits.shape != (len(labels), len(names)) or not np.isfinite(logits).all():
        raise ValueError(f"logits {logits.shape}, labels {labels.shape}: logits must be finite, (rows, {len(names)}).")
    if positive is None:
        temperature = fit_temperature(logits, labels)
        sure = softmax(logits / temperature, axis=1).max(axis=1)
        edge = float(np.quantile(sure, settings.review_share)) if settings.review_share else 0.0
        return Decision(temperature, None, (0.0, edge), settings.target, None, names, pooling=settings.pooling)
    temperature, bias = fit_scale_and_bias(logits, labels, positive)
    score = softmax(logits / temperature + np.asarray(bias), axis=1)[:, positive]
    threshold = fit_threshold(labels == positive, score, settings)
    band = fit_review_band(score, threshold, settings.review_share)
    return Decision(temperature, threshold, band, settings.target, positive, names, bias, settings.pooling)


def decision_metrics(decision: Decision, logits: NDArray, labels: IntArray) -> dict[str, float]:
    """Metrics of calibration and decision on scored rows, by their names after `split/`.

    Returns:
        ece_before, ece (after), log_loss_before, log_loss, review_share, automated_accuracy (of the rows that are not
        reviewed; NaN if all are), and with a threshold decision_precision and decision_recall, ignoring review.
    """
    labels = np.asarray(labels, dtype=np.int64)
    before = softmax(np.asarray(logits, dtype=np.float64), axis=1)
    after = decision.probabilities(logits)
    outcome = decision.outcomes(after)
    decided = outcome >= 0
    values = {
        "ece_before": expected_calibration_error(labels, before),
        "ece": expected_calibration_error(labels, after),
        "log_loss_before": negative_log_likelihood(logits, labels),
        "log_loss": log_loss(labels, after),
        "review_share": float(1 - decided.mean()),
        "automated_accuracy": float((outcome == labels)[decided].mean()) if decided.any() else float("nan"),
    }
    if decision.positive is not None and decision.threshold is not None:
        called = after[:, decision.positive] >= decision.threshold
        hits = labels == decision.positive
        values["decision_precision"] = float(hits[called].mean()) if called.any() else float("nan")
        values["decision_recall"] = float(called[hits].mean()) if hits.any() else float("nan")
    return values
