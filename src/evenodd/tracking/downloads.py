"""Artifacts on this machine: local ones in place, others in a folder that is deleted when the process ends.

MLflow creates a temporary folder for every download and never deletes it.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import mlflow


def download_run_file(run_id: str, path: str, folder: Path | None = None) -> Path:
    """Copies a run's artifact to a folder, by default to this process's own.

    Raises:
        MlflowException, OSError: the run has no such artifact, or the store does not answer.
    """
    target = folder or _own_folder() / run_id
    target.mkdir(parents=True, exist_ok=True)
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path, dst_path=str(target)))


def model_folder(uri: str, location: str) -> Path:
    """Folder of a logged model's files.

    Args:
        uri: `models:/...`.
        location: where the store keeps the files: a path or URL.

    Raises:
        MlflowException, OSError: the files are gone, or the store does not answer.
    """
    local = urlsplit(location).scheme in ("", "file")
    target = None if local else str(_own_folder() / Path(urlsplit(location).path).parent.name)
    return Path(mlflow.artifacts.download_artifacts(uri, dst_path=target))


def _own_folder() -> Path:
    return Path(_temporary().name)


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="evenodd-")
