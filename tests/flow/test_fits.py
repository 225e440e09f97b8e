"""Several fits at once: which wait for which, how many there are, and what is left when one of them or all end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from tracking_store import mlflow_store

from evenodd.flow.fit import seed_plans
from evenodd.flow.fit_variant import FittedRun
from evenodd.flow.plan import Plan
from evenodd.flow.schedule import fits, pool, room
from evenodd.settings import make_request


class TwoPlaces:
    """A pool for two fits that end in the order in which a test says so."""

    def __init__(self, ends: list[str], broken: tuple[str, ...] = ()) -> None:
        self.ends, self.broken = ends, broken
        self.running: dict[str, tuple[int, Plan]] = {}
        self.beside: list[set[str]] = []

    @property
    def has_room(self) -> bool:
        return len(self.running) < 2

    def start(self, number: int, plan: Plan, materials: Any) -> None:
        self.running[name_of(plan)] = number, plan
        self.beside.append(set(self.running))

    def wait(self) -> tuple[int, FittedRun | str]:
        name = next(name for name in self.ends if name in self.running)
        number, plan = self.running.pop(name)
        if name in self.broken:
            return number, "the training loss is nan"
        return number, FittedRun(f"run of {name}", "models:/x", "1", plan.variant.name, plan.settings.seed)


def name_of(plan: Plan) -> str:
    return f"{plan.variant.name} {plan.settings.seed}"


def plans_of(*names: str, seeds: int = 1) -> list[Plan]:
    """Plans of these variants, seed by seed."""
    by_name = [seed_plans(name, make_request({"seeds": str(seeds)})) for name in names]
    return [plan for seed in zip(*by_name, strict=True) for plan in seed]


def fitted(plans: list[Plan], places: TwoPlaces, monkeypatch: pytest.MonkeyPatch) -> fits.Fits:
    """What comes of the plans in such a pool; nothing was fitted before."""
    materials: Any = SimpleNamespace(corpus=SimpleNamespace(digest="rows"), encoder_digest="files", encoder="files")
    materials.under = lambda settings: materials
    monkeypatch.setattr(fits, "find_fitted", lambda fingerprint: None)
    board = fits.Board(plans, materials)
    progress = fits.Progress(len(board.plans))
    while board.waiting or board.running:
        fits._fit_next(board, places, progress)
    assert progress.done == progress.total
    return board.fits()


def test_students_wait_for_their_teacher_and_others_do_not(monkeypatch):
    """A student started beside its teacher would fit the teacher once more, or idle in a place that LoRA could have."""
    places = TwoPlaces(["teacher 0", "lora 0", "odd 0", "even 0"])
    found = fitted(plans_of("teacher", "odd", "even", "lora"), places, monkeypatch)
    assert places.beside == [{"teacher 0"}, {"teacher 0", "lora 0"}, {"lora 0", "odd 0"}, {"odd 0", "even 0"}]
    assert [run.variant for run in found.runs] == ["teacher", "odd", "even", "lora"]
    slow_teacher = TwoPlaces(["lora 0", "lora 1", "teacher 1", "teacher 0", "odd 0", "odd 1"])
    found = fitted(plans_of("teacher", "odd", "lora", seeds=2), slow_teacher, monkeypatch)
    assert slow_teacher.beside == [
        {"teacher 0"},
        {"teacher 0", "lora 0"},
        {"teacher 0", "teacher 1"},
        {"teacher 0", "lora 1"},
        {"odd 0"},
        {"odd 0", "odd 1"},
    ]
    assert [(run.variant, run.seed) for run in found.runs] == [
        (name, seed) for seed in (0, 1) for name in ("teacher", "odd", "lora")
    ]


def test_a_teacher_that_nobody_asked_for_is_fitted_first_and_once(monkeypatch):
    """Every place would wait for the one that makes it, and make it once more where it fails."""
    places = TwoPlaces(["teacher 0", "odd 0", "odd 1", "odd 2"])
    found = fitted(plans_of("odd", seeds=3), places, monkeypatch)
    assert places.beside == [{"teacher 0"}, {"odd 0"}, {"odd 0", "odd 1"}, {"odd 1", "odd 2"}]
    assert [(run.variant, run.seed) for run in found.runs] == [("odd", 0), ("odd", 1), ("odd", 2)]
    failing = TwoPlaces(["teacher 0"], broken=("teacher 0",))
    found = fitted(plans_of("odd", seeds=2), failing, monkeypatch)
    assert failing.beside == [{"teacher 0"}]
    assert found.faults["teacher", "seed 0"] == "the training loss is nan"
    assert found.faults["odd", "seed 1"] == "its teacher failed"


def test_what_all_others_need_gets_the_whole_machine(monkeypatch):
    """A teacher on one of two threads, with nothing beside it, would take half as long again."""
    opened: list[int] = []

    @contextmanager
    def recorded(jobs: int) -> Iterator[TwoPlaces]:
        opened.append(jobs)
        places = TwoPlaces(["teacher 0", "odd 0", "even 0"])
        yield places
        assert places.beside == ([{"teacher 0"}] if jobs == 1 else [{"odd 0"}, {"odd 0", "even 0"}])

    monkeypatch.setattr(fits, "open_pool", recorded)
    monkeypatch.setattr(fits, "fits_at_once", lambda asked, plans, encoder: 2)
    monkeypatch.setattr(fits, "find_fitted", lambda fingerprint: None)
    named: list[str] = []
    monkeypatch.setattr(fits.tracking, "set_alias", lambda model, alias, version: named.append(alias))
    materials: Any = SimpleNamespace(corpus=SimpleNamespace(digest="rows"), encoder_digest="files", encoder="files")
    materials.under = lambda settings: materials
    fits.fit_plans(plans_of("teacher", "odd", "even"), materials, fits.Progress(3))
    assert opened == [1, 2]
    assert named == ["teacher", "odd", "even"]


def test_students_are_not_started_when_their_teacher_failed(monkeypatch):
    """Each would fit the teacher anew, only to see it fail."""
    places = TwoPlaces(["lora 0", "teacher 0"], broken=("teacher 0",))
    found = fitted(plans_of("teacher", "odd", "even", "lora"), places, monkeypatch)
    assert places.beside == [{"teacher 0"}, {"teacher 0", "lora 0"}]
    assert [run.variant for run in found.runs] == ["lora"]
    assert found.faults == {
        ("teacher", "seed 0"): "the training loss is nan",
        ("odd", "seed 0"): "its teacher failed",
        ("even", "seed 0"): "its teacher failed",
    }


def test_as_many_fits_as_threads_and_memory_allow(tmp_path, monkeypatch):
    """Fits that do not fit in memory are killed one after another."""
    plans = plans_of("teacher", "odd", "even", "lora")
    (tmp_path / "model.safetensors").write_bytes(bytes(10**6))
    free = {"bytes": 1e12}
    monkeypatch.setattr(room.psutil, "virtual_memory", lambda: SimpleNamespace(available=free["bytes"]))
    monkeypatch.setattr(room, "best_device", lambda: "cpu")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert room.fits_at_once(None, plans, tmp_path) == 3
    assert room.fits_at_once(None, plans[:2], tmp_path) == 2
    assert room.fits_at_once(7, plans, tmp_path) == 4
    free["bytes"] = 2 * room.BASE_BYTES + 2 * room.BYTES_PER_WEIGHT_BYTE * 10**6
    assert room.fits_at_once(None, plans, tmp_path) == 2
    free["bytes"] = 1e8
    assert room.fits_at_once(None, plans, tmp_path) == 1
    assert room.fits_at_once(2, plans, tmp_path) == 2
    free["bytes"] = 1e12
    split = seed_plans("odd", make_request({"processes": "2", "seeds": "3"}))
    assert room.fits_at_once(None, split, tmp_path) == 1
    assert room.fits_at_once(2, split, tmp_path) == 1
    monkeypatch.setattr(room, "best_device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert room.fits_at_once(None, plans, tmp_path) == 2


def test_a_containers_limits_count(tmp_path, monkeypatch):
    """A container whose processes want more than it may have is killed, whatever the machine has left."""
    plans, weights = plans_of("teacher", "odd", "even", "lora"), tmp_path / "encoder"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(bytes(10**6))
    monkeypatch.setattr(room, "CGROUP", tmp_path)
    monkeypatch.setattr(room, "best_device", lambda: "cpu")
    monkeypatch.setattr(room.psutil, "virtual_memory", lambda: SimpleNamespace(available=1e12))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert room.fits_at_once(None, plans, weights) == 4
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert room.fits_at_once(None, plans, weights) == 4
    (tmp_path / "cpu.max").write_text("350000 100000\n")
    assert room.fits_at_once(None, plans, weights) == 3
    each = room.BASE_BYTES + room.BYTES_PER_WEIGHT_BYTE * 10**6
    (tmp_path / "memory.max").write_text(f"{int(10 * each)}\n")
    (tmp_path / "memory.current").write_text(f"{int(9 * each)}\n")
    assert room.fits_at_once(None, plans, weights) == 1
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {int(1.5 * each)}\n")
    assert room.fits_at_once(None, plans, weights) == 2


class Ends:
    """Materials whose arrival ends the process that they are sent to."""

    floors = data_report = None

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> Any:
        return _end, (self.how,)


def _end(how: str) -> None:
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise ArithmeticError("unforeseen")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[None]:
    """A tracking store that nothing is written to."""
    with mlflow_store(f"sqlite:///{tmp_path}/mlflow.db"):
        yield


@pytest.mark.slow
def test_a_process_that_is_killed_loses_its_fit_and_no_other(store):
    """A machine out of memory kills one process; the others' hours of work would go with it."""
    (plan,) = plans_of("lora")
    killed: Any = Ends("killed")
    with pool.Processes(2) as places:
        for number in (4, 5):
            places.start(number, plan, killed)
        assert not places.has_room
        told = dict(places.wait() for _ in range(2))
        assert places.has_room
        places.start(6, plan, killed)
        assert places.wait()[0] == 6
    assert set(told) == {4, 5}
    assert all("ended by SIGKILL: where memory ran out" in str(outcome) for outcome in told.values())


