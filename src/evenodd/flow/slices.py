"""Figures of finished runs by the user's own columns, from the runs' stored scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from evenodd import tracking
from evenodd.evidence import Decision
from evenodd.evidence.slices import slice_metrics, slice_table
from evenodd.flow.measure import read_scores
from evenodd.flow.runs import FinishedRun
from evenodd.rows import Corpus, Split


def with_slices(run: FinishedRun, corpus: Corpus) -> FinishedRun:
    """Adds the gaps between a run's slices on validation to its figures, and logs them.

    A run on other rows, or without slices, is returned unchanged.
    """
    table = slices_of(run, corpus.validation, corpus)
    if table is None:
        return run
    found = slice_metrics(table)
    tracking.log_metrics(found, run_id=run.run_id)
    return replace(run, metrics=run.metrics | found)


def slices_of(run: FinishedRun, split: Split, corpus: Corpus) -> pd.DataFrame | None:
    """Figures of each slice of a split; None without slices, or if the run was scored on other rows."""
    if not corpus.slices:
        return None
    scored = read_scores(tracking.download(run.run_id, f"scores/{split.name}.npz"))
    if scored.logits is None or not np.array_equal(scored.ids, split.row_ids):
        return None
    decision = Decision.from_dict(tracking.artifact_json(run.run_id, "decision.json"), corpus.task)
    return table_of_slices(split, corpus.slices, decision, decision.probabilities(scored.logits))


def table_of_slices(
    split: Split, columns: Sequence[str], decision: Decision, probabilities: np.ndarray
) -> pd.DataFrame:
    """Figures of each slice of scored rows.

    Args:
        split: the rows.
        columns: whose values are the slices.
        decision: gives each row its label.
        probabilities: float, (rows, labels).
    """
    values = {name: split.slice_values(name) for name in columns}
    called, classes = decision.labels(probabilities), len(decision.label_names)
    return slice_table(split.labels, called, values, classes=classes, positive=decision.positive)


def all_slices(run: FinishedRun, corpus: Corpus) -> pd.DataFrame | None:
    """Figures of each slice on validation and on test, with a column for the split."""
    tables = {split.name: slices_of(run, split, corpus) for split in (corpus.validation, corpus.test)}
    known = [table.assign(split=name) for name, table in tables.items() if table is not None]
    return pd.concat(known, ignore_index=True).assign(variant=run.variant) if known else None
