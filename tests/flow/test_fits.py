"""Several fits at once: which wait for which, how many there are, and what is left when one of them or all end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ending_workers import Ends
from tracking_store import mlflow_store

from evenodd.flow.fit import seed_plans
from evenodd.flow.fit_variant import FittedRun
from evenodd.flow.plan import Plan
from evenodd.flow.schedule import fits
from evenodd.flow.schedule import places as at_once
from evenodd.settings import make_request


class TwoPlaces:
    """Places for two fits that end in the order in which a test says so; the first of `held` are held elsewhere."""

    def __init__(self, ends: list[str], broken: tuple[str, ...] = (), held: tuple[str, ...] = ()) -> None:
        self.ends, self.broken, self.held = ends, broken, list(held)
        self.running: dict[str, tuple[int, Plan]] = {}
        self.beside: list[set[str]] = []

    @property
    def is_free(self) -> bool:
        return len(self.running) < 2

    def start(self, number: int, plan: Plan, materials: Any, *, reuse: bool) -> None:
        self.running[name_of(plan)] = number, plan
        self.beside.append(set(self.running))

    def wait(self, seconds: float | None = None) -> tuple[int, FittedRun | str | at_once.Held]:
        name = next(name for name in (*self.held, *self.ends) if name in self.running)
        number, plan = self.running.pop(name)
        if name in self.held:
            self.held.remove(name)
            return number, at_once.Held()
        if name in self.broken:
            return number, "the training loss is nan"
        return number, FittedRun(f"run of {name}", "models:/x", "1", plan.variant.name, plan.settings.seed)


def name_of(plan: Plan) -> str:
    return f"{plan.variant.name} {plan.settings.seed}"


def plans_of(*names: str, seeds: int = 1) -> list[Plan]:
    """Plans of these variants, seed by seed."""
    by_name = [seed_plans(name, make_request({"seeds": str(seeds)})) for name in names]
    return [plan for seed in zip(*by_name, strict=True) for plan in seed]


def fitted(
    plans: list[Plan],
    places: TwoPlaces,
    monkeypatch: pytest.MonkeyPatch,
    find: Callable[[str], FittedRun | None] = lambda fingerprint: None,
) -> fits.Fits:
    """What comes of the plans in such a pool; by default nothing was fitted by others."""
    materials: Any = SimpleNamespace(corpus=SimpleNamespace(digest="rows"), encoder_digest="files", encoder="files")
    materials.under = lambda settings: materials
    monkeypatch.setattr(fits, "find_fitted", find)
    board = fits.Board(plans, materials)
    progress = fits.Progress(len(board.plans))
    while board.open:
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
    def recorded(jobs: int, cluster: str | None = None) -> Iterator[TwoPlaces]:
        opened.append(jobs)
        places = TwoPlaces(["teacher 0", "odd 0", "even 0"])
        yield places
        assert places.beside == ([{"teacher 0"}] if jobs == 1 else [{"odd 0"}, {"odd 0", "even 0"}])

    monkeypatch.setattr(fits, "open_places", recorded)
    monkeypatch.setattr(fits, "fits_at_once", lambda asked, count, cluster: 2)
    monkeypatch.setattr(fits, "measure_latencies", lambda runs: None)
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


class Elsewhere:
    """Another host, which holds the lease of a fit for so many looks and may finish it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, looks: int, *, finishes: bool) -> None:
        self.looks, self.finishes, self.slept = looks, finishes, 0
        self.run = FittedRun("run of another host", "models:/x", "1", "teacher", 0)
        monkeypatch.setattr(fits.tracking, "is_held", self.is_held)
        monkeypatch.setattr(fits.time, "sleep", self.sleep)

    def is_held(self, key: str, heard: Any) -> bool:
        self.looks -= 1
        return self.looks >= 0

    def sleep(self, seconds: float) -> None:
        self.slept += 1

    def find(self, fingerprint: str) -> FittedRun | None:
        return self.run if self.looks < 0 and self.finishes else None


