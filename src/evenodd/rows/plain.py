"""Plain text: each line that is not blank is a text; the only column is called `text`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from evenodd.rows.chunks import BROKEN, CHUNK_ROWS, Chunk, bad_row
from evenodd.rows.encodings import find_encoding, is_broken, read_lines
from evenodd.rows.faults import Faults


class LinesReader:
    """Lines as texts; see `Reader`."""

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self.path, self.unit, self.doubt = path, "line", ""
        self.columns: tuple[str, ...] = ("text",)
        self.encoding = find_encoding(path, encoding)
        self.remarks: tuple[str, ...] = (self.encoding.remark,) if self.encoding.remark else ()
        self.declared: dict[str, tuple[str, ...]] = {}

    def chunks(self, columns: Sequence[str], faults: Faults, as_is: Collection[str] = ()) -> Iterator[Chunk]:
        """See `Reader`."""
        lines = self._lines(faults)
        while rows := list(islice(lines, CHUNK_ROWS)):
            texts = pa.array([text for _, text in rows], pa.string())
            yield Chunk(dict.fromkeys(columns, texts), np.array([number for number, _ in rows], dtype=np.int64))

    def _lines(self, faults: Faults) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(read_lines(self.path, self.encoding), start=1):
            if line.isspace():
                continue
            if not self.encoding.clean and is_broken(line):
                bad_row(faults, BROKEN, number)
            else:
                yield number, line.rstrip("\r\n")
