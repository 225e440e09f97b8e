"""What is logged in a run: settings, figures, curves, tags, tables, plots, files, data sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.data.huggingface_dataset import from_huggingface
from mlflow.exceptions import MlflowException

from evenodd.settings import Settings, flatten, is_among
from evenodd.storage import file_digest
from evenodd.tracking.outbox import OUTBOX

PARAMETER_LENGTH, DIGEST_LENGTH = 500, 32

_digests: dict[str, dict[str, str]] = {}


def take_digests(run_id: str) -> dict[str, str]:
    """Digests of what was logged in a run, by path; they are not kept any longer."""
    return _digests.pop(run_id, {})


def active_run_id() -> str | None:
    """Id of the innermost open run."""
    run = mlflow.active_run()
    return run.info.run_id if run else None


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


ALREADY_THERE = ("UNIQUE constraint", "duplicate key", "Duplicate entry")
"""As SQLite, PostgreSQL and MySQL say that a row is there."""


def log_dataset(rows: Any, name: str, digest: str, context: str) -> None:
    """A split as the run's input: its name, digest and size, not its rows."""
    dataset = from_huggingface(rows, name=name, targets="label", digest=digest[:32])
    try:
        mlflow.log_input(dataset, context=context)
    except MlflowException as error:
        if not any(words in str(error) for words in ALREADY_THERE):
            raise
        mlflow.log_input(dataset, context=context)  # another fit of the same rows wrote it between look-up and insert


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        value = ",".join(str(part) for part in value)
    return str(value)[:PARAMETER_LENGTH]


def _metric_key(key: str) -> str:
    return "".join(c if c.isalnum() or c in "_-./ " else "_" for c in key)
