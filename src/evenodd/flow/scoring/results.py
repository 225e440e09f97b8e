"""Collects shards, scored in any order, into the results of each input file, in the order of its rows."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenodd.flow.scoring.shards import CARRIED, End, Shard
from evenodd.flow.scoring.target import Folder, Hashed, open_sheet
from evenodd.flow.scoring.worker import PROBABILITY

ANSWER = ("label", "decision", "score", "windows")
PREFIX = "input_"


class Dropped(Exception):  # noqa: N818 (nothing went wrong)
    """A started file must not be completed."""


@dataclass(frozen=True)
class Names:
    """Names of the two output files of one input file."""

    results: str
    rejected: str


@dataclass(frozen=True)
class Finished:
    """Outcome of one file.

    Attributes:
        end: SHA-256 of the file and its number of rows, or why it could not be read.
        scored, rejected: numbers of rows.
        labels: number of rows of each label.
        sha256: SHA-256 of the written files, by name.
    """

    end: End
    scored: int
    rejected: int
    labels: dict[str, int]
    sha256: dict[str, str]


class FileResults:
    """Writes the results of one input file.

    Args:
        folder: folder of the results.
        names: names of the output files.
        kind: `parquet`, `csv` or `csv.gz`.
        carried: copied columns of the input.
        labels: labels of the classifier.
    """

    def __init__(self, folder: Folder, names: Names, kind: str, carried: Sequence[str], labels: Sequence[str]) -> None:
        self.folder, self.names, self.kind = folder, names, kind
        along = {CARRIED + name: (_free(name), pa.string()) for name in carried}
        probabilities = {PROBABILITY + name: (PROBABILITY + name, pa.float64()) for name in labels}
        answer = {"label": ("label", pa.string()), "decision": ("decision", pa.string())}
        answer |= {"score": ("score", pa.float64()), **probabilities, "windows": ("windows", pa.int32())}
        row = {"row": ("row", pa.int64())}
        self.columns = {names.results: row | along | answer}
        self.columns[names.rejected] = row | {"reason": ("reason", pa.string())} | along
        self.stack = ExitStack()
        self.sheets: dict[str, tuple[Any, Hashed]] = {}
        self.rows: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()

    def add(self, rows: pa.Table) -> None:
        """Rows of a shard."""
        bad = pc.is_valid(rows.column("reason"))
        self.labels.update(label for label in rows.column("label").to_pylist() if label is not None)
        self._write(self.names.results, rows.filter(pc.invert(bad)))
        self._write(self.names.rejected, rows.filter(bad))

    def finish(self, end: End) -> Finished:
        """Completes both files; without rejected rows, there is no file for them."""
        self._sheet(self.names.results)
        if self.names.rejected not in self.sheets:
            self.folder.remove(self.names.rejected)  # of an earlier content of the input file
        for sheet, _ in self.sheets.values():
            sheet.close()
        self.stack.close()
        digests = {name: file.digest.hexdigest() for name, (_, file) in self.sheets.items()}
        scored, rejected = self.rows[self.names.results], self.rows[self.names.rejected]
        return Finished(end, scored, rejected, dict(sorted(self.labels.items())), digests)

    def drop(self) -> None:
        """Leaves nothing behind."""
        for sheet, _ in self.sheets.values():
            sheet.close()
        with suppress(Dropped), self.stack:
            raise Dropped

    def _write(self, name: str, rows: pa.Table) -> None:
        if not len(rows):
            return
        there, size = set(rows.column_names), len(rows)
        columns = {
            shown: rows.column(own).cast(kind) if own in there else pa.nulls(size, kind)
            for own, (shown, kind) in self.columns[name].items()
        }
        self._sheet(name).write(pa.table(columns))
        self.rows[name] += size

    def _sheet(self, name: str) -> Any:
        if name not in self.sheets:
            file = self.stack.enter_context(self.folder.new(name))
            schema = pa.schema(list(self.columns[name].values()))
            self.sheets[name] = open_sheet(self.kind, file, schema), file
        return self.sheets[name][0]


def _free(name: str) -> str:
    """A column's name, changed if the output already uses it."""
    ours = name in ("row", "reason", *ANSWER) or name.startswith(PROBABILITY)
    return PREFIX + name if ours else name


@dataclass
class Outline:
    """A shard without its rows, for the collector."""

    key: str
    carried: dict[int, tuple[str, ...]]
    ends: dict[int, End]

    @classmethod
    def of(cls, shard: Shard) -> Outline:
        """The outline of a shard; `carried` has the copied columns of each of its files."""
        return cls(shard.key, {piece.file: tuple(piece.rows.others) for piece in shard.pieces}, shard.ends)


@dataclass
class Collector:
    """Takes scored shards and writes complete files, in the order of the rows.

    Attributes:
        results: folder of the results.
        work: folder of shards, until all of their files are written.
        names: names of the results, by index of the file.
        kind: format of the results.
        labels: labels of the classifier.
        done: files that were written before, whose rows are skipped.
    """

    results: Folder
    work: Folder
    names: Sequence[Names]
    kind: str
    labels: Sequence[str]
    done: set[int] = field(default_factory=set)
    finished: dict[int, Finished] = field(default_factory=dict)
    _queue: deque[Outline] = field(default_factory=deque)
    _ready: set[str] = field(default_factory=set)
    _kept: list[Outline] = field(default_factory=list)
    _open: dict[int, FileResults] = field(default_factory=dict)

    def has(self, outline: Outline) -> bool:
        """Whether a shard needs no scoring."""
        return set(outline.carried) <= self.done or self.work.has(shard_file(outline.key))

    def expect(self, outline: Outline) -> None:
        """Adds the next shard in the order of the rows."""
        self._queue.append(outline)

    def take(self, key: str) -> None:
        """Takes a scored shard and writes the files that it completes."""
        self._ready.add(key)
        while self._queue and self._queue[0].key in self._ready:
            self._write(self._queue.popleft())

    def drop(self) -> None:
        """Drops partly written files."""
        for results in self._open.values():
            results.drop()
        self._open.clear()

    def remove_used(self) -> None:
        """Deletes the shards that no file needs any more."""
        needed = [outline for outline in self._kept if set(outline.carried) & set(self._open)]
        for outline in self._kept:
            if outline not in needed:
                self.work.remove(shard_file(outline.key))
        self._kept = needed

    def _write(self, outline: Outline) -> None:
        self._ready.discard(outline.key)
        wanted = [number for number in outline.carried if number not in self.done]
        if wanted:
            table = self.work.read_table(shard_file(outline.key))
            for number in wanted:
                rows = table.filter(pc.equal(table.column("file"), number))
                self._of(number, outline.carried[number]).add(rows)
        for number, end in outline.ends.items():
            if number not in self.done:
                self._end(number, end)
        self._kept.append(outline)

    def _end(self, number: int, end: End) -> None:
        results = self._open.pop(number, None)
        if end.fault:
            if results is not None:
                results.drop()
            self.finished[number] = Finished(end, 0, 0, {}, {})
        else:
            results = results or self._new(number, ())
            self.finished[number] = results.finish(end)
        self.done.add(number)

    def _of(self, number: int, carried: Sequence[str]) -> FileResults:
        if number not in self._open:
            self._open[number] = self._new(number, carried)
        return self._open[number]

    def _new(self, number: int, carried: Sequence[str]) -> FileResults:
        return FileResults(self.results, self.names[number], self.kind, carried, self.labels)


def shard_file(key: str) -> str:
    """Name of a scored shard."""
    return f"shard-{key}.parquet"
