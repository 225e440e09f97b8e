"""A folder that several processes fill part by part, and that appears under its name only when it is complete.

Finished parts survive an interruption: the next call resumes with the remaining parts.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from evenodd.storage import seal, unsealed_folder

MARKS = "parts"
STALE_SECONDS = 2 * 24 * 3600


class Parts:
    """A file with one byte per part, 1 if it is filled; a process locks the byte of the part that it fills.

    The system releases the locks of a process that ends, so nothing waits for a killed process.
    """

    def __init__(self, file: Path, count: int) -> None:
        self.file, self.count = os.open(file, os.O_RDWR), count

    def close(self) -> None:
        """Releases all locks."""
        os.close(self.file)

    @property
    def whole(self) -> bool:
        """Whether every part is filled."""
        return os.pread(self.file, self.count, 0) == b"\1" * self.count

    @contextmanager
    def claim(self, part: int, *, wait: bool) -> Iterator[bool]:
        """Whether this process has to fill the part; leaving the context without an error marks it as filled.

        Args:
            part: index, from 0.
            wait: wait for a process that fills the part, and take over if it fails; otherwise the part is skipped.
        """
        import fcntl

        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, part)
        except BlockingIOError:
            yield False
            return
        try:
            left = os.pread(self.file, 1, part) == b"\0"
            yield left
            if left:
                os.pwrite(self.file, b"\1", part)
        finally:
            fcntl.lockf(self.file, fcntl.LOCK_UN, 1, part)


def fill_together(folder: Path, count: int, begin: Callable[[Path], None], fill: Callable[[Path, Parts], None]) -> None:
    """Builds a folder, together with all processes of this machine that build the same one at the time.

    It does not resume work with another number of parts, of another machine or from before a reboot: marks and content
    reach the disk in no fixed order, and other machines see them late. Such leftovers are removed after two days.

    Args:
        folder: final name of the folder, which it gets when every part is filled.
        count: number of parts.
        begin: creates the empty files in the folder that it is given.
        fill: fills each part that it can claim in that folder, and returns when all are filled.
    """
    building = folder.with_name(f".{folder.name}-{count}-{_this_start()}")
    _remove_stale(folder.parent)
    while not folder.is_dir():
        if not building.is_dir():
            with unsealed_folder(building) as empty:
                begin(empty)
                (empty / MARKS).write_bytes(bytes(count))
        try:
            parts = Parts(building / MARKS, count)
        except FileNotFoundError:
            continue  # another process has just finished it
        try:
            if not folder.is_dir():
                fill(building, parts)
                if parts.whole and _is_there(building, parts):
                    seal(building, without=(MARKS,))
                    os.rename(building, folder)
                    (folder / MARKS).unlink(missing_ok=True)
        except OSError:
            if _is_there(building, parts) and not folder.is_dir():
                raise
        finally:
            parts.close()
    shutil.rmtree(building, ignore_errors=True)


def _is_there(building: Path, parts: Parts) -> bool:
    """Whether the filled folder still has the name that it was started under."""
    try:
        return os.stat(building / MARKS).st_ino == os.fstat(parts.file).st_ino
    except FileNotFoundError:
        return False


def _this_start() -> str:
    """Identifies the current boot of this machine."""
    source = Path("/proc/sys/kernel/random/boot_id")
    said = source.read_text() if source.exists() else f"{socket.gethostname()} {psutil.boot_time():.0f}"
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _remove_stale(cache: Path) -> None:
    for marks in cache.glob(f".*/{MARKS}"):
        with suppress(FileNotFoundError):
            if time.time() - marks.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(marks.parent, ignore_errors=True)
