"""Rows of any source as a stream of chunks: every value is a string or null, with its line or row number.

Types (whole number, boolean, category) are resolved when a value is read: a number that the source declares as a class
becomes the class's name, a float with a whole value becomes that number, a NaN is missing, and any value that is not
text, a whole number or a boolean is a fault.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenodd.rows.faults import Faults

CHUNK_ROWS = 10_000
HEAD_ROWS = 1_000
BROKEN = "broken encoding (not UTF-8)"


@dataclass
class Chunk:
    """Some rows of a source.

    Attributes:
        columns: string arrays by column name, null for missing values.
        numbers: int64, (rows,), line or row numbers from 1.
        split: the predefined split of all rows in the chunk, if any.
        invalid: positions in this chunk by column and kind of fault; the values there are null.
    """

    columns: dict[str, pa.Array]
    numbers: np.ndarray
    split: str | None = None
    invalid: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def refuse(self, column: str, kind: str, positions: Sequence[int]) -> None:
        """Records positions whose value cannot be used."""
        if len(positions):
            self.invalid.setdefault((column, kind), []).extend(positions)


class Reader(Protocol):
    """Rows of one source, whose columns are known before its rows are read.

    Attributes:
        columns: names in order; a name can occur twice.
        declared: class names of columns whose numbers stand for classes.
        unit: what `Chunk.numbers` count: `line` or `row`.
        remarks: unusual properties of the format, to be logged.
        doubt: reason why the first line may not be a header; empty if there is none.
    """

    columns: tuple[str, ...]
    declared: dict[str, tuple[str, ...]]
    unit: str
    remarks: tuple[str, ...]
    doubt: str

    def chunks(self, columns: Sequence[str], faults: Faults, as_is: Collection[str] = ()) -> Iterator[Chunk]:
        """Streams the named columns; rows that cannot be parsed are added to `faults`.

        Args:
            columns: names without repeats.
            faults: collects rows that cannot be parsed.
            as_is: columns among them whose values of any kind are converted to text, and never refused.
        """


def bad_row(faults: Faults, kind: str, number: int) -> None:
    """Counts one row that cannot be parsed."""
    faults.bad_rows += 1
    faults.add(kind, [number])


def as_strings(name: str, values: list[Any], chunk: Chunk) -> pa.Array:
    """Python values of one column as strings; other values become null and are recorded in the chunk."""
    try:
        return typed_strings(name, pa.array(values), chunk)
    except (pa.ArrowException, UnicodeError, OverflowError):
        pass  # values of several kinds, or some that are not text: checked one by one
    strings = [_as_string(name, value, position, chunk) for position, value in enumerate(values)]
    return pa.array(strings, pa.string())


def _as_string(name: str, value: Any, position: int, chunk: Chunk) -> str | None:
    if value is None or value != value:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:#x}" if value.bit_length() > 4096 else str(value)  # longer ones Python refuses to write out
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if not isinstance(value, str):
        chunk.refuse(name, f"{name} is neither text nor a whole number", [position])
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can spell and UTF-8 cannot
        chunk.refuse(name, BROKEN, [position])
        return None
    return value


def written_out(values: pa.Array | list[Any]) -> pa.Array:
    """Values of any kind as text: dates as ISO 8601, other values as JSON; null for missing values."""
    if isinstance(values, pa.Array):
        values = values.to_pylist()
    return pa.array([None if value is None else _written(value) for value in values], pa.string())


def _written(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode(errors="replace").decode() if not isinstance(value, date) else value.isoformat()


def typed_strings(name: str, values: pa.Array, chunk: Chunk, classes: Sequence[str] = ()) -> pa.Array:
    """An Arrow array as strings.

    Args:
        name: name of the column.
        values: text, whole numbers, truth values, floats that hold whole numbers, UTF-8 bytes, or categories of these.
        chunk: records values that cannot be used.
        classes: class names by number; empty: numbers are used as names.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind, types = values.type, pa.types
    if types.is_floating(kind) or types.is_decimal(kind):
        values = _whole(name, values.cast(pa.float64()), chunk)
    elif types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return pa.array([_utf8(name, value, at, chunk) for at, value in enumerate(values.to_pylist())], pa.string())
    elif not _is_plain(kind):
        there = pc.is_valid(values).to_numpy(zero_copy_only=False)
        chunk.refuse(name, f"{name} is neither text nor a whole number", np.flatnonzero(there).tolist())
        return pa.nulls(len(values), pa.string())
    if classes and types.is_integer(values.type):
        return _class_names(name, values, chunk, classes)
    return values.cast(pa.string())


def _whole(name: str, values: pa.Array, chunk: Chunk) -> pa.Array:
    """Floats as int64; NaN is missing, and fractions are refused."""
    floats = values.to_numpy(zero_copy_only=False)
    whole = np.isfinite(floats) & (np.abs(floats) < 2**53)
    whole[whole] = floats[whole] == np.floor(floats[whole])
    chunk.refuse(
        name, f"{name} is neither text nor a whole number", np.flatnonzero(~whole & ~np.isnan(floats)).tolist()
    )
    return pa.array(np.where(whole, floats, 0).astype(np.int64), mask=~whole)


def _class_names(name: str, values: pa.Array, chunk: Chunk, classes: Sequence[str]) -> pa.Array:
    numbers = values.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    known = (numbers >= 0) & (numbers < len(classes))
    unknown = ~known & pc.is_valid(values).to_numpy(zero_copy_only=False)
    chunk.refuse(name, f"{name} unknown", np.flatnonzero(unknown).tolist())
    return pa.array(classes, pa.string()).take(pa.array(np.where(known, numbers, 0), mask=~known))


def _is_plain(kind: pa.DataType) -> bool:
    types = pa.types
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return text or types.is_integer(kind) or types.is_boolean(kind) or types.is_null(kind)


def _utf8(name: str, value: bytes | None, position: int, chunk: Chunk) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        chunk.refuse(name, BROKEN, [position])
        return None
