"""Runs: opened and closed, what is logged in them, and what is read back."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.data.huggingface_dataset import from_huggingface
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from evenodd.settings import Settings, flatten, is_among
from evenodd.storage import DamagedError, file_digest
from evenodd.tracking import store
from evenodd.tracking.leases import BEAT_TAG, HEART, OWNER_TAG, Silence, mark, next_beat
from evenodd.tracking.outbox import OUTBOX

log = logging.getLogger(__name__)

DONE_TAG = "evenodd.done"
DEFAULT_EXPERIMENT = "0"
OUR_EXPERIMENT = "EVENODD_EXPERIMENT_ID"
"""Environment variable: `MLFLOW_EXPERIMENT_ID` as `configure` set it, so that it is no choice of the user's."""
DIGESTS_TAG = "evenodd.artifacts"
"""Digests of a run's artifacts, as JSON: of those that are read back, one that differs is not what was written."""
PARAMETER_LENGTH, DIGEST_LENGTH = 500, 32

_digests: dict[str, dict[str, str]] = {}


def configure(experiment: str) -> None:
    """Chooses where this command's runs go, and closes interrupted runs.

    An experiment that the user chose goes first: by `--experiment-name`, by MLflow's environment variables or by
    `mlflow.set_experiment`. Else it is `experiment`, also under `mlflow run`, which has then opened its own run in
    MLflow's default experiment: that one is left with a note of where the others are.

    Raises:
        RuntimeError: the store does not answer, or its database is damaged.
    """
    _quieten()
    store.prepare()
    with store.answering():
        _choose_experiment(experiment)
        close_interrupted()


