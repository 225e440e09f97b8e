"""Reads rows without labels as training reads rows: texts to score, cases of a suite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from evenodd.rows.chunks import Reader
from evenodd.rows.columns import find_text_column, match_name
from evenodd.rows.faults import Faults, NotedFaults
from evenodd.rows.files import open_file

ALL, TEXT = "all", "text"
NO_TEXT = "no text"


@dataclass(frozen=True)
class Rejected:
    """A row that cannot be scored: its line or row number, the reason, and its readable columns."""

    number: int
    reason: str
    others: Mapping[str, str | None]


@dataclass(frozen=True)
class Texts:
    """Some rows of a file.

    Attributes:
        texts: texts to score, in the order of the file.
        numbers: their line or row numbers from 1.
        others: copied columns by name, as text; None for missing values.
        rejected: rows that have no text, or that cannot be read.
    """

    texts: list[str]
    numbers: list[int]
    others: dict[str, list[str | None]]
    rejected: list[Rejected]

    def __len__(self) -> int:
        return len(self.texts) + len(self.rejected)


def read_texts(
    source: Path | str,
    text_column: str | None = None,
    *,
    encoding: str | None = None,
    columns: Sequence[str] = (ALL,),
    rows: int = 2048,
) -> Iterator[Texts]:
    """Streams the rows of one file in order. No row is dropped: rows without a text are returned as rejected.

    Args:
        source: a file in a supported format.
        text_column: name of the text column; None: recognise it.
        encoding: encoding of a text file; None: detect it.
        columns: columns to copy; `text` is the text column, under any name, and `all` is every column.
        rows: maximum rows of a chunk.

    Raises:
        ValueError: the file cannot be read completely, or lacks a column.
    """
    reader = open_file(Path(source), encoding)
    column = find_text_column(str(source), reader.columns, text_column, reader.doubt)
    carried = _carried(str(source), reader.columns, column, columns)
    faults = NotedFaults(str(source), reader.unit)
    there = list(dict.fromkeys([column, *carried.values()]))
    for chunk in reader.chunks(there, faults, [name for name in there if name != column]):
        unreadable = {at: kind for (name, kind), places in chunk.invalid.items() if name == column for at in places}
        values = {name: _blanks_are_none(array) for name, array in chunk.columns.items()}
        others = {name: values[own] for name, own in carried.items()}
        yield from _divided(values[column], chunk.numbers.tolist(), others, unreadable, faults.take(), rows)
    faults.raise_if_general()
    if left := faults.take():
        yield Texts([], [], {name: [] for name in carried}, [Rejected(number, kind, {}) for number, kind in left])


def _divided(
    texts: list[str | None],
    numbers: list[int],
    others: dict[str, list[str | None]],
    unreadable: Mapping[int, str],
    malformed: list[tuple[int, str]],
    rows: int,
) -> Iterator[Texts]:
    """A chunk in parts of `rows` rows; rows that could not be parsed come with the first part."""
    rejected = [Rejected(number, kind, {}) for number, kind in malformed]
    for start in range(0, max(len(texts), 1), rows):
        places = range(start, min(start + rows, len(texts)))
        for at in places:
            if texts[at] is None:
                row = {name: values[at] for name, values in others.items()}
                rejected.append(Rejected(numbers[at], unreadable.get(at, NO_TEXT), row))
        kept = [at for at in places if texts[at] is not None]
        yield Texts(
            [text for text in texts[start : start + rows] if text is not None],
            [numbers[at] for at in kept],
            {name: [values[at] for at in kept] for name, values in others.items()},
            rejected,
        )
        rejected = []


def _carried(source: str, there: Sequence[str], text: str, asked: Sequence[str]) -> dict[str, str]:
    """The file's names of the copied columns, by the requested names.

    Raises:
        ValueError: a column does not exist, or exists twice.
    """
    if ALL in asked:
        return {name: name for name in there if there.count(name) == 1}
    found = {name: text if name == TEXT else match_name(name, there) for name in asked}
    missing = [name for name, own in found.items() if own is None]
    if missing:
        raise ValueError(f"columns={','.join(missing)}: not in {source}, which has {', '.join(there) or 'none'}.")
    return {name: own for name, own in found.items() if own is not None}


def read_records(
    source: Path | str, needed: Sequence[str], wanted: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Streams the rows of one file with their numbers and the named columns.

    Args:
        source: a file in a supported format.
        needed: required columns.
        wanted: optional columns; their values are None if they do not exist.

    Raises:
        ValueError: see `read_texts`; or a column is missing.
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
    """Row numbers and columns of each chunk, blanks as None; in a `strict` column, values must be text."""
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
