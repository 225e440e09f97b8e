"""A folder that several processes fill together, each part by one of them, and that appears there whole or not at all.

What is filled so far outlives an interruption: the next call goes on with the parts that are left.
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
    """A byte for each part, 1 where it is filled; a process holds a lock on the byte of the part that it fills.

    The system takes a lock back from a process that ends, so nothing waits for one that was killed.
    """

    def __init__(self, file: Path, count: int) -> None:
        self.file, self.count = os.open(file, os.O_RDWR), count

    def close(self) -> None:
        """Lets all locks go."""
        os.close(self.file)

    @property
    def whole(self) -> bool:
        """Whether every part is filled."""
        return os.pread(self.file, self.count, 0) == b"\1" * self.count

    @contextmanager
    def claim(self, part: int, *, wait: bool) -> Iterator[bool]:
        """Whether the part is to be filled here; left without an error, it counts as filled.

        Args:
            part: from 0.
            wait: for a process that is at it, to take over what it does not finish; else the part is passed over.
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
    """Makes a folder, together with all processes of this machine that make the same one at the time.

    What was begun under another division into parts, by another machine or before this one was started is not gone on
    from: marks and content reach the disk in no order, and other machines see them late. After two days it is removed.

    Args:
        folder: takes its name when every part is filled.
        count: of parts.
        begin: makes the empty files in the folder that it is given.
        fill: fills there each part that it can claim, and ends when all are filled.
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
    """Whether the folder that was filled still has the name that it was begun under."""
    try:
        return os.stat(building / MARKS).st_ino == os.fstat(parts.file).st_ino
    except FileNotFoundError:
        return False


def _this_start() -> str:
    """A name of this start of this machine."""
    source = Path("/proc/sys/kernel/random/boot_id")
    said = source.read_text() if source.exists() else f"{socket.gethostname()} {psutil.boot_time():.0f}"
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _remove_stale(cache: Path) -> None:
    for marks in cache.glob(f".*/{MARKS}"):
        with suppress(FileNotFoundError):
            if time.time() - marks.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(marks.parent, ignore_errors=True)
