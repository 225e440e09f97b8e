"""The files of a logged model: their digests are recorded when it is logged, and checked whenever it is read."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from evenodd.classifier.faults import first_line
from evenodd.storage import DamagedError, check_digests, digests
from evenodd.tracking.downloads import model_folder
from evenodd.tracking.store import answering

log = logging.getLogger(__name__)

FILES_TAG = "evenodd.files"
WRITTEN_BY_READERS = ("registered_model_meta",)
"""Files without a digest: MLflow writes them into a model's folder when it is read as a registered version."""


def record_files(uri: str) -> None:
    """Records the digests of all files of a model that was just logged: weights, tokenizer, configuration, task."""
    found = digests(_folder(uri), without=WRITTEN_BY_READERS)
    MlflowClient().set_logged_model_tags(_model_id(uri), {FILES_TAG: json.dumps(found)})


def sound_files(uri: str) -> Path:
    """The files of a logged model on this machine, unchanged since it was logged.

    Args:
        uri: `models:/ID` of a logged model, or `models:/NAME/VERSION`.

    Raises:
        RuntimeError: files are missing or damaged; the message names the first.
        StoreUnreachableError: the store does not answer.
    """
    try:
        with answering():
            folder, recorded = _folder(uri), recorded_files(uri)
    except (MlflowException, OSError) as error:
        raise RuntimeError(f"model '{uri}' cannot be loaded: {first_line(error)}") from error
    if not recorded:
        log.warning("model '%s' was logged without digests of its files: they are not checked", uri)
        return folder
    try:
        check_digests(folder, recorded)
    except DamagedError as error:
        raise RuntimeError(f"model '{uri}' cannot be loaded: {error} Fit it again, or name another version.") from error
    return folder


def _folder(uri: str) -> Path:
    return model_folder(uri, str(MlflowClient().get_logged_model(_model_id(uri)).artifact_location))


def recorded_files(uri: str) -> dict[str, str]:
    """Digests of a model's files when it was logged, by name; empty if this package did not log it."""
    return dict(json.loads(MlflowClient().get_logged_model(_model_id(uri)).tags.get(FILES_TAG, "{}")))


def _model_id(uri: str) -> str:
    name, _, version = uri.removeprefix("models:/").partition("/")
    return str(MlflowClient().get_model_version(name, version).source).removeprefix("models:/") if version else name
