"""Runs: opened and closed, what is logged in them, and what is read back."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.data.huggingface_dataset import from_huggingface
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from evenodd.settings import Settings, flatten, is_among
from evenodd.tracking.processes import PROCESS_TAG, process_is_gone, process_name

log = logging.getLogger(__name__)

DONE_TAG = "evenodd.done"
DEFAULT_EXPERIMENT = "0"
OUR_EXPERIMENT = "EVENODD_EXPERIMENT_ID"
"""Environment variable: `MLFLOW_EXPERIMENT_ID` as `configure` set it, so that it is no choice of the user's."""
NOT_STARTED_AFTER_SECONDS = 600
PARAMETER_LENGTH = 500


def configure(experiment: str) -> None:
    """Chooses where this command's runs go, and closes interrupted runs.

    An experiment that the user chose goes first: by `--experiment-name`, by MLflow's environment variables or by
    `mlflow.set_experiment`. Else it is `experiment`, also under `mlflow run`, which has then opened its own run in
    MLflow's default experiment: that one is left with a note of where the others are.
    """
    _quieten()
    _leave_default(experiment)
    ours = os.environ.get(OUR_EXPERIMENT) == os.environ.get("MLFLOW_EXPERIMENT_ID", "")
    chosen = {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", *(() if ours else ("MLFLOW_EXPERIMENT_ID",))}
    if not chosen & set(os.environ):
        os.environ[OUR_EXPERIMENT] = mlflow.set_experiment(experiment).experiment_id
        mlflow.set_experiment_tag("mlflow.experimentKind", "custom_model_development")
    close_interrupted()


def _leave_default(experiment: str) -> None:
    """Takes this process out of the run that `mlflow run` opened, where nobody chose its experiment."""
    run_id, client = os.environ.get("MLFLOW_RUN_ID"), MlflowClient()
    if run_id is None or client.get_run(run_id).info.experiment_id != DEFAULT_EXPERIMENT:
        return
    client.set_tag(run_id, PROCESS_TAG, process_name())
    client.set_tag(run_id, "mlflow.note.content", f"The runs of this command are in the experiment **{experiment}**.")
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        os.environ.pop(name, None)


def connection() -> dict[str, str]:
    """Where this process keeps its runs and models: what `connect` takes in another one."""
    run = mlflow.active_run()
    experiment = run.info.experiment_id if run else ""
    return {"tracking": mlflow.get_tracking_uri(), "registry": mlflow.get_registry_uri(), "experiment": experiment}


def connect(place: Mapping[str, str]) -> None:
    """Keeps runs and models where another process does."""
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


@contextmanager
def start_run(name: str, *, tags: Mapping[str, str], nested: bool = False, parent: str | None = None) -> Iterator[str]:
    """A run that ends FINISHED, FAILED after an error, or KILLED after an interruption; yields its id.

    The run that `mlflow run` made is taken up when there is one. Metrics of the machine are sampled while it lasts.

    Args:
        name: of the run.
        tags: of the run.
        nested: under the open run, if there is one, or under `parent`.
        parent: id of a run that another process has opened; an open run of this one goes before it.
    """
    own = {PROCESS_TAG: process_name(), **tags}
    above = None if mlflow.active_run() else parent
    with mlflow.start_run(run_name=name, nested=nested, parent_run_id=above, tags=own, log_system_metrics=True) as run:
        mlflow.set_tags({**own, "mlflow.runName": name})
        try:
            yield run.info.run_id
        except (KeyboardInterrupt, SystemExit):
            mlflow.end_run("KILLED")
            raise
        mlflow.set_tag(DONE_TAG, "true")


def experiment_name() -> str:
    """Name of the experiment that the open run belongs to."""
    run = mlflow.active_run()
    return str(mlflow.get_experiment(run.info.experiment_id).name) if run else ""


def active_run_id() -> str | None:
    """Id of the innermost open run."""
    run = mlflow.active_run()
    return run.info.run_id if run else None


def close_interrupted() -> list[str]:
    """Sets runs to KILLED whose process is gone, and those that `mlflow run` opened but never started; their ids."""
    client = MlflowClient()
    closed = []
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    for run in client.search_runs(experiments, "attributes.status = 'RUNNING'", run_view_type=ViewType.ALL):
        if run.info.run_id != os.environ.get("MLFLOW_RUN_ID") and _is_dead(run):
            client.set_terminated(run.info.run_id, "KILLED")
            closed.append(run.info.run_id)
    if closed:
        log.info("closed %d interrupted run(s): %s", len(closed), ", ".join(closed))
    return closed


def log_settings(settings: Settings, parts: tuple[str, ...]) -> None:
    """Settings of these sections and names; what `mlflow run` has recorded already is left as it stands."""
    run = mlflow.active_run()
    recorded = MlflowClient().get_run(run.info.run_id).data.params if run else {}
    flat = flatten(settings)
    said = {key: value for key, value in flat.items() if value is not None and is_among(key, parts)}
    chosen = {key: _text(value) for key, value in said.items()}
    mlflow.log_params({key: value for key, value in chosen.items() if key not in recorded})


def log_metrics(metrics: Mapping[str, float], step: int | None = None, *, run_id: str | None = None) -> None:
    """Named figures of the open run, or of another one; those that are not numbers are left out."""
    finite = {_metric_key(key): float(value) for key, value in metrics.items() if value is not None and value == value}
    mlflow.log_metrics(finite, step=step, run_id=run_id, synchronous=step is None)


def flush() -> None:
    """Waits until everything logged in the background has arrived."""
    mlflow.flush_async_logging()


def set_tags(tags: Mapping[str, Any]) -> None:
    """Tags of the open run."""
    mlflow.set_tags({key: _text(value) for key, value in tags.items()})


def describe(text: str) -> None:
    """The Markdown description that the UI shows on top of the open run."""
    mlflow.set_tag("mlflow.note.content", text)


def log_figures(figures: Mapping[str, Figure], folder: str = "plots") -> None:
    """Each figure as a PNG."""
    for name, figure in figures.items():
        mlflow.log_figure(figure, f"{folder}/{name}.png", save_kwargs={"dpi": 130, "bbox_inches": "tight"})


def log_table(name: str, table: pd.DataFrame) -> None:
    """A table that the UI shows and compares between runs, and the same as CSV."""
    mlflow.log_table(table.astype(object).where(table.notna(), None), f"tables/{name}.json")
    mlflow.log_text(table.to_csv(index=False), f"tables/{name}.csv")


def log_text(text: str, path: str) -> None:
    """A text artifact."""
    mlflow.log_text(text, path)


def log_json(content: Any, path: str) -> None:
    """A JSON artifact."""
    mlflow.log_dict(content, path)


def log_file(path: Path, folder: str | None = None) -> None:
    """A file, or a folder with all in it, as artifacts."""
    if path.is_dir():
        mlflow.log_artifacts(str(path), folder)
    else:
        mlflow.log_artifact(str(path), folder)


def log_dataset(rows: Any, name: str, digest: str, context: str) -> None:
    """A split as the run's input: its name, digest and size, not its rows."""
    dataset = from_huggingface(rows, name=name, targets="label", digest=digest[:32])
    mlflow.log_input(dataset, context=context)


def download(run_id: str, path: str, folder: Path | None = None) -> Path:
    """A run's artifact as a local path.

    Raises:
        ValueError: the run has no such artifact.
    """
    try:
        local = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path, dst_path=_made(folder))
    except (MlflowException, OSError) as error:
        raise ValueError(f"run {run_id} has no artifact '{path}'.") from error
    return Path(local)


