"""Where results go: a folder here or behind a URL, in which files appear whole or not at all."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol, cast

import pyarrow as pa
import pyarrow.parquet as pq

from evenodd.classifier.cells import disarm
from evenodd.rows.inputs import file_system

KINDS = CSV, CSV_GZ, PARQUET = "csv", "csv.gz", "parquet"


@dataclass(frozen=True)
class Folder:
    """A folder of a file system of fsspec."""

    system: Any
    path: str

    @classmethod
    def at(cls, place: str) -> Folder:
        """The folder that a path or a URL names.

        Raises:
            ValueError: a kind of URL that is not known.
        """
        return cls(*file_system(place))

    def file(self, name: str) -> str:
        """Full path of a file in it."""
        return posixpath.join(self.path, name)

    def inside(self, name: str) -> Folder:
        """A folder in it."""
        return Folder(self.system, self.file(name))

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(self.system.exists(self.file(name)))

    def is_folder(self) -> bool:
        """Whether it is there and a folder."""
        return bool(self.system.isdir(self.path))

    def is_file(self) -> bool:
        """Whether a file is there in its place."""
        return bool(self.system.isfile(self.path))

    @contextmanager
    def new(self, name: str) -> Iterator[Hashed]:
        """A file that takes its name when all of it is written."""
        self.system.makedirs(self.path, exist_ok=True)
        partial = self.file(f".{name}.partial")  # one that a killed command left is written over
        try:
            with self.system.open(partial, "wb") as raw:
                yield Hashed(raw)
            self.system.mv(partial, self.file(name))
        finally:
            if self.system.exists(partial):
                self.system.rm_file(partial)

    def write_json(self, name: str, value: Any) -> None:
        """Replaces a file in one step."""
        with self.new(name) as file:
            file.write(json.dumps(value, indent=1, ensure_ascii=False).encode())

    def read_json(self, name: str) -> Any:
        """What `write_json` wrote; None where there is none.

        Raises:
            ValueError: it is no JSON.
        """
        if not self.has(name):
            return None
        with self.system.open(self.file(name), "rb") as file:
            try:
                return json.loads(file.read())
            except ValueError as error:
                raise ValueError(f"{self.file(name)}: no JSON ({error}). Move it away.") from error

    def write_table(self, name: str, table: pa.Table) -> None:
        """A Parquet file."""
        with self.new(name) as file:
            pq.write_table(table, cast(Any, file))

    def read_table(self, name: str) -> pa.Table:
        """A Parquet file, whole."""
        with self.system.open(self.file(name), "rb") as file:
            return pq.read_table(file)

    def remove(self, name: str) -> None:
        """Deletes a file if it is there."""
        if self.has(name):
            self.system.rm_file(self.file(name))

    def remove_all(self) -> None:
        """Deletes this folder."""
        if self.system.exists(self.path):
            self.system.rm(self.path, recursive=True)


class Hashed(io.RawIOBase):
    """A file that is written, with SHA-256 and number of the bytes so far."""

    def __init__(self, raw: IO[bytes]) -> None:
        self.raw, self.digest, self.bytes = raw, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.raw.write(content)
        self.digest.update(content)
        size = memoryview(content).nbytes
        self.bytes += size
        return size

    def flush(self) -> None:
        if not self.raw.closed:
            self.raw.flush()


class Sheet(Protocol):
    """Takes tables of one form."""

    def write(self, table: pa.Table) -> None:
        """Appends rows."""

    def close(self) -> None:
        """Writes what is left."""


def open_sheet(kind: str, file: Hashed, schema: pa.Schema) -> Sheet:
    """What writes tables of a form as `csv`, `csv.gz` or `parquet`."""
    return ParquetSheet(file, schema) if kind == PARQUET else CsvSheet(file, schema, packed=kind == CSV_GZ)


class ParquetSheet:
    """A Parquet file, a row group for each table."""

    def __init__(self, file: Hashed, schema: pa.Schema) -> None:
        self.writer = pq.ParquetWriter(cast(Any, file), schema, compression="zstd")

    def write(self, table: pa.Table) -> None:
        """See `Sheet`."""
        if len(table):
            self.writer.write_table(table)

    def close(self) -> None:
        """See `Sheet`."""
        self.writer.close()


class CsvSheet:
    """CSV in UTF-8: numbers with six decimals, nothing that a spreadsheet would run as a formula."""

    def __init__(self, file: Hashed, schema: pa.Schema, *, packed: bool) -> None:
        self.packed = gzip.GzipFile(fileobj=file, mode="wb", mtime=0) if packed else None
        self.text = io.TextIOWrapper(cast(Any, self.packed or file), "utf-8", newline="", write_through=True)
        self.writer = csv.writer(self.text)
        self.writer.writerow([disarm(name) for name in schema.names])

    def write(self, table: pa.Table) -> None:
        """See `Sheet`."""
        self.writer.writerows(zip(*map(_cells, table.columns), strict=True))

    def close(self) -> None:
        """See `Sheet`."""
        self.text.flush()
        self.text.detach()
        if self.packed is not None:
            self.packed.close()


def _cells(column: pa.ChunkedArray) -> list[str]:
    values = column.to_pylist()
    if pa.types.is_floating(column.type):
        return ["" if value is None else f"{value:.6f}" for value in values]
    return ["" if value is None else disarm(value) if isinstance(value, str) else str(value) for value in values]
