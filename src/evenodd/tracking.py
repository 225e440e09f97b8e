"""MLflow: runs, metrics, models and the registry. The only module of the package that imports mlflow."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import psutil
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.data.huggingface_dataset import from_huggingface
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from evenodd.config import Settings, flatten

log = logging.getLogger(__name__)

PROCESS_TAG = "evenodd.process"
DONE_TAG = "evenodd.done"
NOT_STARTED_AFTER_SECONDS = 600
PARAMETER_LENGTH = 500
# A process's time of creation is told from the clock, which may have been set since.
CLOCK_SHIFT_SECONDS = 2.0


def configure(experiment: str) -> None:
    """Chooses the experiment, unless `mlflow run` or the environment has, and closes interrupted runs."""
    for name in (
        "alembic",
        "mlflow.store",
        "mlflow.transformers",
        "mlflow.types",
        "mlflow.models",
        "mlflow.system_metrics",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)
    if not {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"} & set(os.environ):
        mlflow.set_experiment(experiment)
        mlflow.set_experiment_tag("mlflow.experimentKind", "custom_model_development")
    close_interrupted()


@contextmanager
def start_run(name: str, *, tags: Mapping[str, str], nested: bool = False) -> Iterator[str]:
    """A run that ends FINISHED, FAILED after an error, or KILLED after an interruption; yields its id.

    The run that `mlflow run` made is taken up when there is one. Metrics of the machine are sampled while it lasts.
    """
    own = {PROCESS_TAG: _process_name(), **tags}
    with mlflow.start_run(run_name=name, nested=nested, tags=own, log_system_metrics=True) as run:
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


def log_settings(settings: Settings, sections: tuple[str, ...]) -> None:
    """Resolved settings under dotted names; those that `mlflow run` has recorded already are left as they stand."""
    run = mlflow.active_run()
    recorded = MlflowClient().get_run(run.info.run_id).data.params if run else {}
    flat = flatten(settings)
    said = {key: value for key, value in flat.items() if value is not None and key.partition(".")[0] in sections}
    chosen = {key: _text(value) for key, value in said.items()}
    mlflow.log_params({key: value for key, value in chosen.items() if key not in recorded})


def log_metrics(metrics: Mapping[str, float], step: int | None = None) -> None:
    """Named figures; those that are not numbers are left out."""
    finite = {_metric_key(key): float(value) for key, value in metrics.items() if value is not None and value == value}
    mlflow.log_metrics(finite, step=step, synchronous=step is None)


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


@dataclass(frozen=True)
class ModelEntry:
    """What the registry and the model page show of a model."""

    registered_name: str
    variant: str
    description: str
    tags: dict[str, str] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)


def log_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, entry: ModelEntry) -> str:
    """Logs a plain classifier with its tokenizer as a text-classification pipeline; its URI.

    Raises:
        ValueError: the model still carries adapters, which would be saved without their weights.
    """
    if hasattr(model, "peft_config"):
        raise ValueError("the model carries adapters: merge them first (evenodd.variants.merge_lora).")
    # mlflow looks this name up at a hub; one with a space cannot be there, so the look-up ends at once.
    model.name_or_path = model.config._name_or_path = f"evenodd {entry.variant}"
    info = mlflow.transformers.log_model(
        {"model": model, "tokenizer": tokenizer},
        name=entry.variant,
        task="text-classification",
        signature=TEXT_SIGNATURE,
        input_example=["You are all welcome here."],
        pip_requirements=list(entry.requirements),
        metadata={**entry.metadata, "description": entry.description},
        model_config={"truncation": True},
        tags={key: str(value) for key, value in entry.tags.items()},
    )
    return str(info.model_uri)


def log_onnx(path: Path, entry: ModelEntry, inputs: tuple[str, ...]) -> str:
    """Logs an ONNX graph of int64 inputs, (batch, tokens), to float32 logits; its URI."""
    import onnx

    tokens: list[ColSpec | TensorSpec] = [TensorSpec(np.dtype(np.int64), (-1, -1), name) for name in inputs]
    logits: list[ColSpec | TensorSpec] = [TensorSpec(np.dtype(np.float32), (-1, -1), "logits")]
    info = mlflow.onnx.log_model(
        onnx.load(str(path)),
        name=f"{entry.variant}-onnx",
        signature=ModelSignature(Schema(tokens), Schema(logits)),
        pip_requirements=list(entry.requirements),
        metadata={**entry.metadata, "description": entry.description},
        save_as_external_data=False,
    )
    return str(info.model_uri)


TEXT_SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string)]),
    outputs=Schema([ColSpec(DataType.string, "label"), ColSpec(DataType.double, "score")]),
)


def register(model_uri: str, entry: ModelEntry, aliases: tuple[str, ...]) -> str:
    """A version of the registered model with its aliases; its number. The last step of a run."""
    client = MlflowClient()
    run_id = active_run_id()
    _ensure_registered(client, entry.registered_name)
    drop_half_registered(entry.registered_name)
    version = client.create_model_version(
        entry.registered_name,
        source=model_uri,
        run_id=run_id,
        tags={key: str(value) for key, value in entry.tags.items()},
        description=entry.description,
        model_id=model_uri.removeprefix("models:/"),
    )
    for alias in aliases:
        client.set_registered_model_alias(entry.registered_name, alias, version.version)
    return str(version.version)


def drop_half_registered(registered_name: str) -> None:
    """Deletes versions whose run was interrupted after registering them."""
    client = MlflowClient()
    for version in client.search_model_versions(f"name = '{registered_name}'"):
        if version.run_id and version.run_id != active_run_id():
            try:
                run = client.get_run(version.run_id)
            except MlflowException:
                continue
            if run.info.status in ("KILLED", "FAILED") and DONE_TAG not in run.data.tags:
                log.info("version %s of %s was half registered and is deleted", version.version, registered_name)
                client.delete_model_version(registered_name, version.version)


def _ensure_registered(client: MlflowClient, name: str) -> None:
    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(name, description="Variants of one text classifier; see the version's run.")


@dataclass(frozen=True)
class Version:
    """A registered version."""

    name: str
    version: str
    run_id: str
    uri: str
    tags: dict[str, str]


def find_version(reference: str, default_name: str) -> Version:
    """A version by `name@alias`, `name/version`, or an alias of the default name.

    Raises:
        ValueError: there is none; the message names the aliases and versions there are.
    """
    client = MlflowClient()
    name, separator, rest = reference.partition("@") if "@" in reference else reference.partition("/")
    if not separator:
        name, rest = default_name, reference
    try:
        by_number = rest.isdigit()
        found = client.get_model_version(name, rest) if by_number else client.get_model_version_by_alias(name, rest)
    except MlflowException as error:
        raise ValueError(f"model='{reference}': not in the registry. {_known_versions(client, name)}") from error
    return Version(name, str(found.version), str(found.run_id), f"models:/{name}/{found.version}", dict(found.tags))


def aliases(registered_name: str) -> dict[str, str]:
    """Alias to version number."""
    try:
        return {k: str(v) for k, v in MlflowClient().get_registered_model(registered_name).aliases.items()}
    except MlflowException:
        return {}


def set_alias(registered_name: str, alias: str, version: str) -> None:
    """Points an alias at a version."""
    MlflowClient().set_registered_model_alias(registered_name, alias, version)


@contextmanager
def exclusive(name: str, purpose: str) -> Iterator[None]:
    """Holds a lock that every client of this tracking server sees: a registered model that only one can create.

    A lock whose process on this machine is gone is taken over.

    Raises:
        RuntimeError: somebody else holds it.
    """
    client, lock = MlflowClient(), f"{name}.lock"
    for attempt in (1, 2):
        try:
            client.create_registered_model(lock, tags={PROCESS_TAG: _process_name()}, description=purpose)
            break
        except MlflowException as error:
            if attempt == 2 or not _drop_dead_lock(client, lock):
                raise RuntimeError(
                    f"{purpose}: another one is under way (lock '{lock}'). Try again when it is done."
                ) from error
    try:
        yield
    finally:
        client.delete_registered_model(lock)


def _drop_dead_lock(client: MlflowClient, lock: str) -> bool:
    try:
        tag = client.get_registered_model(lock).tags.get(PROCESS_TAG)
    except MlflowException:
        return True
    if tag is None or not _process_is_gone(tag):
        return False
    client.delete_registered_model(lock)
    return True


def tag_version(version: Version, tags: Mapping[str, str]) -> None:
    """Adds tags to a registered version."""
    for key, value in tags.items():
        MlflowClient().set_model_version_tag(version.name, version.version, key, value)


def load_model(uri: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A logged classifier and its tokenizer, by `models:/…` URI.

    Raises:
        RuntimeError: its files are gone or damaged.
    """
    try:
        parts = mlflow.transformers.load_model(uri, return_type="components")
    except (MlflowException, OSError, ValueError) as error:
        raise RuntimeError(f"model '{uri}' cannot be loaded: {str(error).splitlines()[0]}") from error
    return parts["model"], parts["tokenizer"]


