"""Folders that are there complete or not at all, and their names."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FORMAT = 2
"""Of everything that this package keeps in a cache: a new number makes old folders unknown."""


def digest_of(value: Any) -> str:
    """SHA-256 of plain values, as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its name when all went well: nothing half done is found there.

    When another process was first, its folder stays and ours goes. Left empty, it does not take the name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.parent / f".{folder.name}-{uuid.uuid4().hex[:12]}"
    building.mkdir()
    try:
        yield building
        if any(building.iterdir()):
            _take_name(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _take_name(building: Path, folder: Path) -> None:
    try:
        os.rename(building, folder)
    except OSError:
        if not folder.is_dir():
            raise


def empty_folder(folder: Path) -> None:
    """Delete the files of a folder."""
    for path in folder.iterdir():
        path.unlink()
