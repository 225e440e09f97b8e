"""Parquet files and hub data sets: batches of typed columns."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evenodd.classifier.faults import first_line
from evenodd.rows.chunks import CHUNK_ROWS, Chunk, typed_strings, written_out
from evenodd.rows.encodings import head_of, open_bytes
from evenodd.rows.faults import Faults

PARQUET_MARK = b"PAR1"


class ArrowReader:
    """Typed parts with their splits; see `Reader`."""

    def __init__(self, parts: Sequence[tuple[str | None, Any]], declared: dict[str, tuple[str, ...]]) -> None:
        self.parts, self.declared = parts, declared
        self.unit, self.doubt = "row", ""
        self.remarks: tuple[str, ...] = ()
        self.columns: tuple[str, ...] = tuple(parts[0][1].schema.names)

    def chunks(self, columns: Sequence[str], faults: Faults, as_is: Collection[str] = ()) -> Iterator[Chunk]:
        """See `Reader`."""
        start = 1
        for split, part in self.parts:
            try:
                for batch in part.batches(list(columns)):
                    numbers = np.arange(start, start + len(batch), dtype=np.int64)
                    start += len(batch)
                    chunk = Chunk({}, numbers, split)
                    for name in columns:
                        classes, values = self.declared.get(name, ()), batch.column(name)
                        plain = name in as_is and not classes
                        chunk.columns[name] = (
                            written_out(values) if plain else typed_strings(name, values, chunk, classes)
                        )
                    yield chunk
            except (pa.ArrowException, OSError, UnicodeError) as error:
                faults.general.append(f"damaged after row {start - 1:,}: {first_line(error)}")
                return


@dataclass
class ParquetPart:
    """A Parquet file, read in batches; a gzipped one is decompressed in memory."""

    path: Path

    def source(self) -> Path | IO[bytes]:
        """What pyarrow opens."""
        if head_of(self.path, 4) == PARQUET_MARK and not _is_packed(self.path):
            return self.path
        with open_bytes(self.path) as file:
            return io.BytesIO(file.read())

    @property
    def schema(self) -> pa.Schema:
        """Column names and types."""
        return pq.read_schema(self.source())

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Stream the named columns."""
        with pq.ParquetFile(self.source()) as file:
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


def parquet_reader(path: Path) -> ArrowReader:
    """Reads a Parquet file, with the class names that the datasets library stores in it.

    Raises:
        ValueError: it is not a complete Parquet file.
    """
    part = ParquetPart(path)
    try:
        schema = part.schema
    except (pa.ArrowException, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"data={str(path)!r}: not a whole Parquet file ({first_line(error)}).") from error
    return ArrowReader([(None, part)], declared_names(schema))


def declared_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Class names by column, from the metadata that the datasets library stores in a schema."""
    try:
        written = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = dict(written.get("info", {}).get("features", {}))
    except (ValueError, TypeError, AttributeError):  # another tool's metadata under that name
        return {}
    return {
        name: tuple(map(str, feature["names"]))
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"