def model_metadata(uri: str) -> dict[str, Any]:
    """What was stored with a logged model: labels, decision, data, layer map."""
    return dict(mlflow.models.get_model_info(uri).metadata or {})


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


def _process_name() -> str:
    process = psutil.Process()
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.2f}"


def _is_dead(run: Run) -> bool:
    tag = run.data.tags.get(PROCESS_TAG)
    if tag is None:
        return _never_started(run)
    return _process_is_gone(tag)


def _process_is_gone(tag: str) -> bool:
    host, pid, created = tag.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(created)) > CLOCK_SHIFT_SECONDS
    except psutil.NoSuchProcess:
        return True


def _never_started(run: Run) -> bool:
    if run.data.tags.get("mlflow.source.type") != "PROJECT":
        return False
    if run.data.tags.get("mlflow.project.env") == "conda" and shutil.which("conda") is None:
        return True
    return time.time() - run.info.start_time / 1000 > NOT_STARTED_AFTER_SECONDS


def _known_versions(client: MlflowClient, name: str) -> str:
    known = ", ".join(sorted(aliases(name)))
    quoted = name.replace("'", "''")
    versions = sorted((int(v.version) for v in client.search_model_versions(f"name = '{quoted}'")), reverse=True)
    if not versions:
        return f"'{name}' has no versions yet: train one first, e.g. mlflow run . -e distill_odd."
    return f"'{name}' has the aliases {known or 'none'} and versions up to {versions[0]}."


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
