"""Opens, keeps alive and closes runs."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from evenodd.tracking.contents import take_digests
from evenodd.tracking.leases import BEAT_TAG, HEART, OWNER_TAG, Silence, mark, next_beat
from evenodd.tracking.outbox import OUTBOX
from evenodd.tracking.reading import DIGESTS_TAG, DONE_TAG

log = logging.getLogger(__name__)


@contextmanager
def start_run(name: str, *, tags: Mapping[str, str], nested: bool = False, parent: str | None = None) -> Iterator[str]:
    """A run that ends FINISHED, FAILED after an error, or KILLED after an interruption; yields its id.

    A run that `mlflow run` has opened is continued. System metrics are sampled only if MLflow is told to
    (`MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING`). Tags that only matter while it is open are deleted at its end.

    Args:
        name: of the run.
        tags: of the run.
        nested: as a child of the open run, if there is one, or of `parent`.
        parent: id of a run that another process has opened; an open run of this process takes precedence.
    """
    own = {**mark(), **tags}
    above = None if mlflow.active_run() else parent
    run = mlflow.start_run(run_name=name, nested=nested, parent_run_id=above, tags=own)
    run_id, ended = run.info.run_id, "FAILED"
    try:
        mlflow.set_tags({**own, "mlflow.runName": name})
        with HEART.beating(partial(beat, run_id)):
            yield run_id
        OUTBOX.flush()
        mlflow.set_tags({DIGESTS_TAG: json.dumps(take_digests(run_id)), DONE_TAG: "true"})
        ended = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        ended = "KILLED"
        raise
    finally:
        take_digests(run_id)
        _end(ended)
    for tag in mark():
        with suppress(MlflowException):
            MlflowClient().delete_tag(run_id, tag)


def _end(status: str) -> None:
    """Closes the innermost run. If this fails after an error, it is logged, and the first error is kept."""
    first = sys.exc_info()[1]
    try:
        mlflow.end_run(status)
    except (MlflowException, SQLAlchemyError) as error:
        if first is None:
            raise
        log.warning("the run could not be closed (%s); a later command closes it", type(error).__name__)


def beat(run_id: str) -> bool:
    """Shows that a run's process is alive; returns True, to be called again."""
    with suppress(MlflowException):
        MlflowClient().set_tag(run_id, BEAT_TAG, next_beat())
    return True


def close_interrupted() -> list[str]:
    """Closes runs of this package whose process is dead, and returns their ids. Runs of others are not touched.

    The death of a process on another host shows only by its silence: such runs are watched while this process runs.
    """
    client, closed, silence = MlflowClient(), [], Silence()
    for run in _running(client):
        if silence.lapsed(run.info.run_id, run.data.tags[OWNER_TAG], run.data.tags.get(BEAT_TAG, "")):
            _close(client, run)
            closed.append(run.info.run_id)
    if silence.heard:
        HEART.watch(partial(_close_silent, silence))
    if closed:
        log.info("closed %d interrupted run(s): %s", len(closed), ", ".join(closed))
    return closed


def close_abandoned(fingerprint: str) -> None:
    """Closes open runs of a fit whose lease this process holds: the processes that opened them do not hold it."""
    client = MlflowClient()
    for run in _running(client, f" and tags.fingerprint = '{fingerprint}'"):
        _close(client, run)
        log.info("closed an interrupted run of the same fit: %s", run.info.run_id)


def _running(client: MlflowClient, more: str = "") -> list[Run]:
    """Open runs of this package, of any process."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    wanted = f"attributes.status = 'RUNNING' and tags.`{OWNER_TAG}` LIKE '%'{more}"
    return list(client.search_runs(experiments, wanted, run_view_type=ViewType.ALL))


def _close(client: MlflowClient, run: Run) -> None:
    """Closes a run: FINISHED if its tag says that everything was written, otherwise KILLED."""
    client.set_terminated(run.info.run_id, "FINISHED" if DONE_TAG in run.data.tags else "KILLED")


def _close_silent(silence: Silence) -> bool:
    """Closes watched runs that were silent too long. Returns whether others remain."""
    client = MlflowClient()
    with suppress(MlflowException):
        for run_id in list(silence.heard):
            run = client.get_run(run_id)
            if run.info.status != "RUNNING":
                silence.forget(run_id)
            elif silence.lapsed(run_id, run.data.tags.get(OWNER_TAG, ""), run.data.tags.get(BEAT_TAG, "")):
                _close(client, run)
                silence.forget(run_id)
                log.info("closed an interrupted run of another machine: %s", run_id)
    return bool(silence.heard)
