"""Following a registered model: its state, and the switch from one version to the next.

One process of the service (`registry.py`) polls the registry, downloads a version, opens it once to check its sample
answers, and only then writes it to a small state file. Every worker reads that file, opens the new version beside the
old one, and switches. So no worker imports MLflow, and a refused version reaches no worker.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .settings import Settings

logger = logging.getLogger(__name__)

# Variable in which the parent passes the folder to its workers.
FOLDER = "EVENODD_FOLLOWING"
STATE, LOCK, NUDGE = "state.json", "lock", "nudge"
WATCH_SECONDS, ALIVE_SECONDS, FIRST_SECONDS = 0.2, 5.0, 300.0


@dataclass(frozen=True)
class Refusal:
    """A refused version, and the reason.

    Attributes:
        version: number in the registry.
        reason: a sentence.
        at: seconds since 1970.
    """

    version: str
    reason: str
    at: float


@dataclass(frozen=True)
class State:
    """State of the followed model; times are seconds since 1970.

    Attributes:
        model: what is followed, such as `models:/reviews@champion`.
        version: version to serve; None: none was found yet.
        folder: of that bundle.
        choice: chosen graph, measured once for all workers; the fields of `Choice`.
        since: when the version was found.
        checked: when the registry last answered.
        error: why it did not answer, if so.
        refused: the last refused version.
        refusals: number of refused versions since the service started.
    """

    model: str
    version: str | None = None
    folder: str | None = None
    choice: dict[str, Any] | None = None
    since: float | None = None
    checked: float | None = None
    error: str | None = None
    refused: Refusal | None = None
    refusals: int = 0


def read_state(folder: Path) -> State | None:
    """The state that the follower last wrote; None before the first."""
    try:
        values = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    refused = values.pop("refused")
    return State(**values, refused=Refusal(**refused) if refused else None)


def write_state(folder: Path, state: State) -> None:
    """Replaces the file atomically."""
    written = folder / f"{STATE}.new"
    written.write_text(json.dumps(asdict(state)), encoding="utf-8")
    written.replace(folder / STATE)


def following_folder() -> Path | None:
    """The folder that the parent created, if a model is followed."""
    named = os.environ.get(FOLDER)
    return Path(named) if named else None


def begin(settings: Settings) -> State:
    """Creates the service's folder, and asks the registry for the first time.

    Raises:
        RuntimeError: the registry has no version that can be served; the follower has logged why.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"evenodd-following-{os.getuid()}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[FOLDER] = str(folder)
    subprocess.run([*_COMMAND, "--once"], check=False, timeout=FIRST_SECONDS)
    state = read_state(folder)
    if state is None:
        raise RuntimeError(f"EVENODD_MODEL={settings.model}: the registry could not be asked; the lines above say why.")
    return state


def about(served: State, folder: Path) -> dict[str, Any]:
    """The entry in `/info`.

    Args:
        served: the state whose version this worker serves.
        folder: folder of the newest state.
    """
    newest = read_state(folder) or served
    refused = newest.refused and asdict(newest.refused) | {"at": _time(newest.refused.at)}
    return {
        "model": newest.model,
        "version": served.version,
        "since": _time(served.since),
        "checked": _time(newest.checked),
        "error": newest.error,
        "refused": refused,
        "refusals": newest.refusals,
    }


def nudge(folder: Path) -> None:
    """Makes the follower ask the registry now."""
    (folder / NUDGE).touch()


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[bool]:
    """Whether this process is the service's only follower while the block runs."""
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


class Watcher:
    """A worker's thread: switches to each new version, and starts a follower if none is running.

    Args:
        folder: of the service.
        served: the state that the worker started with; its version is None if the bundle came from elsewhere.
        apply: opens a version and switches to it, or raises ValueError, RuntimeError or OSError.
        note: called with every new state.
    """

    def __init__(
        self, folder: Path, served: State, apply: Callable[[State], None], note: Callable[[State], None]
    ) -> None:
        self.served = served
        self._folder, self._apply, self._note = folder, apply, note
        self._seen: State | None = None
        self._tried = served.folder
        self._follower: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watcher", daemon=True)

    @property
    def ending(self) -> bool:
        """Whether the worker is stopping."""
        return self._ending.is_set()

    def start(self) -> None:
        """Starts watching."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread, and a follower that it started."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._follower is not None and self._follower.stdin is not None:
            self._follower.stdin.close()

    def _work(self) -> None:
        asked = -ALIVE_SECONDS
        while not self._ending.wait(WATCH_SECONDS):
            if time.monotonic() - asked >= ALIVE_SECONDS:
                asked = time.monotonic()
                self._keep_following()
            self._look()

    def _look(self) -> None:
        state = read_state(self._folder)
        if state is None or state == self._seen:
            return
        self._seen = state
        self._note(state)
        if state.folder is None or state.folder == self._tried:
            return
        self._tried = state.folder
        try:
            self._apply(state)
        except (ValueError, RuntimeError, OSError) as fault:
            newest = read_state(self._folder)
            overtaken = newest is not None and newest.folder != state.folder  # its folder may already be deleted
            if not (overtaken or self.ending):
                stays = self.served.version
                logger.error("version %s cannot be opened, version %s stays | %s", state.version, stays, fault)
        else:
            self.served = state

    def _keep_following(self) -> None:
        """A follower ends with the worker that started it, and another worker starts the next."""
        if self._follower is not None and self._follower.poll() is None:
            return
        with only_one(self._folder) as free:
            pass
        if free:
            self._follower = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, start_new_session=True)


def first_state(settings: Settings) -> State | None:
    """The state that a worker starts with; None if no model is followed."""
    folder = following_folder()
    if settings.model is None or folder is None:
        return None
    return read_state(folder) or State(settings.model)


def without_version(state: State) -> State:
    """The state of a worker that serves another bundle than the registry's."""
    return replace(state, version=None, folder=None, since=None, choice=None)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


_COMMAND = (sys.executable, "-m", "serving.registry")
