"""Starts Ray or connects to a cluster, and chooses the environment variables of its workers."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec

from evenodd.settings import RunSettings

INSTALL = "pip install 'evenodd[ray]'."
OBJECT_STORE_BYTES = 256 * 1024**2
"""Bytes of Ray's object store: rows and token ids are in memory-mapped files, so little goes through it."""
PASSED_ON = ("MLFLOW_", "HF_", "EVENODD_")


def start_ray(cluster: str | None, *, cpus: int | None = None, gpus: int | None = None) -> None:
    """Connects to a cluster, or starts Ray on this machine; does nothing if that was done before.

    Raises:
        RuntimeError: the cluster does not answer.
    """
    import ray
    from ray.exceptions import RayError

    if ray.is_initialized():
        return
    try:
        if cluster:
            ray.init(address=cluster, logging_level=logging.ERROR, log_to_driver=True)
        else:
            ray.init(
                num_cpus=cpus,
                num_gpus=gpus,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=True,
                object_store_memory=OBJECT_STORE_BYTES,
            )
    except (ConnectionError, RayError, OSError) as error:
        raise RuntimeError(f"engine='{cluster}': no Ray cluster answers there ({error}).") from error


def cluster_of(settings: RunSettings) -> str | None:
    """Address of the Ray cluster that a command uses; None: this machine."""
    return settings.engine or os.environ.get("RAY_ADDRESS") or None


def places_on(cluster: str) -> int:
    """Number of GPUs of a cluster, or of its cores if it has no GPU."""
    import ray

    start_ray(cluster)
    resources = ray.cluster_resources()
    return int(resources.get("GPU", 0) or resources.get("CPU", 1))


def passed_on() -> dict[str, str]:
    """Environment variables that the libraries of a worker read."""
    return {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}


def has_ray() -> bool:
    """Whether Ray is installed."""
    return find_spec("ray") is not None


def require_ray(jobs: int, cluster: str | None) -> None:
    """Checks that Ray is installed.

    Raises:
        RuntimeError: it is not installed.
    """
    if not has_ray():
        raise RuntimeError(f"{f'engine={cluster}' if cluster else f'jobs={jobs}'} needs ray, not installed: {INSTALL}")
