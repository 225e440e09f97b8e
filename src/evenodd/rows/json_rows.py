"""JSON: lines of objects, a list of objects, an object that holds the list, or concatenated objects.

Lines are streamed. Any other form is one document and is read as a whole: its list may be the value of any key
(`{"data": [...]}`), divided by splits (`{"train": [...], "test": [...]}`), or given by columns
(`{"text": [...], "label": [...]}`, and the forms that pandas writes).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from evenodd.rows.chunks import BROKEN, CHUNK_ROWS, HEAD_ROWS, Chunk, Reader, as_strings, bad_row, written_out
from evenodd.rows.columns import SPLIT_VALUES, split_place
from evenodd.rows.encodings import Encoding, find_encoding, is_broken, read_lines
from evenodd.rows.faults import Faults

HEAD_LINES = 20
DEEPEST = 4
Record = dict[str, Any]
Parts = list[tuple[str | None, list[Any]]]


def json_reader(path: Path, encoding: str | None = None) -> Reader:
    """A reader for a JSON file, chosen by its content.

    Raises:
        ValueError: no row can be read; the message has the reason.
    """
    found = find_encoding(path, encoding)
    if _is_lines(path, found):
        return JsonLinesReader(path, found)
    faults = Faults(str(path))
    reader = RecordReader(_document(path, found, faults), (found.remark,) if found.remark else ())
    if not reader.columns:
        faults.raise_if_any()
    return reader


class RecordReader:
    """Rows that are in memory; see `Reader`."""

    def __init__(self, parts: Parts, remarks: tuple[str, ...] = ()) -> None:
        self.parts, self.unit, self.remarks, self.doubt = parts, "row", remarks, ""
        self.declared: dict[str, tuple[str, ...]] = {}
        head = islice(chain.from_iterable(records for _, records in parts), HEAD_ROWS)
        self.columns = tuple(dict.fromkeys(name for row in head if isinstance(row, dict) for name in row))

    def chunks(self, columns: Sequence[str], faults: Faults, as_is: Collection[str] = ()) -> Iterator[Chunk]:
        """See `Reader`."""
        start = 1
        for split, records in self.parts:
            numbered = self._objects(records, start, faults)
            start += len(records)
            for chunk in _chunked(numbered, columns, as_is):
                chunk.split = split
                yield chunk

    def _objects(self, records: list[Any], start: int, faults: Faults) -> Iterator[tuple[int, Record]]:
        for number, record in enumerate(records, start=start):
            if isinstance(record, dict):
                yield number, record
            else:
                bad_row(faults, "not an object", number)


class JsonLinesReader:
    """One object per line; see `Reader`. Blank lines are skipped."""

    def __init__(self, path: Path, encoding: Encoding) -> None:
        self.path, self.encoding, self.unit, self.doubt = path, encoding, "line", ""
        self.remarks: tuple[str, ...] = (encoding.remark,) if encoding.remark else ()
        self.declared: dict[str, tuple[str, ...]] = {}
        faults = Faults(str(path), self.unit)
        head = islice(self._numbered(faults), HEAD_ROWS)
        self.columns = tuple(dict.fromkeys(name for _, record in head for name in record))
        if not self.columns:
            faults.raise_if_any()

    def chunks(self, columns: Sequence[str], faults: Faults, as_is: Collection[str] = ()) -> Iterator[Chunk]:
        """See `Reader`."""
        return _chunked(self._numbered(faults), columns, as_is)

    def _numbered(self, faults: Faults) -> Iterator[tuple[int, Record]]:
        clean = self.encoding.clean
        for number, line in enumerate(read_lines(self.path, self.encoding), start=1):
            if line.isspace():
                continue
            if not clean and is_broken(line):
                bad_row(faults, BROKEN, number)
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                bad_row(faults, "malformed JSON", number)
                continue
            if isinstance(record, dict):
                yield number, record
            else:
                bad_row(faults, "not an object", number)


def _chunked(numbered: Iterator[tuple[int, Record]], columns: Sequence[str], as_is: Collection[str]) -> Iterator[Chunk]:
    while rows := list(islice(numbered, CHUNK_ROWS)):
        chunk = Chunk({}, np.array([number for number, _ in rows], dtype=np.int64))
        for name in columns:
            values = [record.get(name) for _, record in rows]
            chunk.columns[name] = written_out(values) if name in as_is else as_strings(name, values, chunk)
        yield chunk


def _is_lines(path: Path, encoding: Encoding) -> bool:
    """Whether each line is a complete value."""
    filled = (line for line in read_lines(path, encoding) if not line.isspace())
    head = list(islice(filled, HEAD_LINES))
    if not head or head[0].lstrip()[0] not in "[{":
        return True
    complete = [_is_complete(line) for line in head]
    return len(head) > 1 and (complete[0] or (head[0].lstrip()[0] == "{" and sum(complete) * 2 >= len(head)))


def _is_complete(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _document(path: Path, encoding: Encoding, faults: Faults) -> Parts:
    if not encoding.clean:
        faults.general.append(BROKEN)
        return []
    text = "".join(read_lines(path, encoding))
    try:
        values = list(_values(text))
    except (ValueError, RecursionError) as error:
        faults.general.append(f"malformed JSON: {error}")
        return []
    if len(values) != 1:
        return [(None, values)]
    try:
        return _unwrap(values[0])
    except ValueError as error:
        faults.general.append(str(error))
        return []


def _values(text: str) -> Iterator[Any]:
    """Concatenated JSON values, with blanks or commas between them."""
    decoder, at = json.JSONDecoder(), 0
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at == len(text):
            return
        value, at = decoder.raw_decode(text, at)
        yield value


def _unwrap(value: Any, depth: int = 0) -> Parts:
    """The rows of a document, by split if it is divided.

    Raises:
        ValueError: it holds several lists of objects, and the rows are ambiguous.
    """
    if not isinstance(value, dict):
        return [(None, value if isinstance(value, list) else [value])]
    if "columns" in value and _is_list_of(value.get("data"), list):
        return [(None, [dict(zip(map(str, value["columns"]), row, strict=False)) for row in value["data"]])]
    lists = {key: rows for key, rows in value.items() if _is_list_of(rows, dict)}
    if len(lists) > 1 and all(split_place(key) is not None for key in lists):
        return [(key.strip().lower(), rows) for key, rows in lists.items()]
    if len(lists) > 1:
        names = ", ".join(lists)
        raise ValueError(f"several lists of objects ({names}): name them {', '.join(SPLIT_VALUES)}, or keep one")
    if lists:
        return [(None, next(iter(lists.values())))]
    if rows := _by_columns(value):
        return [(None, rows)]
    inner = [part for part in value.values() if isinstance(part, dict)]
    if len(inner) == 1 and depth < DEEPEST:
        return _unwrap(inner[0], depth + 1)
    return [(None, [value])]


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, kind) for item in value)


def _by_columns(value: Record) -> list[Record]:
    """Rows of `{"text": [...], "label": [...]}`, `{"text": {"0": ...}}` or `{"0": {"text": ...}}`; otherwise empty."""
    columns = list(value.values())
    if len(columns) < 2:
        return []
    if all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    if not all(isinstance(column, dict) and column.keys() == columns[0].keys() for column in columns):
        return []
    if all(key.isdecimal() for key in columns[0]):
        return [{name: column[key] for name, column in value.items()} for key in columns[0]]
    return columns
