"""What tuning leaves in the tracking store: a parent, its trials beneath, figures, and a file that goes back in."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import optuna
import pandas as pd
import pytest
from tracking_store import mlflow_store

from evenodd import tracking as tracking_module
from evenodd.flow import tune as tuning_runs
from evenodd.search import Pruned, best_trial, confirmations, confirmed_means, keep_confirmation
from evenodd.settings import Layer, make_request, resolve_settings

PARAMETERS = {"trials": "8", "jobs": "1", "tune.storage": "sqlite:///trials.db", "train.epochs": "2"}


def _score(search: Any, plan: Any, teachers: tuning_runs.Teachers, folder: str, report: Any) -> tuple[float, ...]:
    """Stands for a fit: the best near a learning rate of 3e-4; the third fails, the eighth is pruned."""
    number = int(folder.rpartition("-")[2])
    assert teachers == ("models:/teacher", "models:/plain")
    if number == 2:
        raise RuntimeError("training diverged")
    if number == 7:
        report(0.1, 1)
        raise Pruned("below the median")
    score = 0.8 - abs(plan.settings.train.learning_rate - 3e-4)
    report(score, 1)
    return (score,)


@contextmanager
def rows_only(score: Callable[..., tuple[float, ...]]) -> Iterator[Any]:
    """Materials for tuning without fits: `score` stands for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning_runs, "_score_trial", score)
        patch.setattr(tuning_runs, "fit_variant", lambda *a, **k: SimpleNamespace(model_uri="models:/teacher"))
        patch.setattr(tuning_runs, "plain_teacher_uri", lambda teacher: "models:/plain")
        yield SimpleNamespace(
            corpus=SimpleNamespace(digest="rows"), encoder="encoder", encoder_digest="files", parameters={}
        )


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[ModuleType]:
    """A tracking store for all tests here: they only read what one tuning left."""
    folder = tmp_path_factory.mktemp("tuned")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch, mlflow_store(f"sqlite:///{folder}/mlflow.db"):
        patch.chdir(folder)
        yield tracking_module


@pytest.fixture(scope="module")
def tuned(tracking: ModuleType) -> Iterator[tuple[str, Layer]]:
    """Id of the parent run and the settings found for the final fit."""
    with rows_only(_score) as materials:
        with tracking.start_run("odd · 8 trials", tags={"stage": "tuning"}) as run_id:
            found = tuning_runs.tune("odd", make_request(PARAMETERS), materials).settings
        yield run_id, found


def test_trials_lie_beneath_one_parent_and_say_how_they_ended(tuned, tracking):
    """A failed trial that looks finished, or a trial beside its parent, cannot be told apart in the UI."""
    parent, _ = tuned
    trials = tracking.find_runs({"stage": "trial", "mlflow.parentRunId": parent}, finished=False)
    ended = {int(run.data.tags["trial"]): run for run in trials}
    assert sorted(ended) == list(range(8))
    assert ended[2].info.status == "FAILED"
    assert {number for number, run in ended.items() if run.info.status == "FINISHED"} == {0, 1, 3, 4, 5, 6, 7}
    assert {number for number, run in ended.items() if run.data.tags.get("pruned") == "true"} == {7}
    assert all("model_uri" not in run.data.tags for run in trials)
    given = resolve_settings(PARAMETERS, family="student").train.learning_rate
    assert float(ended[0].data.params["train.learning_rate"]) == given


def test_the_best_settings_go_into_the_final_fit_and_a_file(tuned, tracking, tmp_path):
    """A final fit with other settings than the best trial's would be reported as tuned."""
    parent, found = tuned
    run = tracking.get_run(parent)
    path = tracking.download(parent, "tuned_odd.yaml", tmp_path / "down")
    from_file = resolve_settings({"config": str(path), **PARAMETERS}, family="student", name="odd")
    final = make_request(PARAMETERS).settings_for("student", "odd", found)
    assert final.train == from_file.train
    assert final.distill == from_file.distill
    assert final.train.epochs == 2
    assert 0.8 - abs(final.train.learning_rate - 3e-4) == pytest.approx(run.data.metrics["tuning/best_f1"])
    assert run.data.metrics["tuning/best_f1"] >= run.data.metrics["tuning/given_f1"]
    assert (run.data.metrics["tuning/fail"], run.data.metrics["tuning/pruned"]) == (1, 1)
    for name in ("tuning_history", "tuning_parallel", "tuning_importances"):
        assert tracking.download(parent, f"plots/{name}.png", tmp_path / "down").stat().st_size > 1000


def test_finalists_are_fitted_again_under_other_seeds(tuned, tracking):
    """The two best trials and the settings as given, two seeds each, with their own settings."""
    parent, found = tuned
    table = pd.read_csv(tracking.download(parent, "tables/trials.csv"))
    best = table.sort_values("f1", ascending=False)["trial"].tolist()[:2]
    runs = tracking.find_runs({"stage": "confirmation", "mlflow.parentRunId": parent})
    asked = sorted((int(run.data.tags["trial"]), int(run.data.params["seed"])) for run in runs)
    assert best[0] != 0
    assert asked == [(number, seed) for number in sorted({0, *best}) for seed in (1, 2)]
    metrics = tracking.get_run(parent).data.metrics
    assert metrics["tuning/confirmed_best_f1"] == pytest.approx(metrics["tuning/best_f1"])
    assert metrics["tuning/confirmed_best_f1"] > metrics["tuning/confirmed_given_f1"]
    tried = {run.data.tags["trial"]: run.data.params["train.learning_rate"] for run in runs}
    assert str(found["train.learning_rate"]) == tried[str(best[0])]


