"""Chains of commands: one of a test's own, and one whose `main` has run to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from reliability_chain import Chain, make_chain
from tracking_store import mlflow_store


@pytest.fixture
def chain(tmp_path: Path, empty_store: Path) -> Iterator[Chain]:
    """A chain of a test's own."""
    made = make_chain(tmp_path, empty_store)
    with mlflow_store(made.environ["MLFLOW_TRACKING_URI"]):
        yield made
        made.end()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Chain]:
    """A chain whose `main` has run to its end."""
    made = make_chain(tmp_path_factory.mktemp("finished"), empty_store)
    with mlflow_store(made.environ["MLFLOW_TRACKING_URI"]):
        done = made.run()
        assert done.returncode == 0, done.stderr[-3000:]
        yield made
        made.end()