def artifact_text(run_id: str, path: str) -> str | None:
    """A run's text artifact, or None when it has none."""
    try:
        return mlflow.artifacts.load_text(f"runs:/{run_id}/{path}")
    except (MlflowException, OSError):
        return None


def artifact_json(run_id: str, path: str) -> Any:
    """A run's JSON artifact."""
    return mlflow.artifacts.load_dict(f"runs:/{run_id}/{path}")


def find_runs(tags: Mapping[str, str], *, finished: bool = True) -> list[Run]:
    """Runs with all of these tags, newest first; only those that ended well unless asked otherwise."""
    client = MlflowClient()
    wanted = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
    if finished:
        wanted += ["attributes.status = 'FINISHED'", f"tags.`{DONE_TAG}` = 'true'"]
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, " and ".join(wanted), order_by=["attributes.start_time DESC"]))


def get_run(run_id: str) -> Run:
    """A run by its id.

    Raises:
        ValueError: there is none.
    """
    try:
        return MlflowClient().get_run(run_id)
    except MlflowException as error:
        raise ValueError(f"run '{run_id}': not in the tracking store {mlflow.get_tracking_uri()}.") from error


def tracking_uri() -> str:
    """Where runs are kept."""
    return str(mlflow.get_tracking_uri())


def _is_dead(run: Run) -> bool:
    tag = run.data.tags.get(PROCESS_TAG)
    if tag is None:
        return _never_started(run)
    return process_is_gone(tag)


def _never_started(run: Run) -> bool:
    if run.data.tags.get("mlflow.source.type") != "PROJECT":
        return False
    if run.data.tags.get("mlflow.project.env") == "conda" and shutil.which("conda") is None:
        return True
    return time.time() - run.info.start_time / 1000 > NOT_STARTED_AFTER_SECONDS


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        value = ",".join(str(part) for part in value)
    return str(value)[:PARAMETER_LENGTH]


def _metric_key(key: str) -> str:
    return "".join(c if c.isalnum() or c in "_-./ " else "_" for c in key)


def _made(folder: Path | None) -> str | None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return str(folder) if folder else None
