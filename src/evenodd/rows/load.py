"""Find what a source names: the bundled sample, a file, or a hub data set."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import datasets
import datasets.exceptions
import httpx2

from evenodd.hub import HUB_NAME, hub_commit, unreachable
from evenodd.rows.readers import (
    ArrowReader,
    CsvReader,
    DatasetPart,
    Reader,
    RecordReader,
    declared_names,
    parquet_reader,
)
from evenodd.rows.sample import sample_rows
from evenodd.settings import DataSettings
from evenodd.storage import digest_of

FILE_READERS: dict[str, Callable[[Path], Reader]] = {
    ".csv": CsvReader, ".tsv": CsvReader,
    ".jsonl": RecordReader, ".ndjson": RecordReader, ".json": RecordReader,
    ".parquet": parquet_reader, ".pq": parquet_reader,
}  # fmt: skip
SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,7}$")


@dataclass(frozen=True)
class Source:
    """A source that was found: how to read it, and a digest of what is in it."""

    name: str
    reader: Reader
    digest: str
    synthetic: bool = False


def open_source(settings: DataSettings, cache: Path) -> Source:
    """Find what `settings.source` names.

    Raises:
        ValueError: no such file, or a kind of file that is not read.
        RuntimeError: the hub cannot be reached.
    """
    path = Path(settings.source).expanduser()
    if settings.source == "sample":
        rows = sample_rows()
        return Source("sample", RecordReader(records=rows), digest_of(rows), synthetic=True)
    if path.is_file():
        return _open_file(path)
    if path.is_dir():
        raise ValueError(f"data={settings.source!r}: a folder. Pass one file of {_kinds()}.")
    if SUFFIX.search(settings.source) or not HUB_NAME.match(settings.source):
        raise ValueError(
            f"data={settings.source!r}: file not found. Pass a file of {_kinds()} (-P data=rows.jsonl), "
            "a hub name (owner/name) or the bundled sample (-P data=sample)."
        )
    return _open_hub(settings, cache)


def _kinds() -> str:
    return ", ".join(FILE_READERS)


def _open_file(path: Path) -> Source:
    make = FILE_READERS.get(path.suffix.lower())
    if make is None:
        raise ValueError(
            f"data={str(path)!r}: files of kind {path.suffix or '(no suffix)'} are not read, only {_kinds()}."
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(path.stem, make(path), f"{digest}{path.suffix.lower()}")


def _open_hub(settings: DataSettings, cache: Path) -> Source:
    name = settings.source
    commit = hub_commit("data", name, settings.revision)
    try:
        loaded = datasets.load_dataset(name, revision=commit, cache_dir=str(cache / "hub"))
    except (datasets.exceptions.DatasetNotFoundError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"data={name!r}: the data set cannot be read ({reason}).") from error
    except (httpx2.HTTPError, OSError) as error:
        raise unreachable("data", name) from error
    parts = [(split, DatasetPart(rows)) for split, rows in loaded.items()]
    return Source(name, ArrowReader(parts, declared_names(parts[0][1].schema)), f"{name}@{commit}")
