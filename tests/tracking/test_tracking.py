"""Tracking: what is open is closed, what is half is dropped, what is said is said once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import ModuleType

import mlflow
import pytest
from mlflow import MlflowClient
from training_rows import still_model

from evenodd.encoders import add_lora
from evenodd.settings import LoraSettings, resolve_settings
from evenodd.tracking.processes import PROCESS_TAG, process_name

NAME = "hate-speech"


def test_a_run_whose_process_is_dead_is_closed_and_a_live_one_is_not(tracking: ModuleType) -> None:
    """After kill -9 a run would be shown as RUNNING for ever; a colleague's live run must not be touched."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = _open_run(_process_tag(gone.pid))
    recycled = _open_run(process_name().rpartition(":")[0] + ":1000000000.00")
    alive = _open_run(process_name())
    elsewhere = _open_run(f"another-host:{gone.pid}:1.00")
    by_hand = _open_run(None)
    assert set(tracking.close_interrupted()) == {dead, recycled}
    assert {_status(dead), _status(recycled)} == {"KILLED"}
    assert {_status(alive), _status(elsewhere), _status(by_hand)} == {"RUNNING"}
    assert tracking.close_interrupted() == []


def test_a_clock_that_was_set_does_not_make_a_live_process_dead(tracking: ModuleType) -> None:
    """The time a process began is told from the clock, which the network may correct while a fit runs."""
    host_and_pid, _, began = process_name().rpartition(":")
    alive = _open_run(f"{host_and_pid}:{float(began) + 1:.2f}")
    assert tracking.close_interrupted() == []
    assert _status(alive) == "RUNNING"


def test_a_run_that_mlflow_opened_and_never_started_is_closed(
    tracking: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mlflow run` without conda leaves a run RUNNING; one that is being set up just now is left alone."""
    client = MlflowClient()
    project = {"mlflow.source.type": "PROJECT"}
    old = time.time() - tracking.NOT_STARTED_AFTER_SECONDS - 10
    experiment = client.get_experiment_by_name("tests").experiment_id
    stale = client.create_run(experiment, int(old * 1000), project).info.run_id
    fresh = client.create_run(experiment, tags=project).info.run_id
    without_conda = client.create_run(experiment, tags={**project, "mlflow.project.env": "conda"}).info.run_id
    own = client.create_run(experiment, int(old * 1000), project).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", own)
    monkeypatch.setenv("PATH", "")
    assert set(tracking.close_interrupted()) == {stale, without_conda}
    assert {_status(fresh), _status(own)} == {"RUNNING"}


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
    assert (params["epochs"], params["train.epochs"], params["seed"]) == ("3", "3", "0")
    assert not [key for key in params if key.startswith(("lora.", "distill."))]


def test_settings_read_alike_in_every_run(tracking: ModuleType) -> None:
    """Tuples as `('a', 'b')` in one run and `a,b` in another would not line up."""
    with tracking.start_run("fit", tags={}) as run_id:
        tracking.log_settings(resolve_settings({"labels": "noHate,hate"}), ("data",))
    assert tracking.get_run(run_id).data.params["data.labels"] == "noHate,hate"


def test_figures_that_are_no_numbers_are_left_out(tracking: ModuleType) -> None:
    """A NaN in the table sorts above every score."""
    with tracking.start_run("fit", tags={}) as run_id:
        tracking.log_metrics({"test/f1_macro": 0.5, "test/ece": float("nan"), "test/@odd": 1.0})
        tracking.log_metrics({"train/loss": 0.25}, step=7)
        tracking.flush()
    metrics = tracking.get_run(run_id).data.metrics
    assert metrics["test/f1_macro"] == 0.5
    assert "test/ece" not in metrics
    assert [point.step for point in MlflowClient().get_metric_history(run_id, "train/loss")] == [7]


def test_half_registered_versions_are_dropped(tracking: ModuleType) -> None:
    """kill -9 between registering and finishing would leave a second version of one fit behind."""
    _register(tracking, "odd")
    with pytest.raises(KeyboardInterrupt), tracking.start_run("cut", tags={}):  # noqa: PT012
        tracking.register(_logged_uri(), _entry(tracking), ("odd",))
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


def test_only_one_holds_a_lock(tracking: ModuleType) -> None:
    """Two promotions at once would each check the other's old champion."""
    with (
        pytest.raises(RuntimeError, match="another one is under way"),
        tracking.exclusive("champion", "promotion"),
        tracking.exclusive("champion", "promotion"),
    ):
        pass
    with tracking.exclusive("champion", "promotion"):
        pass
    host_and_pid = process_name().rpartition(":")[0]
    MlflowClient().create_registered_model("champion.lock", tags={PROCESS_TAG: f"{host_and_pid}:1.00"})
    with tracking.exclusive("champion", "promotion"):
        held = MlflowClient().get_registered_model("champion.lock").tags[PROCESS_TAG]
    assert held == process_name()


def _open_run(process: str | None) -> str:
    client = MlflowClient()
    tags = {"evenodd.process": process} if process else {}
    return str(client.create_run(client.get_experiment_by_name("tests").experiment_id, tags=tags).info.run_id)


def _process_tag(pid: int) -> str:
    return process_name().replace(f":{os.getpid()}:", f":{pid}:")


def _status(run_id: str) -> str:
    return str(MlflowClient().get_run(run_id).info.status)


def _entry(tracking: ModuleType):  # type: ignore[no-untyped-def]
    return tracking.ModelEntry(NAME, "odd", "half the layers")


def _logged_uri() -> str:
    return f"models:/{mlflow.initialize_logged_model(name='odd').model_id}"


def _register(tracking: ModuleType, alias: str) -> str:
    with tracking.start_run(alias, tags={}):
        return str(tracking.register(_logged_uri(), _entry(tracking), (alias,)))


def _versions() -> list[str]:
    return sorted(str(found.version) for found in MlflowClient().search_model_versions(f"name = '{NAME}'"))
