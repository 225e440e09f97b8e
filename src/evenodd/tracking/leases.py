"""Leases: which process works on what, visible to every client of the tracking store.

A lease is a registered model with the name `evenodd-lease-KEY-NUMBER`, which only one client can create. Its holder
changes a tag of it every few seconds. A client that sees no change for `SILENCE_SECONDS` takes the lease over: it
creates the next number, which only one of two clients can do, and deletes the previous one. The takeover is valid
only if the previous one still existed afterwards; otherwise another client has taken it over or its holder has
finished meanwhile. Clocks of different machines are never compared. If the holder ran on this kernel and in this PID
namespace, the end of its process is noticed at once.

Leases are in the registry because names are created atomically there. They are listed among the models while work is
in progress, each with a description; the next command deletes those of dead processes, see `sweep`.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from evenodd.tracking.store import is_missing

log = logging.getLogger(__name__)

OWNER_TAG, BEAT_TAG = "evenodd.owner", "evenodd.beat"
BEAT_SECONDS, SILENCE_SECONDS, POLL_SECONDS = 10.0, 60.0, 1.0
PREFIX = "evenodd-lease"


class LeaseLostError(RuntimeError):
    """Another process has taken over this process's work."""


class LeaseHeldError(RuntimeError):
    """Another process holds a lease that was not to be waited for."""


@dataclass
class Lease:
    """A lease that this process holds.

    Attributes:
        name: of the registered model.
        what: description of the work.
        waited: whether another process held it before.
        lost: whether another process has taken it over.
    """

    name: str
    what: str
    waited: bool = False
    lost: bool = False

    def beat(self) -> None:
        """Shows that the holder is alive; a lease of this name that another process has created is not this one."""
        client = MlflowClient()
        try:
            if client.get_registered_model(self.name).tags.get(OWNER_TAG) == owner():
                client.set_registered_model_tag(self.name, BEAT_TAG, next_beat())
            else:
                self.lost = True
        except MlflowException as error:
            self.lost = self.lost or is_missing(error)

    def release(self) -> None:
        """Deletes the lease, unless another process has it meanwhile; if the store is unreachable, it expires."""
        self.beat()
        if not self.lost:
            with suppress(MlflowException):
                MlflowClient().delete_registered_model(self.name)

    def check(self) -> None:
        """Raises an error if another process has taken over, because this one was silent too long.

        It is cheap, except after this process was stopped.

        Raises:
            LeaseLostError: another process has taken it over.
        """
        HEART.catch_up()
        if self.lost:
            raise LeaseLostError(
                f"{self.what}: another process has taken over, because this one sent no heartbeat for "
                f"{SILENCE_SECONDS:.0f} s. Run the same command again to use that process's result."
            )


@contextmanager
def lease(key: str, what: str, *, wait: bool = True) -> Iterator[Lease]:
    """Holds the lease of a key; waits while another process, on any host, holds it.

    Args:
        key: identifies the work, for example a fingerprint.
        what: description, for logs and the registry.
        wait: whether to wait for another holder.

    Raises:
        LeaseHeldError: another process holds it, and `wait` is not set.
    """
    client, watch, waited = MlflowClient(), Silence(), False
    while (name := _claim(client, _prefix(key), what, watch)) is None:
        if not wait:
            raise LeaseHeldError(f"{what}: another process is working on it.")
        if not waited:
            log.info("%s | another process is working on it: waiting", what)
        waited = True
        time.sleep(POLL_SECONDS)
    held = Lease(name, what, waited)
    try:
        with HEART.beating(held.beat):
            yield held
    finally:
        held.release()


def is_held(key: str, watch: Silence) -> bool:
    """Whether a process holds the lease of a key; a lease that has lapsed is deleted.

    Args:
        key: see `lease`.
        watch: what was heard of holders in earlier calls.
    """
    client, prefix = MlflowClient(), _prefix(key)
    records = _records(client, prefix)
    if not records:
        return False
    last = records[-1]
    if not watch.lapsed(last.name, last.owner, last.beat):
        return True
    if name := _claim(client, prefix, "cleaning up", watch):
        client.delete_registered_model(name)
    return False


@dataclass(frozen=True)
class _Record:
    """A lease in the registry."""

    name: str
    owner: str
    beat: str

    @property
    def number(self) -> int:
        """From 1, and one higher after each takeover."""
        return int(self.name.rpartition("-")[2])

    @property
    def prefix(self) -> str:
        """Common prefix of the names of one lease."""
        return self.name.removesuffix(str(self.number))


def sweep() -> None:
    """Deletes leases of dead processes; those of other hosts are watched, and deleted if they stay silent."""
    client, watch = MlflowClient(), Silence()
    if _sweep(client, watch):
        HEART.watch(lambda: _sweep(client, watch))


def _sweep(client: MlflowClient, watch: Silence) -> bool:
    """Whether other hosts hold leases; expired ones are claimed and released at once."""
    left = False
    with suppress(MlflowException):
        for record in _records(client, f"{PREFIX}-"):
            here = is_here(record.owner)
            if not (is_gone(record.owner) if here else watch.lapsed(record.name, record.owner, record.beat)):
                left = left or not here
            elif name := _claim(client, record.prefix, "cleaning up", watch):
                client.delete_registered_model(name)
    return left


