"""The folder with the metrics of one service's workers; of dead workers only the counts are kept.

BentoML's own folder is unsuitable: it is in BentoML's home, where every service that starts empties it, and the last
gauges of dead workers stay in it for ever.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
NAME = re.compile(r"evenodd-metrics-(\d+)-(\d+)$")
FILE = re.compile(r"(counter|histogram|gauge_\w+)_(\d+)\.db$")
OF_THE_DEAD = 0


def make_folder() -> Path:
    """Creates a folder for the workers of this process, and removes those of ended services."""
    for path in Path(tempfile.gettempdir()).glob(f"evenodd-metrics-{os.getuid()}-*"):
        named = NAME.search(path.name)
        if named and (int(named[2]) == os.getpid() or not _alive(int(named[2]))):
            shutil.rmtree(path, ignore_errors=True)
    folder = _folder_of(os.getpid())
    folder.mkdir(mode=0o700)
    return folder


def remove_folder() -> None:
    """Removes the folder after the workers have ended."""
    shutil.rmtree(_folder_of(os.getpid()), ignore_errors=True)


def use_folder() -> None:
    """Makes this worker write to its parent's folder, and merges the files of dead workers."""
    folder = _folder_of(os.getppid())
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise RuntimeError(f"{folder} belongs to another user: remove it, or set TMPDIR to a folder of your own.")
    os.environ[VARIABLE] = str(folder)
    sum_up_the_dead(folder)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks the folder against merging and reading by other workers."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sum_up_the_dead(folder: Path) -> None:
    """Merges the counts of dead workers into one file, and drops their gauges."""
    with locked(folder):
        for path in sorted(folder.glob("*.db")):
            named = FILE.search(path.name)
            if named is None or int(named[2]) == OF_THE_DEAD or _alive(int(named[2])):
                continue
            if not named[1].startswith("gauge"):
                _add(path, folder / f"{named[1]}_{OF_THE_DEAD}.db")
            path.unlink(missing_ok=True)


def _add(source: Path, target: Path) -> None:
    from prometheus_client.mmap_dict import MmapedDict

    kept = MmapedDict(str(target))
    for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(str(source)):
        kept.write_value(key, kept.read_value(key)[0] + value, timestamp)
    kept.close()


def _folder_of(parent: int) -> Path:
    return Path(tempfile.gettempdir()) / f"evenodd-metrics-{os.getuid()}-{parent}"


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(process)


def _is_zombie(process: int) -> bool:
    """Whether the process has ended but its parent has not waited for it."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].startswith("Z")
    return False
