"""Locates a data source: the bundled sample, files, or a hub data set."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import datasets
import datasets.exceptions
import httpx2

from evenodd.classifier.faults import first_line
from evenodd.hub import HUB_NAME, hub_commit, unreachable
from evenodd.rows.chunks import Reader
from evenodd.rows.files import KINDS, FilesReader, Found, digest_files, find_files, open_file
from evenodd.rows.json_rows import RecordReader
from evenodd.rows.sample import sample_rows
from evenodd.rows.tables import ArrowReader, DatasetPart, declared_names
from evenodd.settings import DataSettings
from evenodd.storage import digest_of

logger = logging.getLogger(__name__)

SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,7}$")


@dataclass(frozen=True)
class Source:
    """A located source: how to read it, and a digest of its content."""

    name: str
    reader: Reader
    digest: str
    synthetic: bool = False


def open_source(settings: DataSettings, cache: Path) -> Source:
    """Locates `settings.source`.

    Raises:
        ValueError: the file does not exist or has an unsupported format.
        RuntimeError: the hub cannot be reached.
    """
    if settings.source == "sample":
        rows = sample_rows()
        return Source("sample", RecordReader([(None, rows)]), digest_of(rows), synthetic=True)
    try:
        found = find_files(settings.source)
        if found is not None:
            return _open_files(found, settings)
    except OSError as error:
        raise ValueError(f"data={settings.source!r}: the file cannot be read ({error}).") from error
    if SUFFIX.search(settings.source) or not HUB_NAME.match(settings.source):
        raise ValueError(
            f"data={settings.source!r}: file not found. Pass a file, several or a folder of {KINDS} "
            "(-P data=rows.jsonl), a hub name (owner/name) or the bundled sample (-P data=sample)."
        )
    return _open_hub(settings, cache)


def _open_files(found: Found, settings: DataSettings) -> Source:
    if settings.revision is not None:
        raise ValueError(f"data.revision={settings.revision!r}: only a hub data set has revisions. Leave it out.")
    if found.left:
        logger.warning("data %s | not read: %s", found.name, ", ".join(path.name for path in found.left))
    several = len(found.files) > 1
    reader = FilesReader(found.files, settings.encoding) if several else open_file(found.files[0], settings.encoding)
    for remark in reader.remarks:
        logger.info("data %s | %s", found.name, remark)
    return Source(found.name, reader, f"{digest_files(found.files)}{settings.encoding or ''}")


def _open_hub(settings: DataSettings, cache: Path) -> Source:
    name = settings.source
    commit = hub_commit("data", name, settings.revision)
    try:
        loaded = datasets.load_dataset(name, revision=commit, cache_dir=str(cache / "hub"))
    except (datasets.exceptions.DatasetNotFoundError, RuntimeError, ValueError) as error:
        raise ValueError(f"data={name!r}: the data set cannot be read ({first_line(error)}).") from error
    except (httpx2.HTTPError, OSError) as error:
        raise unreachable("data", name) from error
    parts = [(split, DatasetPart(rows)) for split, rows in loaded.items()]
    return Source(name, ArrowReader(parts, declared_names(parts[0][1].schema)), f"{name}@{commit}")
