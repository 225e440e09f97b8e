"""Checks of the tracking store, and messages about a store that cannot be used."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

# An unreachable server is reported within a minute (three retries over 24 s); MLflow's defaults take seven.
HTTP = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "4",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
SQLITE = "sqlite:///"
WAY_ON = "Finished work is kept: run the same command again when the server is back."


class StoreUnreachableError(RuntimeError):
    """The tracking store does not answer."""


def prepare() -> None:
    """Sets the time-outs of a server, and refuses a damaged database.

    Raises:
        RuntimeError: the file of an SQLite store is empty, or not a database.
    """
    for name, value in HTTP.items():
        os.environ.setdefault(name, value)
    for uri in {mlflow.get_tracking_uri(), mlflow.get_registry_uri()}:
        if str(uri).startswith(SQLITE):
            _check_sqlite(Path(str(uri).removeprefix(SQLITE)))


def _check_sqlite(path: Path) -> None:
    if not path.is_file():
        return
    what = "is empty (0 bytes)" if path.stat().st_size == 0 else _fault(path)
    if what:
        raise RuntimeError(
            f"tracking store {path}: the file {what}. Restore it from a backup, or move it away to start a new store "
            "without the earlier runs and versions."
        )


def _fault(path: Path) -> str:
    """The fault of a database; empty if its header and its tables can be read."""
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as base:
            base.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        return "" if "locked" in str(error) else f"cannot be read ({error})"
    return ""


def is_missing(error: MlflowException) -> bool:
    """Whether the store answered that the item does not exist."""
    return error.error_code == "RESOURCE_DOES_NOT_EXIST"


def is_unreachable(error: BaseException) -> bool:
    """Whether the store did not answer."""
    return isinstance(error, MlflowException) and str(error).startswith("API request to ")


@contextmanager
def answering() -> Iterator[None]:
    """Within it, an unreachable store raises its own error and is never mistaken for a missing item.

    Raises:
        StoreUnreachableError: the store does not answer.
    """
    try:
        yield
    except MlflowException as error:
        if is_unreachable(error):
            raise StoreUnreachableError(away_text()) from error
        raise


def away_text() -> str:
    """The message about a store that does not answer."""
    return f"the tracking server {mlflow.get_tracking_uri()} does not answer. {WAY_ON}"
