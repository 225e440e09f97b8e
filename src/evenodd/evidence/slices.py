"""Slices: figures on the rows that share a value in one of the user's own columns, and the gaps between slices.

A small slice differs from the others by chance. Rates have a 95 % interval, and a gap is computed only between slices
with at least `LEAST` rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from evenodd.evidence.metrics import IntArray, f1_macro

LEAST = 20
"""Minimum rows behind a rate that is used in a gap."""
MOST_VALUES = 12
NO_VALUE, OTHERS = "(none)", "(other values)"
RATES = {"recall": "recall", "false_positive_rate": "false-positive rate", "accuracy": "accuracy"}
Values = Sequence[str | None]


def slice_names(values: Values) -> NDArray[np.str_]:
    """The slice of each row, (rows,).

    In a column with more than `MOST_VALUES` different values, numbers are divided into quartiles, and rare values of
    other types are merged into one slice.
    """
    frame = pd.Series(list(values), dtype="object")
    counts = frame.value_counts()
    if len(counts) > MOST_VALUES:
        numbers = pd.to_numeric(frame, errors="coerce")
        if numbers.notna().sum() == frame.notna().sum():
            frame = _quarters(numbers)
        else:
            frame = frame.where(frame.isna() | frame.isin(counts.index[: MOST_VALUES - 1]), OTHERS)
    return frame.fillna(NO_VALUE).to_numpy(str)


def _quarters(numbers: pd.Series) -> pd.Series:
    cut = pd.qcut(numbers, 4, duplicates="drop")
    return cut.map(lambda part: f"{part.left:g} to {part.right:g}").astype("object")


def slice_table(
    labels: IntArray, called: IntArray, columns: Mapping[str, Values], *, classes: int, positive: int | None
) -> pd.DataFrame:
    """Figures of each slice.

    Args:
        labels: int, (rows,).
        called: int, (rows,): the decided label of each row.
        columns: values of each row, by column.
        classes: number of labels.
        positive: index of the positive label, for recall and false-positive rate; None: there is none.

    Returns:
        One row per column and value: `column`, `value`, `rows`, `accuracy`, `f1_macro`, then `positives`, `recall`,
        `false_positive_rate`; for each rate its bounds `_low` and `_high`, and `_counts`: whether it has enough rows
        to be used in a gap.
    """
    rows = []
    for column, values in columns.items():
        names = slice_names(values)
        for name in pd.unique(names):
            here = names == name
            rows.append({"column": column, "value": name, **_figures(labels[here], called[here], classes, positive)})
    table = pd.DataFrame(rows)
    return table.sort_values(["column", "rows"], ascending=[True, False], kind="stable", ignore_index=True)


def _figures(labels: IntArray, called: IntArray, classes: int, positive: int | None) -> dict[str, float]:
    right = called == labels
    found: dict[str, float] = {"rows": len(labels), "f1_macro": f1_macro(labels, called, classes)}
    found |= _rate("accuracy", right)
    if positive is not None:
        hits = labels == positive
        found |= {"positives": int(hits.sum())}
        found |= _rate("recall", right[hits]) | _rate("false_positive_rate", ~right[~hits])
    return found


def _rate(name: str, events: NDArray[np.bool_]) -> dict[str, float]:
    """A share with Wilson's 95 % interval."""
    if not len(events):
        return {name: np.nan, f"{name}_low": np.nan, f"{name}_high": np.nan, f"{name}_counts": False}
    interval = binomtest(int(events.sum()), len(events)).proportion_ci(0.95, method="wilson")
    bounds = {f"{name}_low": float(interval.low), f"{name}_high": float(interval.high)}
    return {name: float(events.mean()), **bounds, f"{name}_counts": len(events) >= LEAST}


def slice_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Largest minus smallest rate over the slices of each column with enough rows.

    Returns:
        One row per column and rate: `column`, `rate`, `gap`, `lowest`, `highest` (the slices). With a positive label
        the rates are its recall and false-positive rate, otherwise accuracy.
    """
    rates = [name for name in ("recall", "false_positive_rate") if name in table] or ["accuracy"]
    rows = []
    for column, part in table.groupby("column", sort=False):
        for rate in rates:
            counted = part[part[f"{rate}_counts"].astype(bool)].set_index("value")[rate]
            if len(counted) > 1:
                ends = {"lowest": counted.idxmin(), "highest": counted.idxmax()}
                rows.append({"column": column, "rate": rate, "gap": float(counted.max() - counted.min()), **ends})
    return pd.DataFrame(rows, columns=["column", "rate", "gap", "lowest", "highest"])


def slice_metrics(table: pd.DataFrame) -> dict[str, float]:
    """The largest gap of any column, and the largest false-positive rate of a slice with enough rows."""
    gaps, found = slice_gaps(table), {}
    if len(gaps):
        found["slices/max_gap"] = float(gaps["gap"].max())
    if "false_positive_rate" in table:
        counted = table[table["false_positive_rate_counts"].astype(bool)]["false_positive_rate"]
        found |= {"slices/max_false_positive_rate": float(counted.max())} if len(counted) else {}
    return found
