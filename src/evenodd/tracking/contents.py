"""Logging to a run: settings, figures, curves, tags, tables, plots, files, data sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import yaml
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.data.huggingface_dataset import from_huggingface
from mlflow.entities import LoggedModelInput, LoggedModelOutput
from mlflow.exceptions import MlflowException

from evenodd.settings import Settings, flatten, is_among
from evenodd.storage import file_digest
from evenodd.tracking.names import CURVES, METRICS, stored
from evenodd.tracking.outbox import OUTBOX
from evenodd.tracking.reading import FIGURES, SETTINGS

PARAMETER_LENGTH, DIGEST_LENGTH = 500, 32

_digests: dict[str, dict[str, str]] = {}


def take_digests(run_id: str) -> dict[str, str]:
    """Returns and forgets the digests of what was logged in a run, by path."""
    return _digests.pop(run_id, {})


def active_run_id() -> str | None:
    """Id of the innermost open run."""
    run = mlflow.active_run()
    return run.info.run_id if run else None


def log_settings(
    settings: Settings,
    parts: tuple[str, ...],
    facts: Mapping[str, Any] | None = None,
    *,
    usual: Settings | None = None,
) -> None:
    """Logs all settings of these sections and names as an artifact, and the unusual ones as parameters.

    Args:
        settings: of the run.
        parts: sections and dotted settings that matter to it.
        facts: further parameters that distinguish runs, such as `variant` and `rows`; they come first.
        usual: the defaults; a setting that equals its default is not a parameter.
    """
    flat, defaults = flatten(settings), flatten(usual or Settings())
    used = {key: value for key, value in flat.items() if is_among(key, parts)}
    log_text(yaml.safe_dump({key: _plain(value) for key, value in used.items()}, sort_keys=False), SETTINGS)
    log_parameters(
        {**(facts or {}), **{key: value for key, value in used.items() if value not in (None, defaults[key])}}
    )


def log_parameters(chosen: Mapping[str, Any]) -> None:
    """Parameters of the open run; those that `mlflow run` has recorded already are kept."""
    run_id = active_run_id()
    recorded = MlflowClient().get_run(run_id).data.params if run_id else {}
    mlflow.log_params({key: _text(value) for key, value in chosen.items() if key not in recorded})


def log_metrics(metrics: Mapping[str, float], *, run_id: str | None = None, model_uri: str | None = None) -> None:
    """Final figures of the open run or another one; NaN and None are left out.

    They are logged at step 0, so that MLflow draws bars.

    Args:
        metrics: by name, in reading order.
        run_id: of another run.
        model_uri: of the logged model that they belong to.
    """
    model_id = model_uri.removeprefix("models:/") if model_uri else None
    mlflow.log_metrics(_finite(metrics), step=0, run_id=run_id, model_id=model_id)


def log_measured(figures: Mapping[str, float], model_uri: str | None = None) -> None:
    """Logs all figures of the open run as an artifact, and those that people compare as metrics."""
    finite = {key: float(value) for key, value in figures.items() if value is not None and value == value}
    log_json(finite, FIGURES)
    log_metrics({key: finite[key] for key in METRICS if key in finite}, model_uri=model_uri)


def log_curves(metrics: Mapping[str, float], step: int) -> None:
    """Points of the curves of a fit, sent in the background, and kept while the store is unreachable."""
    owner = active_run_id()
    if owner is not None:
        OUTBOX.add(owner, _finite({CURVES[key]: value for key, value in metrics.items() if key in CURVES}), step)


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {stored(key): float(value) for key, value in metrics.items() if value is not None and value == value}


def flush() -> None:
    """Waits until everything logged in the background has arrived.

    Raises:
        RuntimeError: the store does not answer for ten minutes.
    """
    OUTBOX.flush()


def set_tags(tags: Mapping[str, Any]) -> None:
    """Tags of the open run."""
    mlflow.set_tags({key: _text(value) for key, value in tags.items()})


def rename_run(name: str) -> None:
    """Renames the open run."""
    mlflow.set_tag("mlflow.runName", name)


def link_models(uris: Sequence[str], *, made: bool) -> None:
    """Links logged models to the open run, as its outputs (`made`) or its inputs."""
    run_id, ids = active_run_id() or "", list(dict.fromkeys(uri.removeprefix("models:/") for uri in uris))
    if made:
        MlflowClient().log_outputs(run_id, models=[LoggedModelOutput(model_id, step=0) for model_id in ids])
    else:
        MlflowClient().log_inputs(run_id, models=[LoggedModelInput(model_id) for model_id in ids])


def describe(text: str) -> None:
    """The Markdown description that the UI shows on top of the open run."""
    mlflow.set_tag("mlflow.note.content", text)


def log_figures(figures: Mapping[str, Figure], folder: str = "plots") -> None:
    """Each figure as a PNG."""
    for name, figure in figures.items():
        mlflow.log_figure(figure, f"{folder}/{name}.png", save_kwargs={"dpi": 130, "bbox_inches": "tight"})


def log_table(name: str, table: pd.DataFrame) -> None:
    """A table that the UI shows and compares between runs, and as CSV."""
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
    """A file or a folder as artifacts."""
    if path.is_dir():
        mlflow.log_artifacts(str(path), folder)
    else:
        mlflow.log_artifact(str(path), folder)
        _record(f"{folder}/{path.name}" if folder else path.name, file_digest(path))


def _record(path: str, digest: str) -> None:
    """Remembers the digest of an artifact of the open run, which is stored when the run is done."""
    run_id = active_run_id()
    if run_id:
        _digests.setdefault(run_id, {})[path] = digest[:DIGEST_LENGTH]


ALREADY_THERE = ("UNIQUE constraint", "duplicate key", "Duplicate entry")
"""Error texts of SQLite, PostgreSQL and MySQL if a row already exists."""


def log_dataset(rows: Any, name: str, digest: str, context: str) -> None:
    """A split as the run's input: its name, digest and size, not its rows."""
    dataset = from_huggingface(rows, name=name, targets="label", digest=digest[:32])
    try:
        mlflow.log_input(dataset, context=context)
    except MlflowException as error:
        if not any(words in str(error) for words in ALREADY_THERE):
            raise
        mlflow.log_input(dataset, context=context)  # another fit of the same rows inserted it meanwhile


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        value = ",".join(str(part) for part in value)
    return str(value)[:PARAMETER_LENGTH]


def _plain(value: Any) -> Any:
    """A setting as a plain YAML value."""
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
