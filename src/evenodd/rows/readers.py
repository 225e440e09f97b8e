"""Files and hub data sets as streams of chunks: every value a string or null, with the number a person would look up.

A reader knows its columns before it reads rows, and adds to `Faults` what it cannot parse.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evenodd.rows.faults import Faults

CHUNK_ROWS = 10_000
HEAD_ROWS = 1_000
FIELD_LIMIT = 2**31 - 1
BROKEN = "broken encoding (not UTF-8)"


@dataclass
class Chunk:
    """Some rows of a source.

    Attributes:
        columns: string arrays by column name, null where a row has no value.
        numbers: int64, (rows,), line or row numbers from 1.
        split: the predefined split that all rows of the chunk are in, if any.
        invalid: positions in this chunk by column and kind of fault; the values there are null.
    """

    columns: dict[str, pa.Array]
    numbers: np.ndarray
    split: str | None = None
    invalid: dict[tuple[str, str], list[int]] = field(default_factory=dict)


class Reader(Protocol):
    """Rows of one source. `declared` gives the label names of columns that hold numbers of named classes."""

    columns: tuple[str, ...]
    declared: dict[str, tuple[str, ...]]
    unit: str

    def chunks(self, columns: Sequence[str], faults: Faults) -> Iterator[Chunk]:
        """Stream the named columns."""


class RecordReader:
    """JSON lines, a JSON array, or rows in memory. Values other than text, whole number, truth value are faults."""

    def __init__(self, path: Path | None = None, records: list[dict[str, Any]] | None = None) -> None:
        self.path, self.records = path, records
        self.declared: dict[str, tuple[str, ...]] = {}
        self.unit = "row" if path is None or _is_array(path) else "line"
        faults = Faults(str(path), self.unit)
        head = islice(self._numbered(faults), HEAD_ROWS)
        self.columns = tuple(dict.fromkeys(name for _, record in head for name in record))
        if not self.columns:
            faults.raise_if_any()

    def chunks(self, columns: Sequence[str], faults: Faults) -> Iterator[Chunk]:
        """See `Reader`."""
        numbered = self._numbered(faults)
        while rows := list(islice(numbered, CHUNK_ROWS)):
            chunk = Chunk({}, np.array([number for number, _ in rows], dtype=np.int64))
            for name in columns:
                chunk.columns[name] = _as_strings(name, [record.get(name) for _, record in rows], chunk)
            yield chunk

    def _numbered(self, faults: Faults) -> Iterator[tuple[int, dict[str, Any]]]:
        if self.path is not None and self.unit == "line":
            yield from _json_lines(self.path, faults)
            return
        for number, record in enumerate(self._array(faults), start=1):
            if isinstance(record, dict):
                yield number, record
            else:
                _bad(faults, "not an object", number)

    def _array(self, faults: Faults) -> list[Any]:
        if self.path is None:
            return self.records or []
        try:
            return json.loads(self.path.read_bytes())
        except ValueError as error:
            faults.general.append(f"malformed JSON: {error}")
            return []


def _is_array(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def _bad(faults: Faults, kind: str, number: int) -> None:
    faults.bad_rows += 1
    faults.add(kind, [number])


def _json_lines(path: Path, faults: Faults) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and objects; blank lines are no rows."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError:
                _bad(faults, BROKEN, number)
            except (ValueError, RecursionError):
                _bad(faults, "malformed JSON", number)
            else:
                if isinstance(record, dict):
                    yield number, record
                else:
                    _bad(faults, "not an object", number)


def _as_strings(name: str, values: list[Any], chunk: Chunk) -> pa.Array:
    """Values of one column as strings; what cannot be one becomes null and is noted in `chunk.invalid`."""
    try:
        array = pa.array(values)
        if _is_plain(array.type):
            return array.cast(pa.string())
    except (pa.ArrowException, UnicodeError, OverflowError):
        pass  # values of several kinds, or some that are no text: looked at one by one
    strings: list[str | None] = []
    for position, value in enumerate(values):
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, int):
            value = str(value)
        elif value is not None and not isinstance(value, str):
            chunk.invalid.setdefault((name, f"{name} is neither text nor a whole number"), []).append(position)
            value = None
        strings.append(value)
    try:
        return pa.array(strings, pa.string())
    except UnicodeEncodeError:  # a lone surrogate, which JSON can spell and UTF-8 cannot
        return pa.array([_encodable(name, text, at, chunk) for at, text in enumerate(strings)], pa.string())


def _encodable(name: str, text: str | None, position: int, chunk: Chunk) -> str | None:
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        chunk.invalid.setdefault((name, BROKEN), []).append(position)
        return None
    return text


class CsvReader:
    """Comma (or, for .tsv, tab) separated text with a header line. Numbers are the line that a row starts on."""

    def __init__(self, path: Path) -> None:
        self.path, self.unit = path, "line"
        self.delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        self.declared: dict[str, tuple[str, ...]] = {}
        with path.open("rb") as file:
            header = next(csv.reader(_decoded(file, set()), delimiter=self.delimiter), [])
        self.columns = tuple(header)
        repeated = sorted({name for name in header if header.count(name) > 1})
        if repeated:
            raise ValueError(f"data={str(path)!r}: the header names {', '.join(repeated)} more than once.")

    def chunks(self, columns: Sequence[str], faults: Faults) -> Iterator[Chunk]:
        """See `Reader`."""
        places = [self.columns.index(name) for name in columns]
        limit = csv.field_size_limit(FIELD_LIMIT)
        try:
            rows = self._rows(faults)
            while taken := list(islice(rows, CHUNK_ROWS)):
                arrays = [pa.array([fields[place] for _, fields in taken], pa.string()) for place in places]
                numbers = np.array([number for number, _ in taken], dtype=np.int64)
                yield Chunk(dict(zip(columns, arrays, strict=True)), numbers)
        finally:
            csv.field_size_limit(limit)

    def _rows(self, faults: Faults) -> Iterator[tuple[int, list[str]]]:
        """Line numbers and fields of the well-formed rows; blank lines are no rows."""
        broken: set[int] = set()
        with self.path.open("rb") as file:
            rows = csv.reader(_decoded(file, broken), delimiter=self.delimiter, strict=True)
            next(rows, None)
            while True:
                number = rows.line_num + 1
                try:
                    fields = next(rows)
                except StopIteration:
                    return
                except csv.Error:
                    _bad(faults, "malformed CSV (quotes)", number)
                    continue
                if any(line in broken for line in range(number, rows.line_num + 1)):
                    _bad(faults, BROKEN, number)
                elif fields and len(fields) != len(self.columns):
                    _bad(faults, f"not {len(self.columns)} columns wide", number)
                elif fields:
                    yield number, fields


def _decoded(file: Any, broken: set[int]) -> Iterator[str]:
    """Lines as text; the numbers of those that are not UTF-8 are added to `broken`."""
    for number, line in enumerate(file, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            broken.add(number)
            yield line.decode("utf-8", errors="replace")


class ArrowReader:
    """Parquet files and hub data sets: batches that already have types."""

    def __init__(self, parts: Sequence[tuple[str | None, Any]], declared: dict[str, tuple[str, ...]]) -> None:
        self.parts, self.declared, self.unit = parts, declared, "row"
        self.columns = tuple(parts[0][1].schema.names)

    def chunks(self, columns: Sequence[str], faults: Faults) -> Iterator[Chunk]:
        """See `Reader`."""
        start = 1
        for split, part in self.parts:
            for batch in part.batches(list(columns)):
                numbers = np.arange(start, start + len(batch), dtype=np.int64)
                start += len(batch)
                chunk = Chunk({}, numbers, split)
                for name in columns:
                    chunk.columns[name] = _cast(name, batch.column(name), chunk)
                yield chunk


@dataclass
class ParquetPart:
    """A Parquet file, read batch by batch."""

    path: Path

    @property
    def schema(self) -> pa.Schema:
        """Column names and types."""
        return pq.read_schema(self.path)

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Stream the named columns."""
        with pq.ParquetFile(self.path) as file:
            yield from file.iter_batches(CHUNK_ROWS, columns=columns)


