"""Types of the data for other packages: a split, and a corpus of three splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import datasets
import numpy as np
import pyarrow.compute as pc

from evenodd.task import Task

SPLITS = ("train", "validation", "test")
AUGMENT = "augment"
SLICE = "slice:"
"""Begins the name of a column with the values of a slice, so that it cannot be a column of a user's file."""


@dataclass(frozen=True)
class Split:
    """Rows of one split, memory-mapped from disk.

    Attributes:
        name: `train`, `validation` or `test`.
        rows: columns `text` (str), `label` (int64, a position in the corpus's `label_names`), `row_id` (int64, 0-based
                position in the source; augmented rows continue the numbering), `group` (int64: rows with the same
            number belong together), `origin` (`data` or `augment`) and, for each slice, a column of its values.
            digest: SHA-256 over the texts and label names in order.
    """

    name: str
    rows: datasets.Dataset
    digest: str

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def texts(self) -> Sequence[str]:
        """The texts, read from disk on access."""
        return self.rows["text"]

    @property
    def labels(self) -> np.ndarray:
        """Label indices, int64, (rows,)."""
        return self._numbers("label")

    @property
    def row_ids(self) -> np.ndarray:
        """Positions in the source, int64, (rows,)."""
        return self._numbers("row_id")

    @property
    def groups(self) -> np.ndarray:
        """Group numbers, int64, (rows,), for folds that do not divide authors."""
        return self._numbers("group")

    @property
    def augmented(self) -> np.ndarray:
        """Which rows were added by `augment`, bool, (rows,)."""
        origin = self.rows.with_format("arrow")[:]["origin"]
        return np.asarray(pc.equal(origin, AUGMENT).to_numpy(), dtype=bool)

    def slice_values(self, name: str) -> list[str | None]:
        """A slice's value of each row, (rows,); None where a row has none."""
        return list(self.rows[f"{SLICE}{name}"])

    def turns(self, count: int) -> np.ndarray | None:
        """The epoch (of `count`) that uses a row: added rows are spread evenly over the epochs; -1: every epoch.

        Returns:
            int64, (rows,); None if every row is used in every epoch.
        """
        added = np.flatnonzero(self.augmented)
        if count == 1 or len(added) < count:
            return None
        turns = np.full(len(self), -1)
        added = added[: len(added) - len(added) % count]
        turns[added] = np.arange(len(added)) % count
        return turns

    def without_augmented(self) -> Split:
        """The original rows."""
        own = np.flatnonzero(~self.augmented)
        return self if len(own) == len(self) else Split(self.name, self.rows.select(own), f"{self.digest}:data")

    def only_augmented(self) -> Split:
        """The rows that `augment` added, which are the last ones."""
        return Split(self.name, self.rows.select(np.flatnonzero(self.augmented)), f"{self.digest}:augment")

    def _numbers(self, column: str) -> np.ndarray:
        return self.rows.with_format("arrow")[:][column].to_numpy().astype(np.int64, copy=False)


@dataclass(frozen=True)
class Corpus:
    """Three splits, and how they were made.

    Attributes:
        name: short name of the source.
        task: the labels in the order of their indices, and the positive one of two.
        digest: SHA-256 over label names and splits; the same rows in another file format have the same digest.
        synthetic: whether the rows are the bundled sample, made from templates.
        counts: `rows` read, `dropped/NAME` rows of other labels, removed `duplicates` and `label_conflicts`,
            `limited` left out by `limit`, `kept`, `groups`, `largest_group`, `group_leaks` (groups that predefined
            splits divide), `augmented` and `augmented/KIND`, and `SPLIT/NAME` rows of a label in a split.
        group_columns: columns whose values keep rows together.
        slices: columns by whose values figures are told as well.
        examples: the first row ids of `duplicates` and `label_conflicts`, for a report.
    """

    name: str
    task: Task
    train: Split
    validation: Split
    test: Split
    digest: str
    synthetic: bool
    counts: dict[str, int]
    group_columns: tuple[str, ...] = ()
    examples: dict[str, tuple[int, ...]] = field(default_factory=dict)
    slices: tuple[str, ...] = ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """The task's labels."""
        return self.task.labels

    @property
    def positive(self) -> str | None:
        """The task's positive label."""
        return self.task.positive

    @property
    def splits(self) -> tuple[Split, Split, Split]:
        """Train, validation and test."""
        return self.train, self.validation, self.test
