"""Leases: who works on what, seen by every client of the tracking store.

A lease is a registered model whose name, `evenodd-lease-KEY-NUMBER`, only one client can create. Its holder changes a
tag of it every few seconds. Who hears nothing for `SILENCE_SECONDS` takes the lease over by creating the next number
and deleting the one before: of two, one creates it. A claim counts only if its predecessor was still there afterwards,
so that one who was slow cannot take over what was taken over and finished, or woke up, in the meantime. Nobody's clock
is compared with another's. A holder on this kernel and in this PID namespace whose process has ended is known to be
gone at once.

The registry is where they are because it is where only one of two clients can create a name. They show among its models
while work goes on, each with a description; what a process left behind goes with the next command, see `sweep`.
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
    """Another process has taken over what this one was at."""


@dataclass
class Lease:
    """What this process holds.

    Attributes:
        name: of the registered model.
        what: in words.
        waited: whether another process held it before.
        lost: whether another process has taken it over.
    """

    name: str
    what: str
    waited: bool = False
    lost: bool = False

    def beat(self) -> None:
        """Shows that the holder is there."""
        try:
            MlflowClient().set_registered_model_tag(self.name, BEAT_TAG, next_beat())
        except MlflowException as error:
            self.lost = self.lost or is_missing(error)

    def check(self) -> None:
        """Ends the work of a process that was silent for so long that another one does it now.

        It costs nothing, except after this process was stopped.

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
def lease(key: str, what: str) -> Iterator[Lease]:
    """Holds the lease of a key; waits while another process, on whatever host, holds it.

    Args:
        key: what is worked on, e.g. a fingerprint.
        what: the same in words, for logs and for whoever sees the lease in the registry.
    """
    client, watch, waited = MlflowClient(), Silence(), False
    while (name := _claim(client, _prefix(key), what, watch)) is None:
        if not waited:
            log.info("%s | another process is working on it: waiting", what)
        waited = True
        time.sleep(POLL_SECONDS)
    held = Lease(name, what, waited)
    try:
        with HEART.beating(held.beat):
            yield held
    finally:
        if not held.lost:
            with suppress(MlflowException):  # where the store is away, it lapses
                client.delete_registered_model(name)


@dataclass(frozen=True)
class _Record:
    """A lease as the registry has it."""

    name: str
    owner: str
    beat: str

    @property
    def number(self) -> int:
        """From 1; a higher one was taken over from a lower one."""
        return int(self.name.rpartition("-")[2])

    @property
    def prefix(self) -> str:
        """What the names of one lease begin with."""
        return self.name.removesuffix(str(self.number))


def sweep() -> None:
    """Takes away what processes left that are gone; of those elsewhere, while this one goes on, what falls silent."""
    client, watch = MlflowClient(), Silence()
    if _sweep(client, watch):
        HEART.watch(lambda: _sweep(client, watch))


def _sweep(client: MlflowClient, watch: Silence) -> bool:
    """Whether there are leases of processes elsewhere; those that have lapsed are claimed, and given back at once."""
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
    """Name of the lease if it is ours now; None while another process holds it."""
    before = _records(client, prefix)
    last = before[-1] if before else None
    if last is not None and not watch.lapsed(last.name, last.owner, last.beat):
        return None
    name = f"{prefix}{last.number + 1 if last else 1}"
    try:
        client.create_registered_model(name, tags=mark(), description=described(what))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
            return None  # another process was first, and may have ended since
        raise
    after = _records(client, prefix)
    if not after or after[-1].name != name or (last is not None and last not in after):
        client.delete_registered_model(name)
        return None
    for record in after[:-1]:
        log.info("%s | taken over from a process that is gone", what)
        with suppress(MlflowException):
            client.delete_registered_model(record.name)
    return name


def described(what: str) -> str:
    """What the registry's page says of a lease."""
    return (
        f"No model: while this entry is here, a process of {socket.gethostname()} is {what}, and others wait for it. "
        "It goes when that one ends; one that was killed leaves it to the next evenodd command."
    )


def _records(client: MlflowClient, prefix: str) -> list[_Record]:
    """What there is of a lease, the newest last."""
    found = client.search_registered_models(f"name LIKE '{prefix}%'")
    records = [_Record(f.name, f.tags.get(OWNER_TAG, ""), f.tags.get(BEAT_TAG, "")) for f in found]
    return sorted(records, key=lambda record: record.number)


def _prefix(key: str) -> str:
    return f"{PREFIX}-{hashlib.sha256(key.encode()).hexdigest()[:20]}-"


@dataclass
class Silence:
    """How long nothing has been heard of others, counted while this process was awake itself."""

    heard: dict[str, str] = field(default_factory=dict)
    quiet: dict[str, float] = field(default_factory=dict)
    looked: dict[str, float] = field(default_factory=dict)

    def lapsed(self, name: str, owner: str, beat: str) -> bool:
        """Whether an owner's process has ended, or was not heard of for `SILENCE_SECONDS`."""
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
        """Listens to it no more."""
        for kept in (self.heard, self.quiet, self.looked):
            kept.pop(name, None)


class Heart:
    """A thread that shows every few seconds that this process is there."""

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
        """Calls a function every `BEAT_SECONDS` for as long as it says that there is more to see."""

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
        """Beats at once where the thread has not for long: this process was stopped, or the machine asleep."""
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
    """Seconds that go on while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


_beats = itertools.count(1)


def next_beat() -> str:
    """A value that this process has not shown before."""
    return f"{next(_beats)} {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"


def mark() -> dict[str, str]:
    """Tags of what this process works on."""
    return {OWNER_TAG: owner(), BEAT_TAG: next_beat()}


def owner() -> str:
    """A name of this process that no other has: random, then kernel, PID namespace, number and begin of the process."""
    return _owner(f"{_kernel()} {_namespace()} {os.getpid()} {_begin(os.getpid()) or 0}")


@cache
def _owner(place: str) -> str:
    return f"{uuid.uuid4().hex} {place}"


def is_here(name: str) -> bool:
    """Whether an owner's process is one of this kernel and PID namespace, of which it is known when they end."""
    return _place(name) is not None


def is_gone(name: str) -> bool:
    """Whether the process of an owner has ended for sure; of other kernels and namespaces nothing is known."""
    place = _place(name)
    return place is not None and _begin(place[0]) != place[1]


def _place(name: str) -> tuple[int, int] | None:
    """Number and begin of an owner's process, where both mean something here."""
    found = re.fullmatch(r"[0-9a-f]{32} (\S+) (\S+) (\d+) (\d+)", name)
    if found is None or "?" in found.groups() or found.groups()[:2] != (_kernel(), _namespace()):
        return None
    return int(found[3]), int(found[4])


def _kernel() -> str:
    """This start of this machine's kernel; `?` where it has no name."""
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
    """When a process began, in ticks of the kernel, which no clock moves; None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