def test_a_fit_that_another_host_makes_is_left_to_it_while_others_are_open(monkeypatch):
    """A host that waits in the order of the plans idles beside fits that nobody makes; one that does not makes it
    twice."""
    places = TwoPlaces(["lora 0", "lora 1", "odd 0", "odd 1"], held=("teacher 0",))
    other = Elsewhere(monkeypatch, 2, finishes=True)
    plans = plans_of("teacher", "odd", "lora", seeds=2)
    plans = [plan for plan in plans if name_of(plan) != "teacher 1"]
    found = fitted(plans, places, monkeypatch, other.find)
    assert places.beside[:3] == [{"teacher 0"}, {"teacher 0", "lora 0"}, {"lora 0", "lora 1"}]
    assert places.beside[3:] == [{"odd 0"}, {"odd 0", "odd 1"}]
    assert found.runs[0].run_id == "run of another host"
    assert len(found.runs) == 5
    assert not other.slept


def test_a_host_waits_only_where_nothing_else_is_left(monkeypatch):
    """It would ask the store without a pause, or end without the student."""
    places = TwoPlaces(["odd 0"], held=("teacher 0",))
    other = Elsewhere(monkeypatch, 4, finishes=True)
    found = fitted(plans_of("teacher", "odd"), places, monkeypatch, other.find)
    assert places.beside == [{"teacher 0"}, {"odd 0"}]
    assert other.slept == 4
    assert [run.variant for run in found.runs] == ["teacher", "odd"]


def test_a_fit_that_another_host_gives_up_is_made_here(monkeypatch):
    """The study would wait for a host that is gone, or leave the variant out."""
    places = TwoPlaces(["teacher 0", "odd 0"], held=("teacher 0",))
    found = fitted(plans_of("teacher", "odd"), places, monkeypatch, Elsewhere(monkeypatch, 3, finishes=False).find)
    assert places.beside == [{"teacher 0"}, {"teacher 0"}, {"odd 0"}]
    assert [run.run_id for run in found.runs] == ["run of teacher 0", "run of odd 0"]


def test_as_many_fits_as_there_are_threads_or_gpus(monkeypatch):
    """More fits than cores slow each other down; fewer leave cores idle."""
    monkeypatch.setattr(at_once, "best_device", lambda: "cpu")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert at_once.fits_at_once(None, 4) == 3
    assert at_once.fits_at_once(None, 2) == 2
    assert at_once.fits_at_once(7, 4) == 4
    with monkeypatch.context() as under_torchrun:
        under_torchrun.setattr(at_once, "rank_and_world", lambda: (0, 2))
        assert at_once.fits_at_once(None, 4) == at_once.fits_at_once(2, 4) == 1
        with pytest.raises(ValueError, match="engine=auto: the processes of torchrun share each fit"):
            at_once.fits_at_once(None, 4, "auto")
    monkeypatch.setattr(at_once, "best_device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert at_once.fits_at_once(None, 4) == 2


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A tracking store that nothing is written to, and an empty folder; workers find the tests' modules."""
    pytest.importorskip("ray", reason="ray is not installed: make install")
    path = (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(part for part in path if part))
    marks = tmp_path / "marks"
    marks.mkdir()
    with mlflow_store(f"sqlite:///{tmp_path}/mlflow.db"):
        yield marks


@pytest.mark.slow
def test_a_fit_whose_worker_is_killed_is_tried_again_and_others_go_on(store):
    """A machine out of memory kills one process; the others' hours of work would go with it."""
    from evenodd.flow.schedule.cluster import RETRIES, RayTasks

    (plan,) = plans_of("lora")
    killed: Any = Ends("killed", store)
    with RayTasks(2) as tasks:
        tasks.start(4, plan, killed, reuse=False)
        ended = tasks.wait()
        assert ended is not None
        number, outcome = ended
        assert number == 4
        assert "its worker was lost 3 times" in str(outcome)
        assert len(list(store.iterdir())) == RETRIES + 1
        assert tasks.is_free


@pytest.mark.slow
def test_an_unforeseen_error_ends_the_command(store):
    """Told as a fault of one fit, a bug would look like bad luck."""
    from evenodd.flow.schedule.cluster import RayTasks

    (plan,) = plans_of("lora")
    broken: Any = Ends("broken", store)
    with RayTasks(1) as tasks:
        tasks.start(0, plan, broken, reuse=False)
        with pytest.raises(RuntimeError, match="lora 0: an unexpected error"):
            tasks.wait()
