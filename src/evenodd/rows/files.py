"""Files of rows: lists the files of a source, chooses their readers, and reads several as one source.

A source is a file, several files separated by commas, a pattern (`data/*.csv`) or a folder. The format follows from
the file's name, with or without `.gz`; Parquet is recognised by its first bytes. If all files are named after splits
(`train`, `validation`, `test`, also `test-00000-of-00002`), they are those splits.
"""

from __future__ import annotations

import glob
import hashlib
import logging
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evenodd.rows.chunks import Chunk, Reader
from evenodd.rows.columns import match_column, match_name, split_place
from evenodd.rows.delimited import DelimitedReader
from evenodd.rows.encodings import head_of
from evenodd.rows.faults import Faults
from evenodd.rows.json_rows import json_reader
from evenodd.rows.plain import LinesReader
from evenodd.rows.tables import PARQUET_MARK, parquet_reader

logger = logging.getLogger(__name__)

Open = Callable[[Path, str | None], Reader]


def _tabs_first(path: Path, encoding: str | None) -> Reader:
    return DelimitedReader(path, encoding, "\t")


def _parquet(path: Path, encoding: str | None) -> Reader:
    return parquet_reader(path)


def _lines_or_table(path: Path, encoding: str | None) -> Reader:
    """Whether a .txt file is a table with tabs, as Excel's "Unicode text" is."""
    table = DelimitedReader(path, encoding, "\t")
    found = [match_column(role, table.columns) for role in ("text", "label")]
    return table if table.dialect.delimiter == "\t" and all(found) else LinesReader(path, encoding)


OPEN: dict[str, Open] = {
    ".csv": DelimitedReader, ".tsv": _tabs_first, ".tab": _tabs_first,
    ".jsonl": json_reader, ".ndjson": json_reader, ".json": json_reader,
    ".parquet": _parquet, ".pq": _parquet,
    ".txt": _lines_or_table,
}  # fmt: skip
KINDS = f"{', '.join(OPEN)} (each also .gz)"


@dataclass(frozen=True)
class Found:
    """Files of a source.

    Attributes:
        files: files in reading order.
        name: short name of the source: the file's stem, or the folder's name.
        left: files of a folder or pattern in unsupported formats.
    """

    files: tuple[Path, ...]
    name: str
    left: tuple[Path, ...] = ()


def find_files(source: str) -> Found | None:
    """The files of a source; None if nothing has that name.

    Raises:
        ValueError: a file has an unsupported format, or a folder or pattern has no file with a supported one.
    """
    path = Path(source).expanduser()
    if path.is_file():
        if kind_of(path) not in OPEN:
            raise ValueError(
                f"data={source!r}: files of kind {kind_of(path) or '(no suffix)'} are not read, only {KINDS}."
            )
        return Found((path,), stem_of(path))
    if path.is_dir():
        return _of_many(source, sorted(path.iterdir()), path)
    if glob.has_magic(source):
        paths = sorted(map(Path, glob.glob(str(path), recursive=True)))
        return _of_many(source, paths, paths[0].parent) if paths else None
    if "," in source:
        parts = [find_files(part.strip()) for part in source.split(",") if part.strip()]
        found = [part for part in parts if part is not None]
        if len(found) != len(parts) or not found:
            return None
        files = tuple(dict.fromkeys(file for part in found for file in part.files))
        name = found[0].name if len(files) == 1 else files[0].resolve().parent.name
        return Found(files, name, tuple(file for part in found for file in part.left))
    return None


def _of_many(source: str, paths: Sequence[Path], folder: Path) -> Found:
    files = [path for path in paths if path.is_file() and not path.name.startswith((".", "_"))]
    read = tuple(path for path in files if kind_of(path) in OPEN)
    if not read:
        raise ValueError(f"data={source!r}: it has no file in a supported format: {KINDS}.")
    left = tuple(path for path in files if kind_of(path) not in OPEN)
    return Found(read, stem_of(read[0]) if len(read) == 1 else folder.resolve().name, left)


def kind_of(path: Path) -> str:
    """The suffix that determines the format, in lower case and without `.gz`."""
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return plain.suffix.lower()


def stem_of(path: Path) -> str:
    """A file's name without its suffixes."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).stem


def open_file(path: Path, encoding: str | None = None) -> Reader:
    """A reader for one file.

    Raises:
        ValueError: the file does not have the format of its name.
    """
    kind = ".parquet" if head_of(path, 4) == PARQUET_MARK else kind_of(path)
    return OPEN[kind](path, encoding)


def digest_files(files: Sequence[Path]) -> str:
    """SHA-256 over the content and format of files in order, and over their names if there are several."""
    parts = []
    for path in files:
        with path.open("rb") as file:
            parts.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}{kind_of(path)}")
    if len(files) == 1:
        return parts[0]
    named = "".join(f"{path.name}:{part}\n" for path, part in zip(files, parts, strict=True))
    return hashlib.sha256(named.encode()).hexdigest()


def split_of(path: Path) -> str | None:
    """The split that a file is named after."""
    word = re.split(r"[-_.]", path.name.lower())[0]
    return word if split_place(word) is not None else None


class FilesReader:
    """Several files in sequence; see `Reader`. All files must have the columns of the first."""

    def __init__(self, files: Sequence[Path], encoding: str | None = None) -> None:
        self.files, self.readers = files, [open_file(path, encoding) for path in files]
        first = self.readers[0]
        self.columns, self.declared, self.doubt = first.columns, first.declared, first.doubt
        self.unit = "line" if any(reader.unit == "line" for reader in self.readers) else "row"
        self.remarks = tuple(
            f"{path.name}: {remark}"
            for path, reader in zip(files, self.readers, strict=True)
            for remark in reader.remarks
        )
        splits = [split_of(path) for path in files]
        self.splits = splits if all(splits) and len(set(splits)) > 1 else [None] * len(files)
        if self.splits[0]:
            self.remarks += (f"splits by the files' names: {', '.join(path.name for path in files)}",)

    def chunks(self, columns: Sequence[str], faults: Faults, as_is: Collection[str] = ()) -> Iterator[Chunk]:
        """See `Reader`."""
        for path, reader, split in zip(self.files, self.readers, self.splits, strict=True):
            there = [match_name(name, reader.columns) for name in columns]
            lacking = [name for name, own in zip(columns, there, strict=True) if own is None]
            if lacking:
                faults.general.append(
                    f"{path.name} has no column {', '.join(lacking)}: there are {', '.join(reader.columns)}"
                )
                continue
            faults.file = path.name
            own_names = {own: name for own, name in zip(there, columns, strict=True) if own is not None}
            for chunk in reader.chunks(list(own_names), faults, [own for own in own_names if own_names[own] in as_is]):
                chunk.columns = {own_names[own]: values for own, values in chunk.columns.items()}
                chunk.invalid = {(own_names[own], kind): at for (own, kind), at in chunk.invalid.items()}
                chunk.split = split or chunk.split
                yield chunk
        faults.file = ""
