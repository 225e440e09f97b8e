"""Sealed folders: written atomically, sealed with the digests of their files, and read only if the digests match."""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

FORMAT = 3
"""Version of all caches of this package: a new number invalidates old folders."""

SEAL = "sealed.json"
"""The file that completes a folder: description of the content, SHA-256 and size of every other file."""

_known: dict[tuple[int, int, int, int], str] = {}


class DamagedError(RuntimeError):
    """Content that differs from what was written."""


def digest_of(value: Any) -> str:
    """SHA-256 of plain values, as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read once per process as long as size, time and inode do not change (about .5 GB/s)."""
    stat = path.stat()
    key = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    if key not in _known:
        with path.open("rb") as file:
            _known[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _known[key]


def digests(folder: Path, without: Collection[str] = (SEAL,)) -> dict[str, str]:
    """SHA-256 of every file below a folder, by relative POSIX path."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: file_digest(path) for name, path in files.items() if name not in without}


def check_digests(folder: Path, expected: Mapping[str, str]) -> None:
    """Compares the named files with their digests; other files are ignored.

    Raises:
        DamagedError: a file is missing or changed; the message names the first one.
    """
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            raise DamagedError(f"{path} is missing.")
        found = file_digest(path)
        if found != digest:
            raise DamagedError(f"{path} is damaged: SHA-256 {found[:12]}… instead of {digest[:12]}….")


def seal(folder: Path, about: Mapping[str, Any] | None = None, *, without: Collection[str] = ()) -> None:
    """Marks a folder as complete.

    Args:
        folder: complete folder.
        about: plain values that are stored in the seal as JSON.
        without: files that are not part of the content.
    """
    content = {"files": digests(folder, {SEAL, *without}), "about": dict(about or {})}
    write_whole(folder / SEAL, json.dumps({"sha256": digest_of(content), **content}, ensure_ascii=False))


def read_seal(folder: Path) -> dict[str, Any]:
    """Checks a folder's files and returns the values that were given to `seal`.

    Raises:
        DamagedError: the folder is incomplete, or a file or the seal was changed.
    """
    try:
        stored = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        content = {"files": dict(stored["files"]), "about": dict(stored["about"])}
        whole = stored["sha256"] == digest_of(content)
    except FileNotFoundError:
        raise DamagedError(f"{folder} is incomplete: it has no {SEAL}.") from None
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise DamagedError(f"{folder / SEAL} is damaged.")
    check_digests(folder, content["files"])
    return content["about"]


def sound(folder: Path) -> bool:
    """Whether a sealed folder exists and its digests match. A damaged folder is reported and deleted."""
    if not folder.exists():
        return False
    try:
        read_seal(folder)
    except DamagedError as fault:
        log.warning("%s It is rebuilt.", fault)
        discard(folder)
        return False
    return True


def discard(folder: Path) -> None:
    """Deletes a folder; its name is free at once, even while others still read its files."""
    dropped = _beside(folder)
    try:
        os.rename(folder, dropped)
    except FileNotFoundError:
        return  # another process was first
    shutil.rmtree(dropped, ignore_errors=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that is sealed and renamed to `folder` if the block succeeds.

    If another process was first, its folder is kept and ours is dropped. An empty folder is not renamed.
    """
    with unsealed_folder(folder) as building:
        yield building
        if any(building.iterdir()):
            seal(building)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Held by one process of this host at a time; the others wait, and find the folder when they get it.

    The system releases it when a process ends. Hosts that share the folder may each do the work: the first keeps it.
    """
    locks = folder.parent / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / folder.name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s | another process is working on it: waiting", folder.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def unsealed_folder(folder: Path) -> Iterator[Path]:
    """As `new_folder`, for content that is sealed by the caller."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = _beside(folder)
    building.mkdir()
    try:
        yield building
        if any(building.iterdir()):
            _take_name(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def write_whole(path: Path, text: str) -> None:
    """Writes a text file atomically: it has the old content or the new one, never a part."""
    partial = _beside(path)
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A unique hidden name in the same folder."""
    return path.with_name(f".{path.name}-{uuid.uuid4().hex[:12]}")


def _take_name(building: Path, folder: Path) -> None:
    try:
        os.rename(building, folder)
    except OSError:
        if not folder.is_dir():
            raise


def empty_folder(folder: Path) -> None:
    """Deletes the files of a folder."""
    for path in folder.iterdir():
        path.unlink()


def replace_folder(new: Path, folder: Path) -> None:
    """Renames `new` to `folder`. An existing folder is called `new` afterwards.

    If the system can exchange two names, a complete folder exists at every moment; otherwise the old one is moved
    aside first.

    Raises:
        OSError: neither can be renamed.
    """
    if not folder.exists():
        os.rename(new, folder)
    elif not _exchange(new, folder):
        aside = new.with_name(f".{new.name}-{uuid.uuid4().hex[:12]}")
        os.rename(folder, aside)
        os.rename(new, folder)
        os.rename(aside, new)


def _exchange(first: Path, second: Path) -> bool:
    """Exchanges two names atomically; returns False if the system or the file system cannot."""
    if os.name != "posix":
        return False
    libc = ctypes.CDLL(None)
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of Linux and RENAME_SWAP of macOS
    names = os.fsencode(first), os.fsencode(second)
    if hasattr(libc, "renameat2"):
        return bool(libc.renameat2(here, names[0], here, names[1], swap) == 0)
    if hasattr(libc, "renamex_np"):
        return bool(libc.renamex_np(*names, swap) == 0)
    return False
