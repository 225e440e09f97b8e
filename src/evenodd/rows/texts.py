"""Rows of one file that need no labels, read as training reads them: texts to be scored, cases of a suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from evenodd.rows.chunks import Reader
from evenodd.rows.columns import find_text_column, match_name
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
    for numbers, columns in _checked(reader, str(source), [column, *others], (column,)):
        for start in range(0, len(numbers), rows):
            part = {name: values[start : start + rows] for name, values in columns.items()}
            yield Texts(part.pop(column), numbers[start : start + rows], part)


def read_records(
    source: Path | str, needed: Sequence[str], wanted: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Stream the rows of one file with their numbers and named columns.

    Args:
        source: a file of any kind that is read.
        needed: columns that have to be there.
        wanted: columns whose values are None where they are not there.

    Raises:
        ValueError: as for `read_texts`; or a column is missing.
    """
    reader = open_file(Path(source))
    there = {name: match_name(name, reader.columns) for name in (*needed, *wanted)}
    missing = [name for name in needed if there[name] is None]
    if missing:
        found = ", ".join(reader.columns) or "none"
        raise ValueError(f"data={str(source)!r}: columns missing: {', '.join(missing)}; found: {found}.")
    own = [name for name in there.values() if name is not None]
    for numbers, columns in _checked(reader, str(source), own, own):
        for place, number in enumerate(numbers):
            yield number, {name: columns[column][place] if column else None for name, column in there.items()}


def _checked(
    reader: Reader, source: str, names: Sequence[str], strict: Sequence[str]
) -> Iterator[tuple[list[int], dict[str, list[str | None]]]]:
    """Row numbers and columns of each chunk, blanks as None; in a `strict` column what is no text is a fault."""
    faults = Faults(source, reader.unit)
    for chunk in reader.chunks(names, faults):
        for (name, kind), positions in chunk.invalid.items():
            if name in strict:
                faults.bad_rows += len(positions)
                faults.add(kind, chunk.numbers[positions].tolist())
        faults.raise_if_any()
        yield chunk.numbers.tolist(), {name: _blanks_are_none(values) for name, values in chunk.columns.items()}
    faults.raise_if_any()


def _blanks_are_none(values: pa.Array) -> list[str | None]:
    return [value if value and not value.isspace() else None for value in values.to_pylist()]
