"""What a fit is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback

from evenodd.rows import TokenStore
from evenodd.training.history import Report

Score = Callable[[np.ndarray, np.ndarray], dict[str, float]]


@dataclass(frozen=True)
class FitData:
    """Token ids and labels (int64, (rows,)) of the rows that a fit trains on and is measured by.

    `turns` names the rows that take turns over the epochs, as `TokenBudgetSampler` describes them.
    """

    train: TokenStore
    train_labels: np.ndarray
    validation: TokenStore
    validation_labels: np.ndarray
    turns: np.ndarray | None = None

    @property
    def epoch_lengths(self) -> np.ndarray:
        """Tokens of the rows that the first epoch holds: int, (rows,)."""
        return self.train.lengths if self.turns is None else self.train.lengths[self.turns <= 0]


@dataclass(frozen=True)
class FitContext:
    """What surrounds a fit.

    Attributes:
        folder: checkpoints; emptied by whoever no longer needs them.
        seed: of batches and dropout.
        score: (logits, labels) to metrics; `f1_macro` chooses the best epoch.
        report: called with named metrics and the step they belong to.
        callbacks: further callbacks of transformers' Trainer.
    """

    folder: Path
    seed: int
    score: Score
    report: Report = lambda metrics, step: None
    callbacks: tuple[TrainerCallback, ...] = ()


@dataclass(frozen=True)
class Fit:
    """A finished fit: `history` holds rows of step, epoch, metric and value; `figures` the cost metrics.

    Attributes:
        averaged: whether the weights are the mean of the late ones, not those of the best epoch.
        score: macro-F1 on validation of the weights left.
    """

    history: list[dict[str, Any]]
    figures: dict[str, float]
    best_epoch: int = 0
    train_loss: float = field(default=float("nan"))
    averaged: bool = False
    score: float = float("nan")
