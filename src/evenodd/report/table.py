"""The comparison table: one row per variant, mean and SD over seeds, the floors beneath; as text, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evenodd.report.render import render_part
from evenodd.task import Task

MISSING = "–"


@dataclass(frozen=True)
class Column:
    """A figure in the table.

    Attributes:
        key: metric name of a run, such as `test/f1_macro`; for a floor, the part after the split is looked up.
        title: heading, with the unit.
        write: one figure as text.
        spread: show the SD over seeds; counts that no seed changes do without.
    """

    key: str
    title: str
    write: Callable[[float], str]
    spread: bool = True


def _share(value: float) -> str:
    return f"{value:.3f}"


def _count(value: float) -> str:
    """5,123, 17.4 M."""
    return f"{value / 1e6:.1f} M" if value >= 1e5 else f"{value:,.0f}"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:.1f}"


def columns_for(task: Task | None) -> tuple[Column, ...]:
    """The columns of every comparison; the positive label's F1 where there is such a label."""
    number = None if task is None else task.positive_index
    named = () if task is None or number is None else ((task.label_keys[number], task.labels[number]),)
    own = tuple(Column(f"test/f1_label_{key}", f"test F1 of {name}", _share) for key, name in named)
    return (
        Column("train/loss", "training loss", _share),
        Column("test/accuracy", "test accuracy", _share),
        Column("validation/f1_macro", "validation macro-F1", _share),
        Column("test/f1_macro", "test macro-F1", _share),
        *own,
        Column("test/average_precision", "test average precision", _share),
        Column("cost/model_mb", "size MB", _amount, spread=False),
        Column("cost/parameters", "parameters", _count, spread=False),
        Column("cost/operations_per_token", "operations per token", _count, spread=False),
        Column("cost/trainable_parameters", "trainable parameters", _count, spread=False),
        Column("cost/train_seconds", "training seconds", _amount),
        Column("cost/latency_p50_ms", "latency ms", _amount),
    )


@dataclass(frozen=True)
class ComparisonTable:
    """Texts of the table, ready to be set in any form.

    Attributes:
        titles: headings; the first is `variant`.
        rows: texts, one tuple per row, as many as headings.
        kinds: for each row `winner`, `variant` or `floor`.
        note: one line on what the figures are.
    """

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    kinds: tuple[str, ...]
    note: str

    def to_text(self) -> str:
        """Aligned columns for a terminal; the winner carries a star."""
        marked = [(f"{'* ' if kind == 'winner' else '  '}{row[0]}", *row[1:]) for row, kind in self.marked]
        grid = [(f"  {self.titles[0]}", *self.titles[1:]), *marked]
        widths = [max(len(row[i]) for row in grid) for i in range(len(self.titles))]
        lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in grid]
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], self.note])

    def to_markdown(self) -> str:
        """A pipe table; the winner is bold."""
        head = f"| {' | '.join(self.titles)} |"
        rule = f"|---|{'---:|' * (len(self.titles) - 1)}"
        lines = [
            f"| {' | '.join(f'**{cell}**' if kind == 'winner' else cell for cell in map(_escape_pipe, row))} |"
            for row, kind in self.marked
        ]
        return "\n".join([head, rule, *lines, "", self.note])

    def to_html(self) -> str:
        """A table element with a class per kind of row, everything escaped."""
        return render_part("comparison", self)

    def to_frame(self) -> pd.DataFrame:
        """The texts as a table, with what each row is."""
        return pd.DataFrame(self.rows, columns=list(self.titles)).assign(kind=list(self.kinds))

    @property
    def marked(self) -> list[tuple[tuple[str, ...], str]]:
        """Each row with its kind."""
        return list(zip(self.rows, self.kinds, strict=True))


def _escape_pipe(cell: str) -> str:
    return cell.replace("|", "\\|")


def comparison_table(
    runs: pd.DataFrame,
    floors: Mapping[str, Mapping[str, float]] | None = None,
    *,
    task: Task | None = None,
    winner: str | None = None,
    synthetic: bool = False,
) -> ComparisonTable:
    """Line finished runs up.

    Args:
        runs: one row per run: `variant`, and a column per metric name (`test/f1_macro`, `cost/parameters`, ...). A
            figure that no run of a variant has is shown as missing.
        floors: by floor, its metrics under `test/...` names or under the bare ones (`f1_macro`).
        task: its positive label's own F1 has a column.
        winner: variant to mark.
        synthetic: say so in the note.

    Raises:
        ValueError: no runs, or no column `variant`.
    """
    if runs.empty or "variant" not in runs:
        raise ValueError(f"runs has {len(runs)} rows and columns {list(runs.columns)}: one row per run is needed.")
    columns = columns_for(task)
    names = list(dict.fromkeys(runs["variant"]))
    rows = [(str(name), *_variant_cells(runs[runs["variant"] == name], columns)) for name in names]
    kinds = ["winner" if name == winner else "variant" for name in names]
    for name, figures in (floors or {}).items():
        rows.append((name, *(_floor_cell(figures, column) for column in columns)))
        kinds.append("floor")
    seeds = runs.groupby("variant").size()
    return ComparisonTable(("variant", *(c.title for c in columns)), tuple(rows), tuple(kinds), _note(seeds, synthetic))


def _note(seeds: pd.Series, synthetic: bool) -> str:
    least, most = int(seeds.min()), int(seeds.max())
    count = str(least) if least == most else f"{least} to {most}"
    words = f"Mean ± SD over {count} seeds." if most > 1 else "One seed: no spread is known."
    return f"{words} Synthetic data: the figures say nothing about real texts." if synthetic else words


def _variant_cells(own: pd.DataFrame, columns: Sequence[Column]) -> list[str]:
    cells = []
    for column in columns:
        values = own[column.key].to_numpy(dtype=float) if column.key in own else np.array([])
        cells.append(_cell(values[np.isfinite(values)], column))
    return cells


def _cell(values: np.ndarray, column: Column) -> str:
    if len(values) == 0:
        return MISSING
    text = column.write(float(values.mean()))
    return f"{text} ± {column.write(float(values.std(ddof=1)))}" if column.spread and len(values) > 1 else text


def _floor_cell(figures: Mapping[str, float], column: Column) -> str:
    value = figures.get(column.key, figures.get(column.key.removeprefix("test/")))
    return MISSING if value is None or not np.isfinite(value) else column.write(value)