@dataclass
class DatasetPart:
    """One split of a hub data set."""

    rows: Any

    @property
    def schema(self) -> pa.Schema:
        """Column names and types."""
        return self.rows.features.arrow_schema

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Stream the named columns."""
        for table in self.rows.select_columns(columns).with_format("arrow").iter(CHUNK_ROWS):
            yield from table.combine_chunks().to_batches()


def _cast(name: str, values: pa.Array, chunk: Chunk) -> pa.Array:
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if kind == pa.binary() or kind == pa.large_binary():
        values = pa.array([_utf8(name, value, at, chunk) for at, value in enumerate(values.to_pylist())], pa.string())
    elif not (_is_plain(kind)):
        there = pc.is_valid(values).to_numpy(zero_copy_only=False)
        chunk.invalid.setdefault((name, f"{name} is neither text nor a whole number"), []).extend(
            np.flatnonzero(there).tolist()
        )
        return pa.nulls(len(values), pa.string())
    return values.cast(pa.string())


def _is_plain(kind: pa.DataType) -> bool:
    types = pa.types
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return text or types.is_integer(kind) or types.is_boolean(kind) or types.is_null(kind)


def _utf8(name: str, value: bytes | None, position: int, chunk: Chunk) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        chunk.invalid.setdefault((name, BROKEN), []).append(position)
        return None


def parquet_reader(path: Path) -> ArrowReader:
    """Read a Parquet file; class names that the datasets library wrote into it are used."""
    part = ParquetPart(path)
    try:
        schema = part.schema
    except pa.ArrowInvalid as error:
        raise ValueError(f"data={str(path)!r}: not a Parquet file ({error}).") from error
    return ArrowReader([(None, part)], declared_names(schema))


def declared_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Class names by column, from the metadata that the datasets library keeps in a schema."""
    written = (schema.metadata or {}).get(b"huggingface")
    features = json.loads(written)["info"].get("features", {}) if written else {}
    return {
        name: tuple(feature["names"])
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }
