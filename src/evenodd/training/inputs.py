"""Inputs and result of a fit."""

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
    """Token ids and labels (int64, (rows,)) of the rows for training and validation.

    `turns` assigns rows to epochs, see `TokenBudgetSampler`.
    """

    train: TokenStore
    train_labels: np.ndarray
    validation: TokenStore
    validation_labels: np.ndarray
    turns: np.ndarray | None = None

    @property
    def epoch_lengths(self) -> np.ndarray:
        """Number of tokens of each row in the first epoch: int, (rows,)."""
        return self.train.lengths if self.turns is None else self.train.lengths[self.turns <= 0]


@dataclass(frozen=True)
class FitContext:
    """The environment of a fit.

    Attributes:
        folder: folder of checkpoints, which the caller deletes.
        seed: seed of batches and dropout.
        score: computes metrics from (logits, labels); `f1_macro` selects the best epoch.
        report: called with named metrics and their step.
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
        averaged: whether the weights are the mean of late weights instead of the best epoch's.
        score: macro-F1 of the final weights on validation.
    """

    history: list[dict[str, Any]]
    figures: dict[str, float]
    best_epoch: int = 0
    train_loss: float = field(default=float("nan"))
    averaged: bool = False
    score: float = float("nan")
