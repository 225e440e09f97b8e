"""Leases: one holder at a time, on any host; what a dead one left is taken over, once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from evenodd.tracking import leases
from evenodd.tracking.leases import BEAT_TAG, OWNER_TAG, Silence, _claim, _prefix, _records, owner

ROOT = Path(__file__).parents[2]
ELSEWHERE = f"{'0' * 32} another-kernel pid:[1] 1 1"


def left(key: str, number: int = 1, process: str = ELSEWHERE) -> str:
    """A lease that another process holds."""
    tags = {OWNER_TAG: process, BEAT_TAG: "1"}
    return str(MlflowClient().create_registered_model(f"{_prefix(key)}{number}", tags=tags).name)


def names() -> list[str]:
    return [model.name for model in MlflowClient().search_registered_models()]


def lapse(monkeypatch: pytest.MonkeyPatch, watch: Silence, key: str) -> None:
    """Lets a watch that has not looked yet hear nothing of a lease for too long."""
    seconds = [0.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: seconds[0])
    while not all(watch.lapsed(r.name, r.owner, r.beat) for r in _records(MlflowClient(), _prefix(key))):
        seconds[0] += leases.POLL_SECONDS


def test_a_lease_goes_with_its_work(tracking: ModuleType) -> None:
    """Entries that stay behind would fill the page of models."""
    with pytest.raises(ValueError, match="broken"), tracking.lease("a key", "fitting odd") as held:  # noqa: PT012
        (found,) = MlflowClient().search_registered_models()
        assert found.name == held.name
        assert "is fitting odd, and others wait for it" in found.description
        assert not held.waited
        raise ValueError("broken")
    assert names() == []


HOLDER = """
import sys, time
from evenodd import tracking
with tracking.lease("a key", "fitting odd"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def hold(namespace: str = "") -> subprocess.Popen[str]:
    """Another process that holds the lease."""
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    code = HOLDER.replace("from evenodd import tracking", f"from evenodd import tracking\n{namespace}")
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.slow
def test_a_live_holder_is_waited_for_and_a_killed_one_is_not(tracking: ModuleType) -> None:
    """Two fits of one fingerprint would delete each other's checkpoints; a lock that stays would stop everybody."""
    with hold() as other:
        watch = Silence()
        assert _claim(MlflowClient(), _prefix("a key"), "fitting odd", watch) is None
        other.kill()
        other.wait()
        with tracking.lease("a key", "fitting odd") as held:
            assert held.name.endswith("-2")
            assert names() == [held.name]
    assert names() == []


@pytest.mark.slow
def test_a_live_holder_under_the_same_host_name_elsewhere_is_not_taken_for_dead(tracking: ModuleType) -> None:
    """Two containers with one host name: the process numbers of one mean nothing in the other."""
    patched = "from evenodd.tracking import leases\nleases._namespace = lambda: 'pid:[7]'"
    with hold(patched) as other:
        assert _claim(MlflowClient(), _prefix("a key"), "fitting odd", Silence()) is None
        assert other.stdin is not None
        other.stdin.write("\n")
        other.stdin.flush()
        with tracking.lease("a key", "fitting odd") as held:
            assert held.name.endswith("-1") or held.waited


def test_what_a_killed_process_left_goes_with_the_next_command(
    tracking: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may fit the same again, and an entry that is no model would stand among the models for good."""
    watched: list[Callable[[], bool]] = []
    monkeypatch.setattr(leases.HEART, "watch", watched.append)
    here = owner().split()
    gone = f"{'1' * 32} {here[1]} {here[2]} 4194304 1"
    left("ended", 2, gone)
    held = left("held", process=owner())
    elsewhere = left("elsewhere")
    tracking.configure("tests")
    assert sorted(names()) == sorted([held, elsewhere])
    seconds = [0.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: seconds[0])
    while watched[-1]():
        seconds[0] += leases.BEAT_SECONDS
    assert names() == [held]
    assert seconds[0] > leases.SILENCE_SECONDS


def test_silence_is_counted_while_the_watcher_is_awake(tracking: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that slept for ten minutes wakes up with every lease of its own as silent as a dead one's."""
    seconds, watch = [0.0], Silence()
    monkeypatch.setattr(leases.time, "monotonic", lambda: seconds[0])
    assert not watch.lapsed("a", ELSEWHERE, "1")
    seconds[0] += 600
    assert not watch.lapsed("a", ELSEWHERE, "1")
    seconds[0] += 5
    assert not watch.lapsed("a", ELSEWHERE, "2")
    for _ in range(int(leases.SILENCE_SECONDS) + 1):
        assert not watch.lapsed("a", ELSEWHERE, "2")
        seconds[0] += 1
    assert watch.lapsed("a", ELSEWHERE, "2")


def test_of_many_that_take_over_at_once_one_does(tracking: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that both hold a lease promote two champions, or write into one folder."""
    left("a key")
    watches = [Silence() for _ in range(6)]
    for watch in watches:
        lapse(monkeypatch, watch, "a key")
        monkeypatch.undo()
    start = threading.Barrier(len(watches))

    def claim(watch: Silence) -> str | None:
        start.wait()
        return _claim(MlflowClient(), _prefix("a key"), "fitting odd", watch)

    with ThreadPoolExecutor(len(watches)) as pool:
        won = [name for name in pool.map(claim, watches) if name]
    assert won == [f"{_prefix('a key')}2"]
    assert names() == won


def test_one_who_was_slow_does_not_take_over_what_was_taken_and_finished(
    tracking: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look and its claim the lease may lapse, be taken over, be given back and be taken anew."""
    left("a key", 3)
    watch, client = Silence(), MlflowClient()
    lapse(monkeypatch, watch, "a key")
    monkeypatch.undo()
    read, first = leases._records, []

    def slow(client: MlflowClient, prefix: str) -> list[leases._Record]:
        found = read(client, prefix)
        if not first:
            first.append(True)
            client.delete_registered_model(f"{prefix}3")
            left("a key", 1)
        return found

    monkeypatch.setattr(leases, "_records", slow)
    assert _claim(client, _prefix("a key"), "fitting odd", watch) is None
    assert names() == [f"{_prefix('a key')}1"]


def test_a_holder_that_was_stopped_learns_that_it_lost(tracking: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Woken after ten minutes, it would register a second version of what another has fitted meanwhile."""
    seconds = [0.0]
    monkeypatch.setattr(leases, "_awake", lambda: seconds[0])
    monkeypatch.setattr(leases, "HEART", leases.Heart())
    with tracking.lease("a key", "fitting odd") as held:
        held.check()
        MlflowClient().delete_registered_model(held.name)
        other = left("a key", 2)
        held.check()
        seconds[0] += 600
        with pytest.raises(tracking.LeaseLostError, match=r"fitting odd: another process has taken over.*60 s"):
            held.check()
    assert names() == [other]


def test_a_name_that_another_created_anew_is_not_the_lease_that_was_lost(
    tracking: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted as lapsed and created again by another, it has the same name: two would go on, each with a heartbeat."""
    monkeypatch.setattr(leases, "HEART", leases.Heart())
    with tracking.lease("a key", "fitting odd") as held:
        MlflowClient().delete_registered_model(held.name)
        other = left("a key")
        assert other == held.name
        held.beat()
        assert held.lost
    assert names() == [other]
    assert MlflowClient().get_registered_model(other).tags[BEAT_TAG] == "1"


def test_a_holder_that_lost_its_lease_unnoticed_does_not_delete_the_one_created_anew(tracking: ModuleType) -> None:
    """Stopped in its last step, it would end by opening the work of another process to a third."""
    with tracking.lease("a key", "fitting odd") as held:
        MlflowClient().delete_registered_model(held.name)
        other = left("a key")
        assert other == held.name
        assert not held.lost
    assert names() == [other]


def test_a_lease_that_is_held_is_refused_at_once_where_it_is_not_to_be_waited_for(
    tracking: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that waits in the middle of its plans idles beside fits that nobody makes."""
    watch = Silence()
    assert not tracking.is_held("a key", watch)
    left("a key")
    refused = pytest.raises(tracking.LeaseHeldError, match="fitting odd: another process is working on it")
    with refused, tracking.lease("a key", "fitting odd", wait=False):
        pass
    assert tracking.is_held("a key", watch)
    watch = Silence()
    lapse(monkeypatch, watch, "a key")
    assert not tracking.is_held("a key", watch)
    assert names() == []
    with tracking.lease("a key", "fitting odd", wait=False) as held:
        assert tracking.is_held("a key", Silence())
        assert not held.waited


def test_a_store_that_is_away_takes_nobody_s_lease(tracking: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit of hours would end because the server was restarted."""

    def away(*about: object) -> None:
        raise MlflowException("API request to http://store failed with exception refused")

    with tracking.lease("a key", "fitting odd") as held:
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, "set_registered_model_tag", away)
            held.beat()
        held.check()
        before = MlflowClient().get_registered_model(held.name).tags[BEAT_TAG]
        held.beat()
        assert MlflowClient().get_registered_model(held.name).tags[BEAT_TAG] != before
    assert owner() == owner()