def _choose_experiment(experiment: str) -> None:
    _leave_default(experiment)
    ours = os.environ.get(OUR_EXPERIMENT) == os.environ.get("MLFLOW_EXPERIMENT_ID", "")
    chosen = {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", *(() if ours else ("MLFLOW_EXPERIMENT_ID",))}
    if not chosen & set(os.environ):
        os.environ[OUR_EXPERIMENT] = mlflow.set_experiment(experiment).experiment_id
        mlflow.set_experiment_tag("mlflow.experimentKind", "custom_model_development")


def _leave_default(experiment: str) -> None:
    """Takes this process out of the run that `mlflow run` opened, where nobody chose its experiment."""
    run_id, client = os.environ.get("MLFLOW_RUN_ID"), MlflowClient()
    if run_id is None or client.get_run(run_id).info.experiment_id != DEFAULT_EXPERIMENT:
        return
    for key, value in mark().items():
        client.set_tag(run_id, key, value)
    HEART.watch(partial(_beat, run_id))
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
    own = {**mark(), **tags}
    above = None if mlflow.active_run() else parent
    run = mlflow.start_run(run_name=name, nested=nested, parent_run_id=above, tags=own, log_system_metrics=True)
    run_id, ended = run.info.run_id, "FAILED"
    try:
        mlflow.set_tags({**own, "mlflow.runName": name})
        with HEART.beating(partial(_beat, run_id)):
            yield run_id
        OUTBOX.flush()
        mlflow.set_tags({DIGESTS_TAG: json.dumps(_digests.get(run_id, {})), DONE_TAG: "true"})
        ended = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        ended = "KILLED"
        raise
    finally:
        _digests.pop(run_id, None)
        _end(ended)


def _end(status: str) -> None:
    """Closes the innermost run. After an error, one that cannot be closed is told, and the first error stands."""
    first = sys.exc_info()[1]
    try:
        mlflow.end_run(status)
    except (MlflowException, SQLAlchemyError) as error:
        if first is None:
            raise
        log.warning("the run could not be closed (%s): it is when nothing is heard of it", type(error).__name__)


def _beat(run_id: str) -> bool:
    """Shows that a run's process is there; always to be called again."""
    with suppress(MlflowException):
        MlflowClient().set_tag(run_id, BEAT_TAG, next_beat())
    return True


def experiment_name() -> str:
    """Name of the experiment that the open run belongs to."""
    run = mlflow.active_run()
    return str(mlflow.get_experiment(run.info.experiment_id).name) if run else ""


def active_run_id() -> str | None:
    """Id of the innermost open run."""
    run = mlflow.active_run()
    return run.info.run_id if run else None


def close_interrupted() -> list[str]:
    """Closes runs of this package whose process is gone; their ids. Runs of others are not touched.

    Of a process elsewhere it shows only by its silence: such runs are watched while this process goes on.
    """
    client, closed, silence = MlflowClient(), [], Silence()
    for run in _running(client):
        if silence.lapsed(run.info.run_id, run.data.tags[OWNER_TAG], run.data.tags.get(BEAT_TAG, "")):
            _close(client, run)
            closed.append(run.info.run_id)
    if silence.heard:
        HEART.watch(partial(_close_silent, silence))
    if closed:
        log.info("closed %d interrupted run(s): %s", len(closed), ", ".join(closed))
    return closed


def _running(client: MlflowClient) -> list[Run]:
    """Open runs of this package, in whatever process."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    wanted = f"attributes.status = 'RUNNING' and tags.`{OWNER_TAG}` LIKE '%'"
    return list(client.search_runs(experiments, wanted, run_view_type=ViewType.ALL))


def _close(client: MlflowClient, run: Run) -> None:
    """Its result stands if all of it was written: that tag is the one mark of it."""
    client.set_terminated(run.info.run_id, "FINISHED" if DONE_TAG in run.data.tags else "KILLED")


def _close_silent(silence: Silence) -> bool:
    """Closes those of the watched runs that have been silent for too long; whether there are others still."""
    client = MlflowClient()
    with suppress(MlflowException):
        for run_id in list(silence.heard):
            run = client.get_run(run_id)
            if run.info.status != "RUNNING":
                silence.forget(run_id)
            elif silence.lapsed(run_id, run.data.tags.get(OWNER_TAG, ""), run.data.tags.get(BEAT_TAG, "")):
                _close(client, run)
                silence.forget(run_id)
                log.info("closed an interrupted run of another machine: %s", run_id)
    return bool(silence.heard)


def log_settings(settings: Settings, parts: tuple[str, ...]) -> None:
    """Settings of these sections and names; what `mlflow run` has recorded already is left as it stands."""
    run = mlflow.active_run()
    recorded = MlflowClient().get_run(run.info.run_id).data.params if run else {}
    flat = flatten(settings)
    said = {key: value for key, value in flat.items() if value is not None and is_among(key, parts)}
    chosen = {key: _text(value) for key, value in said.items()}
    mlflow.log_params({key: value for key, value in chosen.items() if key not in recorded})


def log_metrics(metrics: Mapping[str, float], step: int | None = None, *, run_id: str | None = None) -> None:
    """Named figures of the open run, or of another one; those that are not numbers are left out.

    With a step they are sent in the background, and kept while the store is away.
    """
    finite = {_metric_key(key): float(value) for key, value in metrics.items() if value is not None and value == value}
    owner = run_id or active_run_id()
    if step is None or owner is None:
        mlflow.log_metrics(finite, step=step, run_id=run_id)
    else:
        OUTBOX.add(owner, finite, step)


def flush() -> None:
    """Waits until everything logged in the background has arrived.

    Raises:
        RuntimeError: the store does not answer for ten minutes.
    """
    OUTBOX.flush()


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
    log_text(table.to_csv(index=False), f"tables/{name}.csv")


def log_text(text: str, path: str) -> None:
    """A text artifact."""
    mlflow.log_text(text, path)
    _record(path, hashlib.sha256(text.encode()).hexdigest())


def log_json(content: Any, path: str) -> None:
    """A JSON artifact."""
    log_text(json.dumps(content, indent=1, ensure_ascii=False), path)


def log_file(path: Path, folder: str | None = None) -> None:
    """A file, or a folder with all in it, as artifacts."""
    if path.is_dir():
        mlflow.log_artifacts(str(path), folder)
    else:
        mlflow.log_artifact(str(path), folder)
        _record(f"{folder}/{path.name}" if folder else path.name, file_digest(path))


def _record(path: str, digest: str) -> None:
    """Notes the digest of an artifact of the open run, which is written down when the run is done."""
    run_id = active_run_id()
    if run_id:
        _digests.setdefault(run_id, {})[path] = digest[:DIGEST_LENGTH]


def log_dataset(rows: Any, name: str, digest: str, context: str) -> None:
    """A split as the run's input: its name, digest and size, not its rows."""
    dataset = from_huggingface(rows, name=name, targets="label", digest=digest[:32])
    mlflow.log_input(dataset, context=context)


def download(run_id: str, path: str, folder: Path | None = None) -> Path:
    """A run's artifact as a local path.

    Raises:
        ValueError: the run has no such artifact.
        RuntimeError: it is damaged: not what the run wrote.
    """
    try:
        with store.answering():
            local = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path, dst_path=_made(folder))
    except (MlflowException, OSError) as error:
        raise ValueError(f"run {run_id} has no artifact '{path}'.") from error
    run = get_run(run_id)
    written = json.loads(run.data.tags.get(DIGESTS_TAG, "{}")).get(path)
    if written is not None and not file_digest(Path(local)).startswith(written):
        raise DamagedError(
            f"run {run_id}: its artifact '{path}' is damaged: SHA-256 {file_digest(Path(local))[:12]}… instead of "
            f"{written[:12]}…. Fit it again (-P fresh=true), or restore {run.info.artifact_uri}/{path}."
        )
    return Path(local)


def check_artifacts(run: Run, names: tuple[str, ...]) -> None:
    """Reads those artifacts of a run whose path begins so.

    Raises:
        ValueError: one is not there.
        RuntimeError: one is damaged.
    """
    for path in json.loads(run.data.tags.get(DIGESTS_TAG, "{}")):
        if path.startswith(names):
            download(run.info.run_id, path)


def artifact_text(run_id: str, path: str) -> str | None:
    """A run's text artifact, or None when it has none.

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
    """Runs with all of these tags, newest first; only those whose result is whole unless asked otherwise."""
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


def tracking_uri() -> str:
    """Where runs are kept."""
    return str(mlflow.get_tracking_uri())


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
