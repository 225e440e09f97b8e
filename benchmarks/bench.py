"""Shared by all recipes of benchmarks.training: rows, the model, its teacher, and the scoring of a fit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from evenodd.encoders import odd_layers
from evenodd.evidence import classification_metrics
from evenodd.rows import Corpus, TokenStore
from evenodd.settings import DistillSettings
from evenodd.training import TeacherTargets

CLASSROOM_TOKENS = 128
BATCH_ROWS = 32
ORDERS = 200


@dataclass(frozen=True)
class Bench:
    """Inputs of all recipes.

    Attributes:
        encoder: the pretrained encoder with a new head, from which `teacher` and `lora` start.
        teacher: the model to distil.
        validation, validation_labels: for choosing our epoch; only a few rows if only speeds are measured.
        test, test_labels: for scoring every recipe, unseen in training; only a few rows in the same case.
        targets: the teacher's, for every training row; None if no recipe needs them.
        work: folder for the files of a run.
        counted: floating-point operations, total and executed, by task, method, rows and tokens.
    """

    corpus: Corpus
    encoder: PreTrainedModel
    teacher: PreTrainedModel
    train: TokenStore
    validation: TokenStore
    validation_labels: np.ndarray
    test: TokenStore
    test_labels: np.ndarray
    targets: TeacherTargets | None
    work: Path
    distill: DistillSettings = field(default_factory=DistillSettings)
    counted: dict[tuple[str, str, int, int], tuple[float, float]] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[int, ...]:
        """The teacher layers that the student keeps."""
        return odd_layers(self.teacher.config.num_hidden_layers)

    def rows(self, count: int | None) -> np.ndarray:
        """Positions of `count` training rows, evenly over all lengths, so that any number has the corpus's mix."""
        count = min(count or len(self.train), len(self.train))
        places = (np.arange(count) + 0.5) * len(self.train) / count
        chosen = np.argsort(self.train.lengths, kind="stable")[places.astype(np.int64)]
        return np.random.default_rng(0).permutation(chosen)

    def usual_batches(self, rows: np.ndarray) -> np.ndarray:
        """An order of these rows whose batches have as much padding as random batches of all rows on average.

        With few rows, padding may differ by a quarter between two orders.
        """
        usual = _padded(self.train.lengths, np.random.default_rng(0)) / self.train.lengths.mean()
        orders = [np.random.default_rng(seed).permutation(rows) for seed in range(ORDERS)]
        padded = [_padded(self.train.lengths[order]) / self.train.lengths[order].mean() for order in orders]
        return orders[int(np.argmin(np.abs(np.asarray(padded) - usual)))]


def _padded(lengths: np.ndarray, random: np.random.Generator | None = None) -> float:
    """Mean tokens of a row, including padding, in batches of the rows in this order or in a random one."""
    lengths = lengths if random is None else random.permutation(lengths)
    batches = np.split(lengths, range(BATCH_ROWS, len(lengths), BATCH_ROWS))
    return sum(len(batch) * int(batch.max()) for batch in batches) / len(lengths)


def scores(corpus: Corpus, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Metrics of these rows."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = shifted / shifted.sum(1, keepdims=True)
    return classification_metrics(labels, probabilities, label_names=corpus.label_names, positive=corpus.positive)


@dataclass(frozen=True)
class Recipe:
    """One line of the table.

    Attributes:
        task: `distil`, `teacher` (fine-tuning at full depth) or `lora`.
        how: `classroom`, `trainer` or `ours`.
        rows: number of rows for timing; slow recipes get fewer, with the padding of batches of all rows.
        bf16, grouped: options of Trainer. With grouping, batches come from all rows and training stops after the same
            number of steps: few rows cannot be grouped by length (2.5 tokens with padding per real one for 256 rows,
            1.07 for 7,038).
        changes: our settings that differ from the peers' recipe.
    """

    task: str
    how: str
    rows: int
    bf16: bool = False
    grouped: bool = False
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """Rows of a recipe, Trainer's way of batching them (`train_sampling_strategy`), and the maximum number of steps."""

    rows: np.ndarray
    sampling: str = "random"
    most_steps: int = -1


@dataclass(frozen=True)
class Trained:
    """Result of a training method.

    Attributes:
        rows: positions of the rows it was trained on, once per use.
    """

    rows: np.ndarray
    steps: int
    seconds: float


def part_of(store: TokenStore, rows: np.ndarray) -> TokenStore:
    """A store of only these rows, in memory."""
    lengths = store.lengths[rows].astype(np.int64)
    flat = np.concatenate([store.ids(int(row)) for row in rows])
    return replace(store, flat=flat, offsets=np.concatenate([[0], np.cumsum(lengths)]))
