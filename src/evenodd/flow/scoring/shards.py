"""Divides the rows of many files into shards of similar size, which are the same for the same files.

A shard continues across files, so that a folder of small files gives batches as full as one large file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from evenodd.rows import Rejected, Texts
from evenodd.rows.inputs import Input
from evenodd.storage import digest_of, file_digest

SHARD_ROWS, SHARD_CHARACTERS = 8192, 4_000_000
PART_ROWS = 1024
CARRIED = "in."

Read = Callable[[Path], Iterator[Texts]]


@dataclass(frozen=True)
class Piece:
    """Rows of one file: index of the file, number of rows before them, and their content."""

    file: int
    first: int
    rows: Texts


@dataclass(frozen=True)
class End:
    """The end of a file: SHA-256 of its content, its number of rows, and the reason if it could not be read."""

    sha256: str
    rows: int
    fault: str = ""


@dataclass
class Shard:
    """Rows that are scored together.

    Attributes:
        pieces: rows in the order of the files.
        ends: ends of the files whose last row is in the shard, by index.
        files: files of its pieces and ends, by index.
    """

    pieces: list[Piece] = field(default_factory=list)
    ends: dict[int, End] = field(default_factory=dict)
    files: dict[int, Input] = field(default_factory=dict)
    _rows: int = 0
    _characters: int = 0

    def add(self, piece: Piece, file: Input) -> None:
        """Appends rows."""
        self.files[piece.file] = file
        self.pieces.append(piece)
        self._rows += len(piece.rows)
        self._characters += sum(map(len, piece.rows.texts))

    @cached_property
    def key(self) -> str:
        """Identifies the content: equal for the same rows of files that have not changed."""
        parts = [(self.files[p.file].place, self.files[p.file].stamp, p.first, len(p.rows)) for p in self.pieces]
        return digest_of(parts)[:24]

    @property
    def texts(self) -> list[str]:
        """Rows to score."""
        return [text for piece in self.pieces for text in piece.rows.texts]

    @property
    def rejected(self) -> list[tuple[int, Rejected]]:
        """Rows that cannot be scored, with the indices of their files."""
        return [(piece.file, row) for piece in self.pieces for row in piece.rows.rejected]

    def __len__(self) -> int:
        return self._rows

    @property
    def is_full(self) -> bool:
        """Whether the shard is full."""
        return self._rows >= SHARD_ROWS or self._characters >= SHARD_CHARACTERS


def cut_shards(
    files: Sequence[Input], read: Read, begun: Callable[[int, Path], None] = lambda number, path: None
) -> Iterator[Shard]:
    """Shards of all rows. A file that cannot be read completely is reported in `ends`; the others continue.

    Args:
        files: files in reading order.
        read: reads parts of a file.
        begun: called with a file's index and location when it is opened.
    """
    shard = Shard()
    for number, file in enumerate(files):
        sha256, rows, fault = "", 0, ""
        try:
            with file.opened() as path:
                begun(number, path)
                sha256 = file_digest(path)
                for part in read(path):
                    shard.add(Piece(number, rows, part), file)
                    rows += len(part)
                    if shard.is_full:
                        yield shard
                        shard = Shard()
        except (ValueError, OSError) as error:
            fault = " ".join(str(error).split())
        shard.files[number] = file
        shard.ends[number] = End(sha256, rows, fault)
    if shard.ends or shard.pieces:
        yield shard


def shard_table(shard: Shard, answers: pa.Table) -> pa.Table:
    """All rows of a shard with their answers; rows that cannot be scored come last, with a `reason`.

    Args:
        shard: the scored shard.
        answers: answers for its texts, in order.

    Returns:
        `file` and `row` (numbers), `reason`, `in.COLUMN` for copied columns, and the columns of the answers.
    """
    pieces = [piece for piece in shard.pieces if piece.rows.texts]
    scored = {
        "file": pa.array([piece.file for piece in pieces for _ in piece.rows.texts], pa.int32()),
        "row": pa.array([number for piece in pieces for number in piece.rows.numbers], pa.int64()),
        "reason": pa.nulls(len(answers), pa.string()),
    }
    for name in dict.fromkeys(name for piece in pieces for name in piece.rows.others):
        scored[CARRIED + name] = pa.array(_values(name, pieces), pa.string())
    left = shard.rejected
    rejected: dict[str, Any] = {
        "file": pa.array([file for file, _ in left], pa.int32()),
        "row": pa.array([row.number for _, row in left], pa.int64()),
        "reason": pa.array([row.reason for _, row in left], pa.string()),
    }
    for name in dict.fromkeys(name for _, row in left for name in row.others):
        rejected[CARRIED + name] = pa.array([row.others.get(name) for _, row in left], pa.string())
    whole = pa.table(scored | {name: answers.column(name) for name in answers.column_names})
    return pa.concat_tables([whole, pa.table(rejected)], promote_options="default")


def _values(name: str, pieces: Sequence[Any]) -> list[str | None]:
    """Joins a column of several files, of which some may lack it."""
    return [value for piece in pieces for value in piece.rows.others.get(name) or [None] * len(piece.rows.texts)]
