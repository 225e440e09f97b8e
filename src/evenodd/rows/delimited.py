"""CSV, TSV and similar files: a header line, then rows of the same width. Rows are numbered by their first line."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from evenodd.rows.chunks import BROKEN, CHUNK_ROWS, HEAD_ROWS, Chunk, bad_row
from evenodd.rows.dialects import RepeatedValues, find_dialect, take_head
from evenodd.rows.encodings import find_encoding, is_broken, read_lines
from evenodd.rows.faults import Faults

FIELD_LIMIT = 2**31 - 1
HEAD_CHARACTERS = 4 << 20


class DelimitedReader:
    """A delimited file; see `Reader`. Its dialect is detected in the first lines and used for the whole file."""

    def __init__(self, path: Path, encoding: str | None = None, delimiter: str = ",") -> None:
        """Reads the head of a file.

        Args:
            path: the file.
            encoding: encoding in the settings; None: detect it.
            delimiter: delimiter that the file's name suggests.
        """
        self.path, self.unit = path, "line"
        self.encoding = find_encoding(path, encoding)
        self.declared: dict[str, tuple[str, ...]] = {}
        head, whole = take_head(read_lines(path, self.encoding), HEAD_ROWS, HEAD_CHARACTERS)
        with _long_fields():
            self.dialect = find_dialect(head, delimiter, whole=whole)
            rows = list(_well_formed(self.dialect.records(head[self.dialect.skip :])))
        self.columns = tuple(rows[0]) if rows else ()
        self.repeated = RepeatedValues(self.columns, rows[1:])
        self.doubt = self.repeated.doubt(self.columns)
        self.remarks = tuple(remark for remark in (self.encoding.remark, self.dialect.remark) if remark)

    def chunks(self, columns: Sequence[str], faults: Faults, as_is: Collection[str] = ()) -> Iterator[Chunk]:
        """See `Reader`."""
        places = [self.columns.index(name) for name in columns]
        with _long_fields():
            rows = self._rows(faults)
            while taken := list(islice(rows, CHUNK_ROWS)):
                arrays = [pa.array([fields[place] for _, fields in taken], pa.string()) for place in places]
                numbers = np.array([number for number, _ in taken], dtype=np.int64)
                yield Chunk(dict(zip(columns, arrays, strict=True)), numbers)

    def _rows(self, faults: Faults) -> Iterator[tuple[int, list[str]]]:
        """Line numbers and fields of the well-formed rows; blank lines are skipped."""
        skip, width, clean = self.dialect.skip, len(self.columns), self.encoding.clean
        lines: list[str] = []
        records = self.dialect.records(_noted(islice(read_lines(self.path, self.encoding), skip, None), lines))
        next(_well_formed(records), None)
        while True:
            lines.clear()
            number = skip + records.line_num + 1
            try:
                fields = next(records)
            except StopIteration:
                return
            except csv.Error:
                bad_row(faults, "malformed CSV (quotes)", number)
                continue
            if not clean and any(map(is_broken, lines)):
                bad_row(faults, BROKEN, number)
            elif fields and len(fields) != width:
                bad_row(faults, f"not {width} {'column' if width == 1 else 'columns'} wide", number)
            elif len(lines) > 1 and self.repeated.swallows(lines, self.dialect.delimiter):
                bad_row(faults, "an open quote that swallows the rows after it", number)
            elif fields:
                yield number, fields


def _noted(lines: Iterator[str], note: list[str]) -> Iterator[str]:
    """The lines, each also appended to a list."""
    for line in lines:
        note.append(line)
        yield line


def _well_formed(records: Iterator[list[str]]) -> Iterator[list[str]]:
    """Records that are neither blank nor malformed."""
    while True:
        try:
            fields = next(records)
        except StopIteration:
            return
        except csv.Error:
            continue
        if fields:
            yield fields


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lets csv read fields of any length."""
    limit = csv.field_size_limit(FIELD_LIMIT)
    try:
        yield
    finally:
        csv.field_size_limit(limit)
