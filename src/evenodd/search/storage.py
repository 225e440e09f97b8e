"""Where a study is kept: a database, or Optuna's gRPC proxy in front of one."""

from __future__ import annotations

import logging
import socket
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, GrpcStorageProxy, RDBStorage, run_grpc_proxy_server
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from evenodd.search.confirm import GIVEN

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS, STALE_SECONDS = 30, 120
GRPC = "grpc"
BEAT = "evenodd.beat"
DIRECT_WORKERS = 8
"""More workers than that share one connection to the database, that of a proxy."""
READY_SECONDS = 30.0
INSTALL = "pip install 'evenodd[ray]'"


def open_storage(url: str) -> BaseStorage:
    """Opens the storage of a study.

    Args:
        url: a database, or `grpc://HOST:PORT` of a proxy.

    Raises:
        ValueError: not a URL.
        RuntimeError: the database or the proxy cannot be reached.
    """
    return _open_proxy(url) if urlsplit(url).scheme == GRPC else _open_database(url)


def queue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queues the trial with the given settings again, if it is the one that was interrupted."""
    if trial.user_attrs.get(GIVEN):
        study.enqueue_trial(trial.params or trial.system_attrs.get("fixed_params", {}), user_attrs={GIVEN: True})


def shared_url(url: str, workers: int, host: str | None = None) -> str:
    """The URL under which so many workers open a storage; if needed, that of a proxy in this process.

    Args:
        url: see `open_storage`.
        workers: number of workers.
        host: address of this machine for workers on other machines, which cannot open a SQLite file of this one; None:
            all workers are on this machine.

    Raises:
        RuntimeError: workers on other machines need a proxy, and grpcio is not installed.
    """
    scheme = urlsplit(url).scheme
    needed = host is not None and scheme.startswith("sqlite")
    if scheme == GRPC or not (needed or workers > DIRECT_WORKERS):
        return url
    if find_spec("grpc") is None:
        if needed:
            raise RuntimeError(
                f"storage='{url}': workers on other machines cannot open this file. Pass the URL of a database server "
                f"(-P tune.storage=postgresql+psycopg://…), or {INSTALL}."
            )
        log.info("%d workers open the study's database each; with grpcio they share a connection: %s", workers, INSTALL)
        return url
    return _serve(url, host or "127.0.0.1")


@cache
def _serve(url: str, host: str) -> str:
    """Starts a proxy of a database in this process, with which it ends; its URL."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port = int(probe.getsockname()[1])
    database = _quietly(lambda: optuna.storages.get_storage(_open_database(url)))

    def serve() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            run_grpc_proxy_server(database, host=host, port=port)

    threading.Thread(target=serve, name="study proxy", daemon=True).start()
    log.info("study | proxy of the database on %s:%d", host, port)
    return f"{GRPC}://{host}:{port}"


def _open_proxy(url: str) -> ProxyStorage:
    parts = urlsplit(url)
    if not parts.hostname or not parts.port:
        raise ValueError(f"storage='{url}': expected grpc://HOST:PORT.")
    if find_spec("grpc") is None:
        raise RuntimeError(f"storage='{url}': grpcio is not installed: {INSTALL}.")
    host, port = parts.hostname, parts.port
    storage = _quietly(lambda: ProxyStorage(host=host, port=port))
    try:
        storage.wait_server_ready(READY_SECONDS)
    except ConnectionError as error:
        raise RuntimeError(f"storage='{url}': no proxy answers there within {READY_SECONDS:.0f} s.") from error
    return storage


def _quietly(step: Callable[[], Any]) -> Any:
    """Runs a step without Optuna's warnings about experimental features."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return step()


class ProxyStorage(GrpcStorageProxy, BaseHeartbeat):
    """A proxy with heartbeats, which Optuna's has not: an attribute of the trial changes while its worker is alive.

    How long it has not changed is counted while this process is awake. No clocks are compared.
    """

    def __init__(self, *, host: str, port: int) -> None:
        super().__init__(host=host, port=port)
        self._beats = 0
        self._heard: dict[int, tuple[Any, float, float]] = {}

    def record_heartbeat(self, trial_id: int) -> None:
        """Changes the trial's attribute."""
        self._beats += 1
        with suppress(UpdateFinishedTrialError):
            self.set_trial_system_attr(trial_id, BEAT, self._beats)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        return [trial._trial_id for trial in running if self._silence(trial) > STALE_SECONDS]

    def _silence(self, trial: FrozenTrial) -> float:
        """Seconds without a change."""
        now, beat = time.monotonic(), trial.system_attrs.get(BEAT)
        last, quiet, looked = self._heard.get(trial._trial_id, (None, 0.0, now))
        quiet = quiet + min(now - looked, 2 * HEARTBEAT_SECONDS) if beat == last else 0.0
        self._heard[trial._trial_id] = beat, quiet, now
        return quiet

    def get_heartbeat_interval(self) -> int:
        """Seconds between two heartbeats."""
        return HEARTBEAT_SECONDS

    def get_heartbeat_stale_trial_callback(self) -> Callable[[optuna.Study, FrozenTrial], None]:
        """See `queue_again`."""
        return queue_again


def _open_database(url: str) -> RDBStorage:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError(
            f"storage='{url}': expected a URL: sqlite:///file.db, postgresql://… or grpc://HOST:PORT."
        ) from error
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    arguments: Mapping[str, Any] = {"connect_args": {"timeout": 60}} if sqlite else {"pool_pre_ping": True}
    for attempts_left in (2, 1, 0):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return RDBStorage(
                    url,
                    engine_kwargs=dict(arguments),
                    heartbeat_interval=HEARTBEAT_SECONDS,
                    grace_period=STALE_SECONDS,
                    heartbeat_stale_trial_callback=queue_again,
                )
        except (SQLAlchemyError, ImportError) as error:
            # If two workers open a new database at the same moment, both create its tables, and one of them fails once.
            if isinstance(error, ImportError) or not attempts_left:
                reason = " ".join(str(error).split())[:200]
                shown = parsed.render_as_string(hide_password=True)
                raise RuntimeError(f"storage='{shown}': the database cannot be opened ({reason}).") from error
            time.sleep(1.0)
    raise RuntimeError(f"storage='{parsed.render_as_string(hide_password=True)}': the database cannot be opened.")
