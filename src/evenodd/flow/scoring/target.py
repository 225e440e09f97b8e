"""The folder of the results, local or behind a URL. Files in it are written atomically."""

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
    """A folder in an fsspec file system."""

    system: Any
    path: str

    @classmethod
    def at(cls, place: str) -> Folder:
        """The folder of a path or URL.

        Raises:
            ValueError: the URL's protocol is unknown.
        """
        return cls(*file_system(place))

    def file(self, name: str) -> str:
        """Full path of a file in the folder."""
        return posixpath.join(self.path, name)

    def inside(self, name: str) -> Folder:
        """A folder in it."""
        return Folder(self.system, self.file(name))

    def has(self, name: str) -> bool:
        """Whether the file exists."""
        return bool(self.system.exists(self.file(name)))

    def is_folder(self) -> bool:
        """Whether the folder exists."""
        return bool(self.system.isdir(self.path))

    def is_file(self) -> bool:
        """Whether a file has the folder's path."""
        return bool(self.system.isfile(self.path))

    @contextmanager
    def new(self, name: str) -> Iterator[Hashed]:
        """A file that gets its name when it is written completely."""
        self.system.makedirs(self.path, exist_ok=True)
        partial = self.file(f".{name}.partial")  # overwrites that of a killed command
        try:
            with self.system.open(partial, "wb") as raw:
                yield Hashed(raw)
            self.system.mv(partial, self.file(name))
        finally:
            if self.system.exists(partial):
                self.system.rm_file(partial)

    def write_json(self, name: str, value: Any) -> None:
        """Replaces a file atomically."""
        with self.new(name) as file:
            file.write(json.dumps(value, indent=1, ensure_ascii=False).encode())

    def read_json(self, name: str) -> Any:
        """Reads the result of `write_json`; None if it does not exist.

        Raises:
            ValueError: the file is not JSON.
        """
        if not self.has(name):
            return None
        with self.system.open(self.file(name), "rb") as file:
            try:
                return json.loads(file.read())
            except ValueError as error:
                raise ValueError(f"{self.file(name)}: not JSON ({error}). Move it away.") from error

    def write_table(self, name: str, table: pa.Table) -> None:
        """A Parquet file."""
        with self.new(name) as file:
            pq.write_table(table, cast(Any, file))

    def read_table(self, name: str) -> pa.Table:
        """A Parquet file, whole."""
        with self.system.open(self.file(name), "rb") as file:
            return pq.read_table(file)

    def remove(self, name: str) -> None:
        """Deletes a file if it exists."""
        if self.has(name):
            self.system.rm_file(self.file(name))

    def remove_all(self) -> None:
        """Deletes this folder."""
        if self.system.exists(self.path):
            self.system.rm(self.path, recursive=True)


class Hashed(io.RawIOBase):
    """A file to write, with SHA-256 and number of the bytes so far."""

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
    """Writes tables of one format."""

    def write(self, table: pa.Table) -> None:
        """Appends rows."""

    def close(self) -> None:
        """Writes the rest."""


def open_sheet(kind: str, file: Hashed, schema: pa.Schema) -> Sheet:
    """A writer of tables as `csv`, `csv.gz` or `parquet`."""
    return ParquetSheet(file, schema) if kind == PARQUET else CsvSheet(file, schema, packed=kind == CSV_GZ)


class ParquetSheet:
    """A Parquet file with a row group for each table."""

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
    """CSV in UTF-8: numbers with six decimals, no cells that a spreadsheet would run as a formula."""

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
