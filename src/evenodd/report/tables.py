"""Tables of a report: each column's kind and its formatted cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evenodd.report.render import render_part

LONG_TEXT = 24
LARGE = 10


@dataclass(frozen=True)
class Column:
    """A column's title and its class: none for numbers, `name` for short texts, `words` for long ones."""

    title: str
    kind: str


@dataclass(frozen=True)
class Grid:
    """A formatted table: its columns, and rows with one cell per column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


def grid(table: pd.DataFrame) -> Grid:
    """Formats a table; all numbers of a column have the same number of decimals."""
    columns = [table.iloc[:, i] for i in range(table.shape[1])]
    kinds = [_kind(column) for column in columns]
    texts = [_texts(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    titled = tuple(Column(str(name), kind) for name, kind in zip(table.columns, kinds, strict=True))
    return Grid(titled, tuple(zip(*texts, strict=True)))


def table_html(table: pd.DataFrame, caption: str = "") -> str:
    """A table as HTML: numbers right-aligned, texts left-aligned and wrapped."""
    return render_part("grid", grid(table), caption)


def _kind(column: pd.Series) -> str:
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return ""
    longest = max((len(str(value)) for value in column), default=0)
    return "words" if longest > LONG_TEXT else "name"


def _texts(column: pd.Series, kind: str) -> list[str]:
    if kind:
        return [str(value) for value in column]
    values = column.to_numpy(dtype=float)
    known = values[np.isfinite(values)]
    whole = bool((known == np.round(known)).all())
    large = bool(len(known) and np.abs(known).max() >= LARGE)
    return [number_text(value, 0 if whole else 1 if large else 3) for value in values]


def number_text(value: float, places: int = 3) -> str:
    """Formats a number with separators and decimals; NaN is a dash, and a nonzero number is never written as 0."""
    if np.isnan(value):
        return "–"
    if np.isinf(value):
        return "∞" if value > 0 else "-∞"
    text = f"{value:,.{places}f}"
    return f"{value:.1e}" if value != 0 and float(text.replace(",", "")) == 0 else text
