"""Trials of one study in several workers at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_study import GIVEN, study_copy

from evenodd.flow import fit
from evenodd.flow.schedule import trials
from evenodd.flow.schedule.cluster import Lost
from evenodd.settings import make_request, resolve_settings


@pytest.fixture
def study(small_study: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the small study, to work in."""
    with study_copy(small_study, tmp_path / "study") as folder:
        yield folder


@pytest.mark.slow
def test_two_workers_share_the_trials_of_a_study(study: Path) -> None:
    """A cluster of forty cores ran one trial after another; two workers that do not share run each trial twice."""
    pytest.importorskip("ray", reason="ray is not installed: make install")
    from evenodd import tracking

    asked = make_request({**GIVEN, "trials": "4", "jobs": "2", "epochs": "1", "tune.confirm_seeds": "0"})
    fit.run("odd", asked)
    (parent,) = tracking.find_runs({"stage": "tuning"})
    runs = tracking.find_runs({"stage": "trial", "mlflow.parentRunId": parent.info.run_id})
    assert sorted(int(run.data.tags["trial"]) for run in runs) == [0, 1, 2, 3]
    assert len({run.data.params["train.learning_rate"] for run in runs}) == 4
    assert parent.data.metrics["tuning/complete"] == 4


def test_trials_that_measure_latency_run_one_after_another() -> None:
    """Measured beside other trials, every latency is that of a busy machine."""
    assert trials.trials_at_once(resolve_settings({"jobs": "3"}), 5) == 3
    assert trials.trials_at_once(resolve_settings({"jobs": "3"}), 2) == 2
    assert trials.trials_at_once(resolve_settings({"jobs": "3"}), 1) == 1
    assert trials.trials_at_once(resolve_settings({"jobs": "3", "objective": "f1,latency"}), 5) == 1


class Workers:
    """Tasks whose ends a test gives; None: nothing ends for a while. After the last one, nothing ends any more."""

    def __init__(self, count: int, ends: list[Any]) -> None:
        self.running, self.ends = dict.fromkeys(range(count)), ends

    def next(self, seconds: float) -> tuple[int, Any] | None:
        result = self.ends.pop(0) if self.ends else None
        return None if result is None else (self.running.popitem()[0], result)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether a trial is running, look by look; afterwards none is."""
    looks: list[bool] = []
    monkeypatch.setattr(trials.search, "fail_interrupted", lambda study: None)
    monkeypatch.setattr(trials.search, "is_running", lambda study: looks.pop(0) if looks else False)
    yield looks
    assert not looks


def watch(workers: Workers) -> tuple[int | None, list[str]]:
    fakes: Any = workers, SimpleNamespace()
    return trials._watch(*fakes)


def test_a_worker_that_never_answers_does_not_hold_up_a_study_that_is_done(running: list[bool]) -> None:
    """A node that hangs would keep the command waiting for ever; a slow last trial must not be cut off."""
    running += [True] * 30
    workers = Workers(2, [3])
    assert watch(workers) == (3, [])
    assert len(workers.running) == 1


def test_faults_of_workers_are_told_and_the_others_go_on(running: list[bool]) -> None:
    """One machine without memory would end the study of ten."""
    assert watch(Workers(3, [Lost("its worker was lost 3 times"), 2, 3])) == (5, ["its worker was lost 3 times"])
    assert watch(Workers(2, ["no trial was completed", "disk full"])) == (None, ["no trial was completed", "disk full"])