@pytest.mark.slow
def test_an_unforeseen_error_ends_the_command(store):
    """Told as a fault of one fit, a bug would look like bad luck."""
    (plan,) = plans_of("lora")
    broken: Any = Ends("broken")
    with pool.Processes(1) as places:
        places.start(0, plan, broken)
        with pytest.raises(RuntimeError, match="ended with exit code 1"):
            places.wait()


def test_others_are_suspended_while_one_measures():
    """A latency measured beside another fit would say which variant had the busier neighbour."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    ours, theirs = pool.multiprocessing.Pipe()
    place: Any = None
    this = pool._Worker(SimpleNamespace(pid=os.getpid()), ours, place, number=0)
    places = pool.Processes.__new__(pool.Processes)
    places.workers = [this, pool._Worker(other, ours, place, number=1)]
    seen: list[str] = []

    def measure() -> None:
        with pool._alone(theirs):
            end = time.monotonic() + 10
            while psutil.Process(other.pid).status() != psutil.STATUS_STOPPED and time.monotonic() < end:
                time.sleep(0.01)
            seen.append(psutil.Process(other.pid).status())

    try:
        thread = threading.Thread(target=measure)
        thread.start()
        assert ours.recv() == pool.QUIET
        places._suspend_others(this)
        thread.join()
        assert seen == [psutil.STATUS_STOPPED]
        assert psutil.Process(other.pid).status() != psutil.STATUS_STOPPED
    finally:
        other.kill()