def _claim(client: MlflowClient, prefix: str, what: str, watch: Silence) -> str | None:
    """Name of the lease if this process now holds it; None while another process holds it."""
    before = _records(client, prefix)
    last = before[-1] if before else None
    if last is not None and not watch.lapsed(last.name, last.owner, last.beat):
        return None
    name = f"{prefix}{last.number + 1 if last else 1}"
    try:
        client.create_registered_model(name, tags=mark(), description=described(what))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
            return None  # another process was faster, and may have ended since
        raise
    after = _records(client, prefix)
    if not after or after[-1].name != name or (last is not None and last not in after):
        client.delete_registered_model(name)
        return None
    for record in after[:-1]:
        log.info("%s | taken over from a dead process", what)
        with suppress(MlflowException):
            client.delete_registered_model(record.name)
    return name


def described(what: str) -> str:
    """Description of a lease in the registry."""
    return (
        f"Not a model: while this entry exists, a process on {socket.gethostname()} is {what}, and others wait for it. "
        "It is deleted when that process ends; if the process was killed, the next evenodd command deletes it."
    )


def _records(client: MlflowClient, prefix: str) -> list[_Record]:
    """The records of a lease, the newest last."""
    found = client.search_registered_models(f"name LIKE '{prefix}%'")
    records = [_Record(f.name, f.tags.get(OWNER_TAG, ""), f.tags.get(BEAT_TAG, "")) for f in found]
    return sorted(records, key=lambda record: record.number)


def _prefix(key: str) -> str:
    return f"{PREFIX}-{hashlib.sha256(key.encode()).hexdigest()[:20]}-"


@dataclass
class Silence:
    """Seconds since other owners' last heartbeat, counted only while this process was awake."""

    heard: dict[str, str] = field(default_factory=dict)
    quiet: dict[str, float] = field(default_factory=dict)
    looked: dict[str, float] = field(default_factory=dict)

    def lapsed(self, name: str, owner: str, beat: str) -> bool:
        """Whether an owner's process has ended, or was silent for `SILENCE_SECONDS`."""
        if is_gone(owner):
            return True
        now, said = time.monotonic(), f"{owner} {beat}"
        if self.heard.get(name) != said:
            self.heard[name], self.quiet[name] = said, 0.0
        else:
            self.quiet[name] += min(now - self.looked[name], 2 * BEAT_SECONDS)
        self.looked[name] = now
        return self.quiet[name] > SILENCE_SECONDS

    def forget(self, name: str) -> None:
        """Stops watching an owner."""
        for kept in (self.heard, self.quiet, self.looked):
            kept.pop(name, None)


class Heart:
    """A thread that shows every few seconds that this process is alive."""

    def __init__(self) -> None:
        self.beats: dict[int, Callable[[], object]] = {}
        self.numbers = itertools.count()
        self.thread: threading.Thread | None = None
        self.last, self.busy = 0.0, False

    @contextmanager
    def beating(self, beat: Callable[[], object]) -> Iterator[None]:
        """Calls a function every `BEAT_SECONDS`."""
        number = self._add(beat)
        try:
            yield
        finally:
            self.beats.pop(number, None)

    def watch(self, look: Callable[[], bool]) -> None:
        """Calls a function every `BEAT_SECONDS` until it returns false."""

        def beat() -> None:
            if not look():
                self.beats.pop(number, None)

        number = self._add(beat)

    def _add(self, beat: Callable[[], object]) -> int:
        number = next(self.numbers)
        self.beats[number] = beat
        if self.thread is None or not self.thread.is_alive():
            self.last, self.thread = _awake(), threading.Thread(target=self._run, name="heartbeat", daemon=True)
            self.thread.start()
        return number

    def catch_up(self) -> None:
        """Beats at once if the thread has not for long, because this process was stopped or the machine slept."""
        if self.beats and not self.busy and _awake() - self.last > SILENCE_SECONDS / 2:
            self._beat()

    def _run(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            self._beat()

    def _beat(self) -> None:
        self.busy = True
        try:
            for beat in list(self.beats.values()):
                beat()
        finally:
            self.last, self.busy = _awake(), False


HEART = Heart()


def _awake() -> float:
    """Seconds of a clock that also runs while the machine sleeps, if the system has one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


_beats = itertools.count(1)


def next_beat() -> str:
    """A value that this process has not used before."""
    return f"{next(_beats)} {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"


def mark() -> dict[str, str]:
    """Tags that mark the work of this process."""
    return {OWNER_TAG: owner(), BEAT_TAG: next_beat()}


def owner() -> str:
    """A unique name of this process: a random part, kernel, PID namespace, process id and start time."""
    return _owner(f"{_kernel()} {_namespace()} {os.getpid()} {_begin(os.getpid()) or 0}")


@cache
def _owner(place: str) -> str:
    return f"{uuid.uuid4().hex} {place}"


def is_here(name: str) -> bool:
    """Whether an owner's process is in this kernel and PID namespace, so that its end can be noticed."""
    return _place(name) is not None


def is_gone(name: str) -> bool:
    """Whether the process of an owner has certainly ended; false for other kernels and namespaces."""
    place = _place(name)
    return place is not None and _begin(place[0]) != place[1]


def _place(name: str) -> tuple[int, int] | None:
    """Id and start time of an owner's process, if they are valid here."""
    found = re.fullmatch(r"[0-9a-f]{32} (\S+) (\S+) (\d+) (\d+)", name)
    if found is None or "?" in found.groups() or found.groups()[:2] != (_kernel(), _namespace()):
        return None
    return int(found[3]), int(found[4])


def _kernel() -> str:
    """Boot id of this machine's kernel; `?` if unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "?"


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "?"


def _begin(pid: int) -> int | None:
    """Start time of a process in kernel ticks, which do not depend on the clock; None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
