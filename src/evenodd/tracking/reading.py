"""Reads runs: search by tags, artifacts, figures and settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from evenodd.storage import DamagedError, file_digest
from evenodd.tracking import store
from evenodd.tracking.downloads import download_run_file
from evenodd.tracking.names import called

DONE_TAG = "evenodd.done"
DIGESTS_TAG = "evenodd.artifacts"
"""Digests of a run's artifacts, as JSON, to detect damage when they are read."""
FIGURES, SETTINGS = "figures.json", "settings.yaml"
"""Artifacts with all figures and all settings; metrics and parameters are the ones that people compare."""


def download(run_id: str, path: str, folder: Path | None = None) -> Path:
    """A run's artifact as a local path, in `folder` or in a folder that is deleted when this process ends.

    Raises:
        ValueError: the run has no such artifact.
        RuntimeError: it is damaged: it differs from what the run wrote.
    """
    try:
        with store.answering():
            local = download_run_file(run_id, path, folder)
    except (MlflowException, OSError) as error:
        raise ValueError(f"run {run_id} has no artifact '{path}'.") from error
    run = get_run(run_id)
    written = json.loads(run.data.tags.get(DIGESTS_TAG, "{}")).get(path)
    if written is not None and not file_digest(local).startswith(written):
        raise DamagedError(
            f"run {run_id}: its artifact '{path}' is damaged: SHA-256 {file_digest(local)[:12]}… instead of "
            f"{written[:12]}…. Fit it again (-P fresh=true), or restore {run.info.artifact_uri}/{path}."
        )
    return local


def check_artifacts(run: Run, names: tuple[str, ...]) -> None:
    """Checks the artifacts of a run whose paths begin with these names.

    Raises:
        ValueError: one is missing.
        RuntimeError: one is damaged.
    """
    for path in json.loads(run.data.tags.get(DIGESTS_TAG, "{}")):
        if path.startswith(names):
            download(run.info.run_id, path)


def artifact_text(run_id: str, path: str) -> str | None:
    """A run's text artifact, or None if it has none.

    Raises:
        RuntimeError: it is damaged.
    """
    try:
        return download(run_id, path).read_text(encoding="utf-8")
    except ValueError:
        return None


def artifact_json(run_id: str, path: str) -> Any:
    """A run's JSON artifact.

    Raises:
        ValueError: it has none.
        RuntimeError: it is damaged.
    """
    return json.loads(download(run_id, path).read_text(encoding="utf-8"))


def find_runs(tags: Mapping[str, str], *, finished: bool = True) -> list[Run]:
    """Runs with all of these tags, newest first; by default only finished ones."""
    client = MlflowClient()
    wanted = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
    if finished:
        wanted.append(f"tags.`{DONE_TAG}` = 'true'")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, " and ".join(wanted), order_by=["attributes.start_time DESC"]))


def get_run(run_id: str) -> Run:
    """A run by its id.

    Raises:
        ValueError: there is none.
    """
    try:
        with store.answering():
            return MlflowClient().get_run(run_id)
    except MlflowException as error:
        raise ValueError(f"run '{run_id}': not in the tracking store {mlflow.get_tracking_uri()}.") from error


def figures_of(run: Run) -> dict[str, float]:
    """All figures of a run: those in its artifact, and its metrics, which may be newer.

    Raises:
        RuntimeError: the artifact is damaged.
    """
    text = artifact_text(run.info.run_id, FIGURES)
    return (json.loads(text) if text else {}) | {called(key): value for key, value in run.data.metrics.items()}


def settings_of(run_id: str) -> dict[str, Any]:
    """All settings of a run by dotted name; empty if none were recorded.

    Raises:
        RuntimeError: the artifact is damaged.
    """
    text = artifact_text(run_id, SETTINGS)
    return dict(yaml.safe_load(text)) if text else {}


def tracking_uri() -> str:
    """URI of the tracking store."""
    return str(mlflow.get_tracking_uri())
