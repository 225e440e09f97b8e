"""A classifier: texts in, answers out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evenodd.classifier.bundle import read_bundle
from evenodd.classifier.scoring import Scoring
from evenodd.task import Decision
from evenodd.task.decision import FloatArray

if TYPE_CHECKING:
    from evenodd.classifier.engine import Options

CHUNK = 2048
"""Texts that are tokenised and scored at a time, so that memory does not grow with their number."""


@dataclass(frozen=True)
class Answer:
    """The answer to a text.

    Attributes:
        label: the label with the highest logit.
        decision: the label after threshold and review band, or `review`.
        score: calibrated probability of the positive label, or of `label` if there is no positive one.
        probabilities: calibrated, by label.
        windows: number of windows of the text.
    """

    label: str
    decision: str
    score: float
    probabilities: dict[str, float]
    windows: int


class Classifier:
    """Answers texts of any length. Not thread-safe."""

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring

    @classmethod
    def open(cls, folder: Path, options: Options | None = None) -> Classifier:
        """The classifier of a bundle, warm, after it has reproduced its sample answers.

        Raises:
            ValueError: the bundle is refused.
            RuntimeError: the requested provider did not start.
        """
        from evenodd.classifier.engine import EngineOptions, open_engine  # a torch model needs no ONNX Runtime

        return cls(open_engine(read_bundle(folder), options or EngineOptions()))

    @property
    def decision(self) -> Decision:
        """Calibration, pooling, threshold, review band and label names."""
        return self._scoring.decision

    def answer(self, texts: Sequence[str], *, exact: bool = False) -> list[Answer]:
        """An answer for each text, in their order.

        Args:
            texts: of any length.
            exact: scores do not depend on the other texts; slower for graphs whose scores do (int8).
        """
        return [
            Answer(**self.decision.answer(row), windows=count)
            for rows, counts in self._scored(texts, exact)
            for row, count in zip(rows, counts, strict=True)
        ]

    def score(self, texts: Sequence[str]) -> FloatArray:
        """Calibrated probabilities, float64, (texts, labels)."""
        return self.read(texts)[0]

    def read(self, texts: Sequence[str]) -> tuple[FloatArray, list[int]]:
        """Calibrated probabilities, float64, (texts, labels), and the number of windows of each text."""
        parts = list(self._scored(texts))
        none = np.empty((0, len(self.decision.label_names)))
        return np.concatenate([rows for rows, _ in parts] or [none]), [count for _, counts in parts for count in counts]

    def _scored(self, texts: Sequence[str], exact: bool = False) -> Iterator[tuple[FloatArray, list[int]]]:
        for start in range(0, len(texts), CHUNK):
            split = self._scoring.tokenize(texts[start : start + CHUNK])
            yield self._scoring.score_split(split, exact=exact), [len(windows) for windows in split]
