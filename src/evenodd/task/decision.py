"""From logits to a label, a decision and a score: calibration, pooling over windows, threshold and review band.

The numbers are fitted on validation (`evenodd.evidence.calibration`) and stored with the model. All code that answers
applies them through this module. It needs only NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenodd.task.task import REVIEW, Task, label_faults

Target = Literal["f1_macro", "precision", "recall"]
Pooling = Literal["max", "mean"]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CLIP = 1e-4
TINY = 1e-300
REQUIRED = ("temperature", "threshold", "review", "target")
OPTIONAL = ("bias", "pooling")


@dataclass(frozen=True)
class Decision:
    """How scores become decisions.

    Temperature and bias calibrate the probabilities; the label stays the one with the highest logit. The bias corrects
    for class weights, which train the model as if the positive label were more frequent than it is.

    Attributes:
        temperature: > 0; logits are divided by it.
        threshold: lowest probability that decides for the positive label; None without a positive label.
        review: (low, high); with a threshold, low <= p(positive) < high goes to review; without, max p < high does.
        target: metric that the threshold was chosen for.
        positive: number of the positive label, or None.
        label_names: in the order of the label numbers.
        bias: added to each scaled logit; empty: none. Only two labels have one.
        pooling: how the windows of a long text become one row: see `pool`.

    Raises:
        ValueError: values have a wrong type or are out of range; one message lists them all.
    """

    temperature: float
    threshold: float | None
    review: tuple[float, float]
    target: Target
    positive: int | None
    label_names: tuple[str, ...]
    bias: tuple[float, ...] = ()
    pooling: Pooling = "max"

    def __post_init__(self) -> None:
        faults = [*label_faults(self.label_names), *_number_faults(self), *_band_faults(self), *_choice_faults(self)]
        if faults:
            raise ValueError("; ".join(faults) + ".")

    @property
    def positive_label(self) -> str | None:
        """Name of the positive label."""
        return None if self.positive is None else self.label_names[self.positive]

    def probabilities(self, logits: ArrayLike) -> FloatArray:
        """Calibrated probabilities: softmax(logits / temperature + bias), float64, (rows, labels)."""
        scaled = np.asarray(logits, dtype=np.float64) / self.temperature
        if self.bias:
            scaled += np.asarray(self.bias)
        scaled -= scaled.max(axis=-1, keepdims=True)
        exponentials = np.exp(scaled)
        return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))

    def logits(self, probabilities: FloatArray) -> FloatArray:
        """Logits of calibrated probabilities, up to a constant per row: float64, same shape."""
        logs = np.log(np.clip(probabilities, TINY, 1.0))
        return np.asarray(self.temperature * (logs - np.asarray(self.bias) if self.bias else logs))

    def pool(self, probabilities: FloatArray) -> FloatArray:
        """Pools the probabilities of a text's windows to one row.

        `max` takes the window with the highest probability of the positive label; without a positive label, the
        highest probability of each label, normalised to sum to 1. `mean` takes the mean.

        Args:
            probabilities: float64, (windows, labels).

        Returns:
            float64, (labels,), sums to 1.
        """
        if len(probabilities) == 1:
            return probabilities[0]
        if self.pooling == "mean":
            return np.asarray(probabilities.mean(axis=0))
        if self.positive is not None:
            return np.asarray(probabilities[probabilities[:, self.positive].argmax()])
        highest = probabilities.max(axis=0)
        return np.asarray(highest / highest.sum())

    def pool_texts(self, probabilities: FloatArray, windows: Sequence[int]) -> FloatArray:
        """Pools the windows of several texts: float64, (texts, labels).

        Args:
            probabilities: float64, (windows of all texts, labels), in the order of the texts.
            windows: number of windows of each text, at least 1.
        """
        if len(windows) == len(probabilities):
            return probabilities
        ends = np.cumsum(windows)
        return np.array([self.pool(part) for part in np.split(probabilities, ends[:-1])])

    def labels(self, probabilities: FloatArray) -> IntArray:
        """Indices of the labels with the highest logits, from calibrated probabilities: int64, (rows,)."""
        if not self.bias:
            return np.asarray(probabilities.argmax(axis=1))
        return np.asarray((np.log(np.clip(probabilities, TINY, 1.0)) - np.asarray(self.bias)).argmax(axis=1))

    def scores(self, probabilities: FloatArray) -> FloatArray:
        """Probability of the positive label if there is one, otherwise of the predicted label: float64, (rows,)."""
        return np.asarray(probabilities.max(axis=1) if self.positive is None else probabilities[:, self.positive])

    def outcomes(self, probabilities: FloatArray) -> IntArray:
        """Label indices of the decisions, -1 for review: int64, (rows,)."""
        probabilities = np.asarray(probabilities, dtype=np.float64)
        low, high = self.review
        score = self.scores(probabilities)
        if self.positive is None or self.threshold is None:
            return np.where(score < high, -1, probabilities.argmax(axis=1))
        label = np.where(score >= self.threshold, self.positive, 1 - self.positive)
        return np.where((score >= low) & (score < high), -1, label)

    def decide(self, probabilities: FloatArray) -> list[str]:
        """A label name or `review` for each row of calibrated probabilities."""
        names = (*self.label_names, REVIEW)
        return [names[number] for number in self.outcomes(probabilities)]

    def answer(self, probabilities: FloatArray) -> dict[str, Any]:
        """The answer for one text: `label`, `decision`, `score` and `probabilities` by label name.

        Args:
            probabilities: float64, (labels,), calibrated and pooled.
        """
        values = probabilities.tolist()
        top = int(self.labels(probabilities[None])[0])
        score = max(values) if self.positive is None else values[self.positive]
        return {
            "label": self.label_names[top],
            "decision": self._decide_one(score, values),
            "score": score,
            "probabilities": dict(zip(self.label_names, values, strict=True)),
        }

    def distance(self, probabilities: FloatArray) -> FloatArray:
        """Smallest shift of all log-odds that can change the label or the decision: float64, (rows,)."""
        odds = log_odds(probabilities)
        ordered = np.sort(odds - 2 * np.asarray(self.bias), axis=1) if self.bias else np.sort(odds, axis=1)
        found = (ordered[:, -1] - ordered[:, -2]) / 2
        score = odds.max(axis=1) if self.positive is None else odds[:, self.positive]
        for bound in self.review[1:] if self.threshold is None else (self.threshold, *self.review):
            if bound > 0:
                found = np.minimum(found, np.abs(score - log_odds(bound)))
        return np.asarray(found)

    def near_boundary(self, probabilities: FloatArray, margin: float) -> NDArray[np.bool_]:
        """Rows whose label or decision can change if the log-odds shift by up to `margin`: bool, (rows,)."""
        return np.asarray(self.distance(probabilities) <= margin)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the labels and the positive label, which the task holds."""
        return {
            "temperature": self.temperature,
            "bias": list(self.bias),
            "threshold": self.threshold,
            "review": list(self.review),
            "target": self.target,
            "pooling": self.pooling,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], task: Task) -> Decision:
        """Reads the result of `to_dict`.

        Raises:
            ValueError: a key is missing or unknown, or a value has a wrong type or is out of range.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"decision={values!r}: an object is needed.")
        unknown, lacking = sorted(set(values) - {*REQUIRED, *OPTIONAL}), [key for key in REQUIRED if key not in values]
        if unknown or lacking:
            raise ValueError(f"decision: unknown {unknown}, missing {lacking}.")
        for name in ("review", "bias"):
            if not isinstance(values.get(name, []), list | tuple):
                raise ValueError(f"decision.{name}={values[name]!r}: a list of numbers is needed.")
        return cls(
            temperature=values["temperature"],
            threshold=values["threshold"],
            review=tuple(values["review"]),
            target=values["target"],
            positive=task.positive_index,
            label_names=task.labels,
            bias=tuple(values.get("bias", ())),
            pooling=values.get("pooling", "max"),
        )

    def _decide_one(self, score: float, values: Sequence[float]) -> str:
        low, high = self.review
        if self.positive is None or self.threshold is None:
            return REVIEW if score < high else self.label_names[values.index(score)]
        if low <= score < high:
            return REVIEW
        return self.label_names[self.positive if score >= self.threshold else 1 - self.positive]


def log_odds(probabilities: ArrayLike) -> FloatArray:
    """log p - log (1 - p) of probabilities clipped to [.0001, .9999]; same shape."""
    clipped = np.clip(np.asarray(probabilities, dtype=np.float64), CLIP, 1 - CLIP)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number_faults(decision: Decision) -> list[str]:
    faults = []
    if not _is_number(decision.temperature) or decision.temperature <= 0:
        faults.append(f"decision.temperature={decision.temperature!r}: a number above 0 is needed")
    bias, labels = decision.bias, len(decision.label_names)
    if bias and not (labels == len(bias) == 2 and all(_is_number(value) for value in bias)):
        faults.append(f"decision.bias={list(bias)!r}: a number for each of two labels is needed, or none")
    return faults


def _band_faults(decision: Decision) -> list[str]:
    faults = []
    threshold, review = decision.threshold, decision.review
    if threshold is not None and not (_is_number(threshold) and 0 <= threshold <= 1):
        faults.append(f"decision.threshold={threshold!r}: a probability is needed")
    if (threshold is None) != (decision.positive is None):
        have = "without a positive label" if decision.positive is None else "although there is a positive label"
        faults.append(f"decision.threshold={threshold!r} {have}")
    if len(review) != 2 or not all(_is_number(value) for value in review):
        faults.append(f"decision.review={list(review)!r}: [low, high] is needed")
    elif not 0 <= review[0] <= review[1] <= 1:
        faults.append(f"decision.review={list(review)!r}: 0 <= low <= high <= 1 is needed")
    return faults


def _choice_faults(decision: Decision) -> list[str]:
    faults = []
    if decision.target not in get_args(Target):
        faults.append(f"decision.target={decision.target!r}: allowed are {', '.join(get_args(Target))}")
    if decision.pooling not in get_args(Pooling):
        faults.append(f"decision.pooling={decision.pooling!r}: allowed are {', '.join(get_args(Pooling))}")
    positive = decision.positive
    if positive is not None and not (positive in (0, 1) and len(decision.label_names) == 2):
        faults.append(f"positive={positive!r}: only one of two labels can be positive")
    return faults
