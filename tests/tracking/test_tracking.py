"""Tracking: what is open is closed, what is half is dropped, what is said is said once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from types import ModuleType

import datasets
import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from training_rows import still_model

from evenodd.encoders import add_lora
from evenodd.settings import LoraSettings, resolve_settings
from evenodd.tracking import leases
from evenodd.tracking.leases import owner
from evenodd.tracking.names import CURVES, METRICS, called, stored

NAME = "hate-speech"


def test_runs_and_versions_of_others_are_not_touched(tracking: ModuleType) -> None:
    """On a shared store, a colleague's live run of another project was set to KILLED."""
    client = MlflowClient()
    experiment = client.create_experiment("a colleague's")
    project = {"mlflow.source.type": "PROJECT", "mlflow.project.env": "conda"}
    long_ago = int((time.time() - 3600) * 1000)
    others = [
        client.create_run(experiment, long_ago, tags).info.run_id
        for tags in ({}, project, {**project, "mlflow.project.env": "virtualenv"})
    ]
    killed = client.create_run(experiment).info.run_id
    client.set_terminated(killed, "KILLED")
    client.create_registered_model("theirs")
    version = client.create_model_version("theirs", _logged_uri(), killed).version
    client.set_registered_model_alias("theirs", "champion", version)
    assert tracking.close_interrupted() == []
    tracking.drop_half_registered("theirs")
    assert {_status(run_id) for run_id in others} == {"RUNNING"}
    assert client.get_model_version_by_alias("theirs", "champion").version == version


def test_a_run_whose_process_is_gone_is_closed_and_a_live_one_is_not(tracking: ModuleType) -> None:
    """After kill -9 a run would be shown as RUNNING for ever; a live one must not be touched, wherever it is."""
    token, kernel, namespace, pid, began = owner().split()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = _open_run(f"{token} {kernel} {namespace} {gone.pid} 1")
    recycled = _open_run(f"{token} {kernel} {namespace} {pid} {int(began) + 1}")
    alive = _open_run(owner())
    other_namespace = _open_run(f"{token} {kernel} pid:[1] {gone.pid} 1")
    other_kernel = _open_run(f"{token} another {namespace} {gone.pid} 1")
    assert set(tracking.close_interrupted()) == {dead, recycled}
    assert {_status(dead), _status(recycled)} == {"KILLED"}
    assert {_status(run_id) for run_id in (alive, other_namespace, other_kernel)} == {"RUNNING"}


