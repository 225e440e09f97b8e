"""The experiment of a command's runs: one per name, of MLflow's model-training kind, with a description."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import partial

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from evenodd.storage import digest_of
from evenodd.tracking import store
from evenodd.tracking.leases import HEART, mark, sweep
from evenodd.tracking.runs import beat, close_interrupted

DEFAULT_EXPERIMENT = "0"
OUR_EXPERIMENT = "EVENODD_EXPERIMENT_ID"
"""Environment variable: the `MLFLOW_EXPERIMENT_ID` that `configure` set, to tell it from the user's choice."""
KIND_TAG, NOTE_TAG, OUR_NOTE_TAG = "mlflow.experimentKind", "mlflow.note.content", "evenodd.note"
HOW_TO_READ = (
    "A run of `main`, `study` or `compare` holds a comparison: its verdict, table, figures and `report.html`. The "
    "fitted variants are the runs under it (Expand rows)."
)


def configure(experiment: str) -> None:
    """Chooses the experiment of this command's runs, and closes runs and leases of dead processes.

    An experiment that the user chose takes precedence: `--experiment-name`, MLflow's environment variables or
    `mlflow.set_experiment`. Otherwise it is `experiment`, also under `mlflow run`, which has then opened its own run
    in MLflow's default experiment; that run gets a note that names the experiment.

    Raises:
        RuntimeError: the store does not answer, or its database is damaged.
    """
    _quieten()
    store.prepare()
    with store.answering():
        _choose_experiment(experiment)
        close_interrupted()
        sweep()


def _choose_experiment(experiment: str) -> None:
    _leave_default(experiment)
    ours = os.environ.get(OUR_EXPERIMENT) == os.environ.get("MLFLOW_EXPERIMENT_ID", "")
    chosen = {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", *(() if ours else ("MLFLOW_EXPERIMENT_ID",))}
    if not chosen & set(os.environ):
        os.environ[OUR_EXPERIMENT] = mlflow.set_experiment(experiment).experiment_id
    _dress(_current_experiment())


def _current_experiment() -> str:
    """Id of the experiment that a new run would belong to."""
    taken_up = os.environ.get("MLFLOW_RUN_ID")
    if taken_up:
        return str(MlflowClient().get_run(taken_up).info.experiment_id)
    named = os.environ.get("MLFLOW_EXPERIMENT_NAME")
    found = mlflow.set_experiment(named) if named else None
    return str(found.experiment_id if found else os.environ.get("MLFLOW_EXPERIMENT_ID", DEFAULT_EXPERIMENT))


def _dress(experiment_id: str) -> None:
    """Sets the experiment's kind and description; a description that a person wrote is kept."""
    client = MlflowClient()
    experiment = client.get_experiment(experiment_id)
    if KIND_TAG not in experiment.tags and experiment_id != DEFAULT_EXPERIMENT:
        _tag(client, experiment_id, KIND_TAG, "custom_model_development")
    if NOTE_TAG not in experiment.tags and experiment_id != DEFAULT_EXPERIMENT:
        _note(client, experiment_id, f"Text classifiers **{experiment.name}**, made by evenodd. {HOW_TO_READ}")


def describe_experiment(*paragraphs: str) -> None:
    """Puts the newest comparison into the description of the open run's experiment; a description that a person wrote
    is kept."""
    run, client = mlflow.active_run(), MlflowClient()
    experiment = client.get_experiment(run.info.experiment_id) if run else None
    if experiment is None:
        return
    written = experiment.tags.get(NOTE_TAG, "")
    if not written or experiment.tags.get(OUR_NOTE_TAG) == digest_of(written):
        _note(client, experiment.experiment_id, "\n\n".join((*paragraphs, HOW_TO_READ)))


def _note(client: MlflowClient, experiment_id: str, text: str) -> None:
    _tag(client, experiment_id, NOTE_TAG, text)
    _tag(client, experiment_id, OUR_NOTE_TAG, digest_of(text))


def _tag(client: MlflowClient, experiment_id: str, key: str, value: str) -> None:
    """Sets a tag. If two hosts create it at the same moment, one of them fails, and succeeds when it is repeated."""
    try:
        client.set_experiment_tag(experiment_id, key, value)
    except MlflowException:
        client.set_experiment_tag(experiment_id, key, value)


def experiment_page() -> str:
    """Address of the open run's experiment in MLflow's UI, in its view of model training."""
    run, uri = mlflow.active_run(), mlflow.get_tracking_uri()
    server = uri.rstrip("/") if uri.startswith("http") else "http://localhost:5000"
    number = run.info.experiment_id if run else DEFAULT_EXPERIMENT
    return f"{server}/#/experiments/{number}/runs?workflowType=machine_learning"


def _leave_default(experiment: str) -> None:
    """Leaves the run that `mlflow run` opened, if the user chose no experiment."""
    run_id, client = os.environ.get("MLFLOW_RUN_ID"), MlflowClient()
    if run_id is None or client.get_run(run_id).info.experiment_id != DEFAULT_EXPERIMENT:
        return
    for key, value in mark().items():
        client.set_tag(run_id, key, value)
    HEART.watch(partial(beat, run_id))
    client.set_tag(run_id, "mlflow.note.content", f"The runs of this command are in the experiment **{experiment}**.")
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        os.environ.pop(name, None)


def connection() -> dict[str, str]:
    """Tracking store and experiment of this process, for `connect` in another one."""
    run = mlflow.active_run()
    experiment = run.info.experiment_id if run else ""
    return {"tracking": mlflow.get_tracking_uri(), "registry": mlflow.get_registry_uri(), "experiment": experiment}


def connect(place: Mapping[str, str]) -> None:
    """Uses the tracking store and experiment of another process."""
    _quieten()
    mlflow.set_tracking_uri(place["tracking"])
    mlflow.set_registry_uri(place["registry"])
    if place["experiment"]:
        mlflow.set_experiment(experiment_id=place["experiment"])


def _quieten() -> None:
    for name in (
        "alembic",
        "mlflow.store",
        "mlflow.transformers",
        "mlflow.types",
        "mlflow.models",
        "mlflow.system_metrics",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("mlflow.tracking.fluent").setLevel(logging.WARNING)  # its message about a new experiment


def experiment_name() -> str:
    """Name of the experiment that the open run belongs to."""
    run = mlflow.active_run()
    return str(mlflow.get_experiment(run.info.experiment_id).name) if run else ""
