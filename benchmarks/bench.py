"""What all recipes of benchmarks.training share: rows, the model, its teacher, and how a fit is scored."""

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
    """What all recipes share.

    Attributes:
        encoder: as pretrained, with a fresh head: what `teacher` and `lora` start from.
        teacher: what is distilled.
        validation, validation_labels: what ours chooses its epoch by; a few of the rows when only speeds are measured.
        test, test_labels: what every recipe is scored on, and none has seen; a few of the rows likewise.
        targets: of the teacher, for every training row; None where nothing reads them.
        work: for what a run leaves behind.
        counted: floating-point operations by task, way, rows and tokens: whole, and executed.
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
        """Positions of so many training rows, evenly over all lengths: the corpus's mix for any number."""
        count = min(count or len(self.train), len(self.train))
        places = (np.arange(count) + 0.5) * len(self.train) / count
        chosen = np.argsort(self.train.lengths, kind="stable")[places.astype(np.int64)]
        return np.random.default_rng(0).permutation(chosen)

    def usual_batches(self, rows: np.ndarray) -> np.ndarray:
        """An order of these rows whose batches hold as much padding as random batches of all rows do on average.

        Of few rows, one order pads a quarter more than another.
        """
        usual = _padded(self.train.lengths, np.random.default_rng(0)) / self.train.lengths.mean()
        orders = [np.random.default_rng(seed).permutation(rows) for seed in range(ORDERS)]
        padded = [_padded(self.train.lengths[order]) / self.train.lengths[order].mean() for order in orders]
        return orders[int(np.argmin(np.abs(np.asarray(padded) - usual)))]


def _padded(lengths: np.ndarray, random: np.random.Generator | None = None) -> float:
    """Tokens of a row, padding included, in batches of rows in this order, or in a random one."""
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
        rows: for its speed; slow recipes get fewer, in batches padded as those of all rows are.
        bf16, grouped: of Trainer. Grouping has its batches from all rows and ends after so many steps: of few rows it
            cannot make batches of one length (2.5 padded tokens for a real one among 256 rows, 1.07 among 7,038).
        changes: settings of ours beside the same recipe.
    """

    task: str
    how: str
    rows: int
    bf16: bool = False
    grouped: bool = False
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """Rows that a recipe gets, how Trainer makes batches of them (`train_sampling_strategy`), and its steps at most."""

    rows: np.ndarray
    sampling: str = "random"
    most_steps: int = -1


@dataclass(frozen=True)
class Trained:
    """What a way of training did.

    Attributes:
        rows: positions of the rows that it saw, as often as it did.
    """

    rows: np.ndarray
    steps: int
    seconds: float


def part_of(store: TokenStore, rows: np.ndarray) -> TokenStore:
    """A store of these rows alone, in memory."""
    lengths = store.lengths[rows].astype(np.int64)
    flat = np.concatenate([store.ids(int(row)) for row in rows])
    return replace(store, flat=flat, offsets=np.concatenate([[0], np.cumsum(lengths)]))