def test_a_silent_run_of_another_machine_is_closed_and_one_that_beats_is_not(
    tracking: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that died under another name would leave its run RUNNING for ever."""
    seconds = [0.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: seconds[0])
    watched: list[Callable[[], bool]] = []
    monkeypatch.setattr(leases.HEART, "watch", watched.append)
    silent, beating = _open_run(ELSEWHERE), _open_run(ELSEWHERE)
    assert tracking.close_interrupted() == []
    more = True
    for number in range(12):
        seconds[0] += leases.BEAT_SECONDS
        MlflowClient().set_tag(beating, leases.BEAT_TAG, str(number))
        more = watched[0]()
    assert (_status(silent), _status(beating)) == ("KILLED", "RUNNING")
    assert more
    MlflowClient().set_terminated(beating, "FINISHED")
    assert not watched[0]()


def test_a_run_that_was_killed_after_all_was_written_is_finished(tracking: ModuleType) -> None:
    """Neither reused nor deleted, its version would stand beside the one that is made again."""
    client = MlflowClient()
    run_id = _open_run(GONE)
    client.create_registered_model(NAME)
    version = str(client.create_model_version(NAME, _logged_uri(), run_id).version)
    client.set_tag(run_id, tracking.DONE_TAG, "true")
    client.set_tag(run_id, "fingerprint", "abc")
    assert [run.info.run_id for run in tracking.find_runs({"fingerprint": "abc"})] == [run_id]
    tracking.close_interrupted()
    tracking.drop_half_registered(NAME)
    assert _status(run_id) == "FINISHED"
    assert _versions() == [version]
    client.set_terminated(run_id, "KILLED")
    tracking.drop_half_registered(NAME)
    assert _versions() == [version]
    assert [run.info.run_id for run in tracking.find_runs({"fingerprint": "abc"})] == [run_id]


def test_a_run_that_cannot_be_closed_does_not_hide_the_first_fault(
    tracking: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk the last line was SQL, and what was full was not said."""

    def refuse(*about: str) -> None:
        raise mlflow.exceptions.MlflowException(
            "(sqlite3.OperationalError) database or disk is full [SQL: UPDATE runs]"
        )

    with (  # noqa: PT012
        monkeypatch.context() as patch,
        pytest.raises(OSError, match="No space left"),
        tracking.start_run("full", tags={}),
    ):
        patch.setattr(mlflow, "end_run", refuse)
        raise OSError(28, "No space left on device", "bundle")
    while mlflow.active_run():
        mlflow.end_run()


def test_runs_end_as_they_went(tracking: ModuleType) -> None:
    """FINISHED alone is reused by fingerprint: a failed or cut run shown as such would be taken for a result."""
    ended = {}
    for error in (None, RuntimeError, KeyboardInterrupt):
        try:
            with tracking.start_run("one", tags={"fingerprint": "abc"}) as run_id:
                if error:
                    raise error
        except (RuntimeError, KeyboardInterrupt):
            pass
        ended[error] = _status(run_id)
    assert ended == {None: "FINISHED", RuntimeError: "FAILED", KeyboardInterrupt: "KILLED"}
    assert len(tracking.find_runs({"fingerprint": "abc"})) == 1
    assert len(tracking.find_runs({"fingerprint": "abc"}, finished=False)) == 3
    assert tracking.active_run_id() is None


def test_an_interruption_closes_nested_runs_too(tracking: ModuleType) -> None:
    """Ctrl-C in `main` stops the fit inside it."""
    with (
        pytest.raises(KeyboardInterrupt),
        tracking.start_run("outer", tags={}) as outer,
        tracking.start_run("inner", tags={}, nested=True) as inner,
    ):
        raise KeyboardInterrupt
    assert [_status(run_id) for run_id in (outer, inner)] == ["KILLED", "KILLED"]
    assert tracking.get_run(inner).data.tags["mlflow.parentRunId"] == outer


def test_settings_do_not_clash_with_what_mlflow_run_recorded(
    tracking: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mlflow run` has logged `-P train.learning_rate=2e-5` as that text; logging 2e-05 over it fails the run."""
    client = MlflowClient()
    run_id = client.create_run(client.get_experiment_by_name("tests").experiment_id).info.run_id
    said = {"train.learning_rate": "2e-5", "epochs": "3"}
    for key, value in said.items():
        client.log_param(run_id, key, value)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    with tracking.start_run("fit", tags={}) as taken:
        tracking.log_settings(resolve_settings(said), ("train", "seed"))
    params = tracking.get_run(run_id).data.params
    assert taken == run_id
    assert params["train.learning_rate"] == "2e-5"
    assert set(params) == {"train.learning_rate", "epochs"}


def test_parameters_are_what_runs_differ_in(tracking: ModuleType) -> None:
    """Forty settings that nobody said hide the three that make the difference; all of them are still on record."""
    usual = resolve_settings({"epochs": "4"})
    with tracking.start_run("fit", tags={}) as run_id:
        said = {"epochs": "4", "learning_rate": "0.5", "lora.rank": "4"}
        tracking.log_settings(resolve_settings(said), ("train", "data"), {"variant": "odd", "rows": 12}, usual=usual)
    params = tracking.get_run(run_id).data.params
    assert params == {"variant": "odd", "rows": "12", "train.learning_rate": "0.5"}
    recorded = tracking.settings_of(run_id)
    assert (recorded["train.epochs"], recorded["train.learning_rate"]) == (4, 0.5)
    assert {key.partition(".")[0] for key in recorded} == {"train", "data"}


def test_curves_do_not_hide_the_final_figure(tracking: ModuleType) -> None:
    """The newest step of a metric is what MLflow shows: an epoch's score would stand for the result."""
    with tracking.start_run("fit", tags={}) as run_id:
        tracking.log_curves({"validation/f1_macro": 0.4, "train/loss": 0.9, "validation/ece": 0.1}, step=7)
        tracking.flush()
        tracking.log_measured({"validation/f1_macro": 0.6, "cost/train_gflops": 80.0})
    run, client = tracking.get_run(run_id), MlflowClient()
    assert tracking.figures_of(run)["validation/f1_macro"] == 0.6
    assert tracking.figures_of(run)["cost/train_gflops"] == 80.0
    assert set(run.data.metrics) == {
        "2_validation/f1_macro", "8_train/loss_by_step", "8_train/validation_f1_macro_by_step",
    }  # fmt: skip
    assert [point.step for point in client.get_metric_history(run_id, "2_validation/f1_macro")] == [0]
    assert [point.step for point in client.get_metric_history(run_id, "8_train/loss_by_step")] == [7]


def test_groups_of_metrics_stand_in_the_order_in_which_they_are_read() -> None:
    """MLflow sorts by name: behaviour and cost would stand before the score."""
    names = [stored(f"{group}/f1_macro") for group in ("test", "validation", "cost", "behaviour", "train")]
    assert names == sorted(names)
    assert all(called(stored(name)) == name for name in METRICS)
    assert len({stored(name) for name in METRICS}) == len(METRICS)
    assert len(METRICS) + len(CURVES) <= 40


def test_settings_read_alike_in_every_run(tracking: ModuleType) -> None:
    """Tuples as `('a', 'b')` in one run and `a,b` in another would not line up."""
    with tracking.start_run("fit", tags={}) as run_id:
        tracking.log_settings(resolve_settings({"labels": "noHate,hate"}), ("data",))
    assert tracking.get_run(run_id).data.params["data.labels"] == "noHate,hate"


def test_figures_that_are_no_numbers_are_left_out(tracking: ModuleType) -> None:
    """A NaN in the table sorts above every score."""
    with tracking.start_run("fit", tags={}) as run_id:
        tracking.log_metrics({"test/f1_macro": 0.5, "test/ece": float("nan"), "test/@odd": 1.0})
    metrics = tracking.get_run(run_id).data.metrics
    assert metrics == {"1_test/f1_macro": 0.5, "1_test/_odd": 1.0}


def test_half_registered_versions_are_dropped(tracking: ModuleType) -> None:
    """kill -9 between registering and finishing would leave a second version of one fit behind."""
    _register(tracking, "odd")
    with pytest.raises(KeyboardInterrupt), tracking.start_run("cut", tags={}):  # noqa: PT012
        tracking.register(_logged_uri(), _entry(tracking))
        raise KeyboardInterrupt
    assert _versions() == ["1", "2"]
    _register(tracking, "odd")
    assert _versions() == ["1", "3"]
    assert tracking.aliases(NAME) == {"odd": "3"}


def test_registering_survives_a_run_that_is_gone(tracking: ModuleType) -> None:
    """`mlflow gc` removes runs whose versions stay; the next fit must not fail on them after its training."""
    version = _register(tracking, "odd")
    run_id = tracking.find_version("odd", NAME).run_id
    engine = mlflow.tracking._tracking_service.utils._get_store().engine
    with engine.begin() as connection:
        for table in ("tags", "metrics", "latest_metrics", "params", "runs"):
            connection.exec_driver_sql(f"DELETE FROM {table} WHERE run_uuid = '{run_id}'")
    assert int(_register(tracking, "even")) == int(version) + 1
    assert _versions() == ["1", "2"]


def test_a_version_is_found_by_alias_number_and_full_name(tracking: ModuleType) -> None:
    """All that the documentation offers must name the same one."""
    _register(tracking, "odd")
    found = {tracking.find_version(said, NAME).version for said in ("odd", "1", f"{NAME}@odd", f"{NAME}/1")}
    assert found == {"1"}
    assert tracking.find_version("odd", NAME).uri == f"models:/{NAME}/1"


@pytest.mark.parametrize("said", ["champion", "7", f"{NAME}@champion", f"{NAME}/7"])
def test_a_version_that_is_not_there_names_those_that_are(said: str, tracking: ModuleType) -> None:
    """`RESOURCE_DOES_NOT_EXIST` helps nobody."""
    _register(tracking, "odd")
    with pytest.raises(ValueError, match="has the aliases odd and versions up to 1") as caught:
        tracking.find_version(said, NAME)
    assert said in str(caught.value)


@pytest.mark.parametrize("said", ["it's@odd", 'a"b/1', "@", "nothing/1"])
def test_odd_names_are_told_and_do_not_break_the_query(said: str, tracking: ModuleType) -> None:
    """A quote in a name must not end in a parser's error."""
    with pytest.raises(ValueError, match="has no versions yet: train one first"):
        tracking.find_version(said, NAME)


def test_missing_runs_and_artifacts_are_told(tracking: ModuleType) -> None:
    """What is named on the command line can be wrong."""
    with pytest.raises(ValueError, match="run 'abc': not in the tracking store"):
        tracking.get_run("abc")
    with tracking.start_run("empty", tags={}) as run_id:
        pass
    with pytest.raises(ValueError, match=r"has no artifact 'decision\.json'"):
        tracking.download(run_id, "decision.json")


def test_a_model_with_adapters_is_not_logged(tracking: ModuleType) -> None:
    """mlflow would save it with query, key, value and classifier at random."""
    with pytest.raises(ValueError, match="merge them first"):
        tracking.log_model(add_lora(still_model(), LoraSettings()), None, _entry(tracking))


ELSEWHERE = f"{'0' * 32} another-kernel pid:[1] 1 1"
GONE = f"{'0' * 32} {' '.join(owner().split()[1:3])} 4194304 1"


def _open_run(process: str) -> str:
    client = MlflowClient()
    tags = {leases.OWNER_TAG: process, leases.BEAT_TAG: "1"}
    return str(client.create_run(client.get_experiment_by_name("tests").experiment_id, tags=tags).info.run_id)


def _status(run_id: str) -> str:
    return str(MlflowClient().get_run(run_id).info.status)


def _entry(tracking: ModuleType):  # type: ignore[no-untyped-def]
    return tracking.ModelEntry(NAME, "odd", "half the layers")


def _logged_uri() -> str:
    return f"models:/{mlflow.initialize_logged_model(name='odd').model_id}"


def _register(tracking: ModuleType, alias: str) -> str:
    with tracking.start_run(alias, tags={}):
        version = str(tracking.register(_logged_uri(), _entry(tracking)))
    tracking.set_alias(NAME, alias, version)
    return version


def _versions() -> list[str]:
    return sorted(str(found.version) for found in MlflowClient().search_model_versions(f"name = '{NAME}'"))


def test_two_fits_of_the_same_rows_both_log_them(tracking: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow looks a data set up and then inserts it: of two fits that start at once, one failed."""
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    real, calls = mlflow.log_input, []

    def log_input(dataset: object, context: str) -> None:
        calls.append(context)
        if len(calls) == 1:
            raise MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.experiment_id")
        real(dataset, context=context)

    monkeypatch.setattr(mlflow, "log_input", log_input)
    with tracking.start_run("fit", tags={}) as run_id:
        tracking.log_dataset(rows, "reviews-train", "0" * 64, "training")
    assert calls == ["training", "training"]
    assert [used.dataset.name for used in tracking.get_run(run_id).inputs.dataset_inputs] == ["reviews-train"]
    monkeypatch.setattr(mlflow, "log_input", lambda *_, **__: (_ for _ in ()).throw(MlflowException("disk is full")))
    with tracking.start_run("fit", tags={}), pytest.raises(MlflowException, match="disk is full"):
        tracking.log_dataset(rows, "reviews-train", "0" * 64, "training")
