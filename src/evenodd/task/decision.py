"""From logits to a decision: calibration, pooling over windows, threshold and review band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

REVIEW = "review"
CLIP = 1e-4


def calibrate(logits: np.ndarray, temperature: float, bias: tuple[float, ...] = ()) -> np.ndarray:
    """Softmax of logits / temperature + bias.

    Args:
        logits: float, (rows, labels).
        temperature: > 0.
        bias: of each label; empty: none.

    Returns:
        Probabilities, float64, (rows, labels).
    """
    scaled = logits.astype(np.float64) / temperature + np.asarray(bias or 0.0)
    scaled -= scaled.max(axis=1, keepdims=True)
    exponentials = np.exp(scaled)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def pool(probabilities: np.ndarray, how: str, positive: int | None) -> np.ndarray:
    """One row of probabilities out of those of a text's windows.

    `max` takes the window with the highest probability of the positive label; without one, the highest probability of
    each label, made to sum to 1. `mean` takes the mean.

    Args:
        probabilities: float64, (windows, labels).
        how: `max` or `mean`.
        positive: number of the positive label, or None.

    Returns:
        float64, (labels,), sums to 1.
    """
    if len(probabilities) == 1:
        return probabilities[0]
    if how == "mean":
        return probabilities.mean(axis=0)
    if positive is not None:
        return probabilities[probabilities[:, positive].argmax()]
    highest = probabilities.max(axis=0)
    return highest / highest.sum()


def log_odds(probabilities: Any) -> np.ndarray:
    """log p - log (1 - p), beyond .0001 and .9999 held there; same shape."""
    clipped = np.clip(probabilities, CLIP, 1 - CLIP)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


@dataclass(frozen=True)
class Policy:
    """The bundle's decision settings, applied to probabilities."""

    labels: tuple[str, ...]
    positive: int | None
    threshold: float | None
    review: tuple[float, float] | None
    bias: tuple[float, ...] = ()

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Policy:
        """The policy of a checked bundle.json."""
        labels, decision = tuple(description["labels"]), description["decision"]
        positive, review = description.get("positive"), decision.get("review")
        return cls(
            labels,
            None if positive is None else labels.index(positive),
            decision.get("threshold"),
            None if review is None else (float(review[0]), float(review[1])),
            tuple(float(value) for value in decision.get("bias", ())),
        )

    def decide(self, probabilities: np.ndarray) -> dict[str, Any]:
        """`label`, `decision`, `score` and `probabilities` by name.

        The label is the one with the highest logit: the most probable one, unless a bias was fitted. With a positive
        label the decision is `review` inside the band, else whether the positive probability reaches the threshold;
        without one it is `review` below the band's upper end. The score is the probability of the positive label, or
        else of the label.

        Args:
            probabilities: float64, (labels,).
        """
        values = probabilities.tolist()
        top = int(self._scaled(probabilities).argmax())
        if self.positive is None:
            score = values[top]
            doubtful = self.review is not None and score < self.review[1]
            decision = REVIEW if doubtful else self.labels[top]
        else:
            score = values[self.positive]
            decision = self._binary(score, self.positive)
        return {
            "label": self.labels[top],
            "decision": decision,
            "score": score,
            "probabilities": dict(zip(self.labels, values, strict=True)),
        }

    def near_boundary(self, probabilities: np.ndarray, margin: float) -> np.ndarray:
        """Rows whose label or decision could be another one if every log-odds moved by up to `margin`.

        Args:
            probabilities: float64, (rows, labels).
            margin: log-odds.

        Returns:
            bool, (rows,).
        """
        odds, scaled = log_odds(probabilities), np.sort(self._scaled(probabilities), axis=1)
        near = scaled[:, -1] - scaled[:, -2] <= 2 * margin
        review = () if self.review is None else self.review
        if self.positive is None:
            score, bounds = odds.max(axis=1), review[1:]
        else:
            score, bounds = odds[:, self.positive], (0.5 if self.threshold is None else self.threshold, *review)
        for bound in bounds:
            if bound > 0:
                near |= np.abs(score - log_odds(bound)) <= margin
        return near

    def _scaled(self, probabilities: np.ndarray) -> np.ndarray:
        """Log-odds without the bias: the label is where they are highest; same shape."""
        return log_odds(probabilities) - 2 * np.asarray(self.bias or 0.0)

    def _binary(self, score: float, positive: int) -> str:
        if self.review is not None and self.review[0] <= score < self.review[1]:
            return REVIEW
        threshold = 0.5 if self.threshold is None else self.threshold
        return self.labels[positive if score >= threshold else 1 - positive]
