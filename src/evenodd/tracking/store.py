"""The tracking store itself: whether it is there, and what is told when it is not."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

# A server that is gone is told within a minute, where MLflow's own defaults take seven: three retries over 24 s.
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
    """Sets how long a server is waited for, and refuses a database that was emptied.

    Raises:
        RuntimeError: the file of an SQLite store holds nothing, or is none.
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
            f"tracking store {path}: the file {what}. Restore it from a backup; or move it away, and a new store is "
            "begun, which knows none of the earlier runs and versions."
        )


def _fault(path: Path) -> str:
    """What is wrong with a database; empty when its header and its tables can be read."""
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as base:
            base.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        return "" if "locked" in str(error) else f"cannot be read ({error})"
    return ""


def is_missing(error: MlflowException) -> bool:
    """Whether the store answered that there is no such thing."""
    return error.error_code == "RESOURCE_DOES_NOT_EXIST"


def is_unreachable(error: BaseException) -> bool:
    """Whether the store did not answer."""
    return isinstance(error, MlflowException) and str(error).startswith("API request to ")


@contextmanager
def answering() -> Iterator[None]:
    """Within it, a store that does not answer is an error of its own and never "there is none".

    Raises:
        StoreUnreachableError: it does not answer.
    """
    try:
        yield
    except MlflowException as error:
        if is_unreachable(error):
            raise StoreUnreachableError(away_text()) from error
        raise


def away_text() -> str:
    """What is told of a store that does not answer."""
    return f"the tracking server {mlflow.get_tracking_uri()} does not answer. {WAY_ON}"
