"""MLflow over a store of a test's own, with nothing left behind for the next test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
import pytest

REMEMBERED = {
    "mlflow.tracking.fluent._active_experiment_id",
    "mlflow.tracking._model_registry.utils._registry_uri",
    "mlflow.tracking._tracking_service.utils._tracking_uri",
}
VARIABLES = ("RUN_ID", "EXPERIMENT_ID", "EXPERIMENT_NAME", "TRACKING_URI", "REGISTRY_URI")


@contextmanager
def mlflow_store(uri: str) -> Iterator[None]:
    """Points MLflow's clients and environment to `uri`; afterwards all that MLflow remembers in a process is as before.

    `mlflow.set_experiment` and `mlflow.set_registry_uri` write to globals and to the environment.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.setenv(f"MLFLOW_{name}", "")
            patch.delenv(f"MLFLOW_{name}")
        for name in REMEMBERED:
            patch.setattr(name, None)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        try:
            yield
        finally:
            while mlflow.active_run():
                mlflow.end_run()