def test_a_finalist_that_fails_again_is_out_of_the_choice(tracking, tmp_path):
    """A fault of the machine is no score of 0: that would stay in the study and speak against the settings."""
    failed: list[int] = []

    def score(search: Any, plan: Any, teachers: tuning_runs.Teachers, folder: str, report: Any) -> tuple[float, ...]:
        number = int(folder.rpartition("-")[2])
        if "-seed" in folder and number == (failed or [number])[0]:
            failed.append(number)
            raise MemoryError("out of memory")
        return _score(search, plan, teachers, folder, report)

    storage = f"sqlite:///{tmp_path}/again.db"
    with rows_only(score) as materials, tracking.start_run("odd · again", tags={"stage": "tuning"}):
        tuning_runs.tune("odd", make_request(PARAMETERS | {"tune.storage": storage}), materials)
    study = optuna.load_study(study_name=optuna.get_all_study_names(storage)[0], storage=storage)
    assert len(failed) > 1, "every further seed is tried"
    assert failed[0] not in confirmations(study)
    assert failed[0] not in confirmed_means(study)
    assert confirmed_means(study)
    assert best_trial(study).number != failed[0]


def test_a_confirmation_that_another_host_makes_is_left_to_it(tracking, tmp_path, monkeypatch):
    """Two hosts that tune one variant would each fit every finalist again, both in the same order."""
    fitted: list[str] = []
    elsewhere: list[str] = []
    lease = tracking.lease

    def score(search: Any, plan: Any, teachers: tuning_runs.Teachers, folder: str, report: Any) -> tuple[float, ...]:
        if "-seed" in folder:
            fitted.append(folder.partition("-seed")[2])
        return _score(search, plan, teachers, folder, report)

    @contextmanager
    def held_elsewhere(key: str, what: str, *, wait: bool = True) -> Iterator[Any]:
        elsewhere[:] = elsewhere or [key]
        if key != elsewhere[0]:
            with lease(key, what, wait=wait) as held:
                yield held
            return
        if not wait:
            raise tracking.LeaseHeldError(what)
        name, number, seed = re.fullmatch(r"(.+) trial (\d+) seed (\d+)", key).groups()  # type: ignore[union-attr]
        study = optuna.load_study(study_name=name, storage=storage)
        keep_confirmation(study, study.trials[int(number)], int(seed), 0.99)
        yield None

    storage = f"sqlite:///{tmp_path}/shared.db"
    monkeypatch.setattr(tuning_runs.tracking, "lease", held_elsewhere)
    with rows_only(score) as materials, tracking.start_run("odd · shared", tags={"stage": "tuning"}):
        tuning_runs.tune("odd", make_request(PARAMETERS | {"tune.storage": storage}), materials)
    study = optuna.load_study(study_name=optuna.get_all_study_names(storage)[0], storage=storage)
    found = {
        f"{seed}-{number}": score for number, seeds in confirmations(study).items() for seed, score in seeds.items()
    }
    assert len(found) >= 4
    assert set(found) - set(fitted) == {key for key, score in found.items() if score == 0.99}
    assert len(fitted) == len(set(fitted)) == len(found) - 1


def test_the_run_of_a_trial_that_was_given_up_is_not_finished(tracking, tmp_path):
    """Stopped while it was measured, it would be listed as finished beside the trial that took its place."""

    def score(search: Any, plan: Any, teachers: tuning_runs.Teachers, folder: str, report: Any) -> tuple[float, ...]:
        name, _, number = folder.rpartition("-")
        values = _score(search, plan, teachers, folder, report)
        if number == "1":
            optuna.load_study(study_name=name, storage=storage).tell(1, state=optuna.trial.TrialState.FAIL)
        return values

    storage = f"sqlite:///{tmp_path}/stopped.db"
    asked = make_request(PARAMETERS | {"tune.storage": storage, "trials": "2", "tune.confirm_seeds": "0"})
    with rows_only(score) as materials, tracking.start_run("odd · stopped", tags={"stage": "tuning"}) as parent:
        assert tuning_runs.tune("odd", asked, materials).ran == 2
    runs = tracking.find_runs({"stage": "trial", "mlflow.parentRunId": parent}, finished=False)
    ended = {int(run.data.tags["trial"]): run.info.status for run in runs}
    assert ended == {0: "FINISHED", 1: "FAILED", 2: "FAILED"}


def test_no_trials_change_nothing(tracking):
    """A study would be opened for everybody who never asked for one."""
    nothing: Any = None
    assert tuning_runs.tune("odd", make_request({"train.epochs": "2"}), nothing) == tuning_runs.Tuned({}, 0)
