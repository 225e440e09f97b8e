"""Texts to be scored: a file's or a folder's, chunk by chunk, read as training reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from evenodd.rows.columns import find_text_column
from evenodd.rows.faults import Faults
from evenodd.rows.files import open_file


@dataclass(frozen=True)
class Texts:
    """Some rows of a file.

    Attributes:
        texts: None where a row has no text; such a row has nothing to score.
        numbers: line or row numbers from 1.
        others: the other columns by name, as text; None where a row has no value.
    """

    texts: list[str | None]
    numbers: list[int]
    others: dict[str, list[str | None]]

    def __len__(self) -> int:
        return len(self.texts)


def read_texts(
    source: Path | str, text_column: str | None = None, *, encoding: str | None = None, rows: int = 2048
) -> Iterator[Texts]:
    """Stream the rows of one file in their order.

    Args:
        source: a file of any kind that is read.
        text_column: its name; None: found by name.
        encoding: of a file of text; None: found.
        rows: of a chunk, at most.

    Raises:
        ValueError: the file cannot be read, has no such column, or a row is malformed: with its line or row number.
    """
    reader = open_file(Path(source), encoding)
    column = find_text_column(str(source), reader.columns, text_column, reader.doubt)
    others = [name for name in reader.columns if name != column and reader.columns.count(name) == 1]
    faults = Faults(str(source), reader.unit)
    for chunk in reader.chunks([column, *others], faults):
        for (name, kind), positions in chunk.invalid.items():
            if name == column:
                faults.bad_rows += len(positions)
                faults.add(kind, chunk.numbers[positions].tolist())
        faults.raise_if_any()
        columns = {name: _blanks_are_none(values) for name, values in chunk.columns.items()}
        for start in range(0, len(chunk.numbers), rows):
            part = {name: values[start : start + rows] for name, values in columns.items()}
            yield Texts(part.pop(column), chunk.numbers[start : start + rows].tolist(), part)
    faults.raise_if_any()


def _blanks_are_none(values: pa.Array) -> list[str | None]:
    return [value if value and not value.isspace() else None for value in values.to_pylist()]
