"""Input files to read one by one, local or behind a URL, with their sizes and change stamps."""

from __future__ import annotations

import glob
import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from evenodd.rows.encodings import open_bytes
from evenodd.rows.files import KINDS, OPEN, find_files, kind_of

URL = "://"
HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Input:
    """An input file.

    Attributes:
        place: its path or URL.
        name: last part of the path.
        size: bytes; 0 if the server does not report it.
        stamp: changes with the file.
    """

    place: str
    name: str
    size: int
    stamp: str

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """Its content as a local file; a downloaded copy is deleted afterwards.

        Raises:
            ValueError: the file cannot be fetched.
        """
        if URL not in self.place:
            yield Path(self.place)
            return
        with tempfile.TemporaryDirectory(prefix="evenodd-") as folder:
            copy = Path(folder) / self.name
            try:
                system, path = file_system(self.place)
                system.get_file(path, str(copy))
            except (OSError, RuntimeError) as error:
                raise ValueError(f"input={self.place!r}: it cannot be fetched ({error}).") from error
            yield copy


@dataclass(frozen=True)
class Inputs:
    """The files of a source in reading order, and those in unsupported formats."""

    files: tuple[Input, ...]
    left: tuple[str, ...] = ()
    is_folder: bool = False


def find_inputs(source: str) -> Inputs:
    """The files of a source: a file, a folder, a pattern or a URL of one, or several separated by commas.

    Raises:
        ValueError: there is no file, or none in a supported format.
    """
    if URL in source:
        parts = [part.strip() for part in source.split(",")]
        found = [_behind_url(part) for part in (parts if all(URL in part for part in parts) else [source])]
        files = tuple(dict.fromkeys(file for one in found for file in one.files))
        return Inputs(files, tuple(name for one in found for name in one.left), len(files) > 1 or found[0].is_folder)
    local = find_files(source)
    if local is None:
        raise ValueError(f"input={source!r}: no such file. Pass a file, several, a folder or a URL of {KINDS}.")
    return Inputs(
        tuple(_local(path) for path in local.files),
        tuple(path.name for path in local.left),
        len(local.files) > 1 or Path(source).expanduser().is_dir(),
    )


def file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a path or URL, and the path in it.

    Raises:
        ValueError: the URL's protocol is unknown, or its package is not installed.
    """
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{url!r} cannot be opened: {error}.") from error
    return system, str(path)


def estimate_rows(path: Path) -> int:
    """Estimated rows of a file: from Parquet's metadata, or from the lines of the first MiB; 0 if damaged."""
    try:
        return _estimated(path)
    except (OSError, EOFError, zlib.error, pa.ArrowException):
        return 0


def _estimated(path: Path) -> int:
    if kind_of(path) in (".parquet", ".pq"):
        with open_bytes(path) as file:
            return int(pq.read_metadata(file).num_rows)
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        head = gzip.GzipFile(fileobj=raw).read(HEAD_BYTES) if packed else raw.read(HEAD_BYTES)
        read = raw.tell()
    lines = max(head.count(b"\n"), head.count(b"\r"), 1)
    return lines if len(head) < HEAD_BYTES else round(lines * path.stat().st_size / max(read, 1))


def _local(path: Path) -> Input:
    stat = path.stat()
    return Input(str(path), path.name, stat.st_size, f"{stat.st_size}-{stat.st_mtime_ns}")


def _behind_url(url: str) -> Inputs:
    system, path = file_system(url)
    if glob.has_magic(path):
        paths, folder = sorted(map(str, system.glob(path))), True
    elif folder := _is_folder(system, path):
        paths = sorted(str(one["name"]) for one in system.ls(path, detail=True) if one["type"] == "file")
    else:
        paths = [path]
    names = {one: PurePosixPath(one.partition("?")[0]).name for one in paths}
    shown = [one for one in paths if not names[one].startswith((".", "_"))]
    kept = [one for one in shown if kind_of(Path(names[one])) in OPEN]
    if not kept:
        raise ValueError(f"input={url!r}: it has no file in a supported format: {KINDS}.")
    return Inputs(
        tuple(_remote(system, one, names[one]) for one in kept),
        tuple(names[one] for one in shown if one not in kept),
        folder,
    )


def _remote(system: Any, path: str, name: str) -> Input:
    try:
        about = system.info(path)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"input={path!r}: it cannot be read ({error}).") from error
    mark = about.get("ETag") or about.get("mtime") or about.get("LastModified") or about.get("created") or ""
    size = int(about.get("size") or 0)
    return Input(str(system.unstrip_protocol(path)), name, size, f"{size}-{mark}")


def _is_folder(system: Any, path: str) -> bool:
    if kind_of(Path(path.partition("?")[0])) in OPEN:
        return False
    try:
        return bool(system.isdir(path))
    except (OSError, RuntimeError):  # then it is read as a file, and the fault is reported
        return False
