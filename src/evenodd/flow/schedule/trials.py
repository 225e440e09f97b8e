"""Runs the trials of one study in several workers at once: Ray tasks that share the study's storage."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evenodd import search, tracking
from evenodd.flow.schedule.places import FAULTS, fits_at_once, message_of
from evenodd.flow.schedule.runtime import cluster_of, require_ray
from evenodd.settings import Settings

if TYPE_CHECKING:
    from optuna import Study

    from evenodd.flow.schedule.cluster import RayTasks

log = logging.getLogger(__name__)

Join = Callable[[Any, str, str | None], int]
"""What a worker does: (what was sent, storage, run that trials are nested under) to the number of trials it ran."""

POLL_SECONDS, GRACE_SECONDS = 2.0, 20.0


def trials_at_once(settings: Settings, left: int) -> int:
    """Number of workers for so many trials; 1 if their latency is measured, which other trials would disturb."""
    if left < 2 or "latency" in settings.tune.objective:
        return 1
    return fits_at_once(settings.run.jobs, left, cluster_of(settings.run))


def run_at_once(study: Study, storage: str, settings: Settings, workers: int, join: Join, given: object) -> int:
    """Runs trials in so many workers until the study is complete; the number of trials that count.

    A worker that dies or is stopped does not end the others: its trial is given up, and they run another.

    Args:
        study: opened here, to see how far it is.
        storage: URL of its storage.
        settings: of the command.
        workers: number of workers, at least 2.
        join: a module's function, called in each worker.
        given: its first argument, sent once.

    Raises:
        RuntimeError: no worker came to an end; the message includes the first fault.
    """
    cluster = cluster_of(settings.run)
    require_ray(workers, cluster)
    from evenodd.flow.schedule.cluster import RayTasks

    with RayTasks(workers, cluster) as tasks:
        url = search.shared_url(storage, workers, tasks.address)
        if url != storage:  # heartbeats that go through a proxy are not seen in the database
            study = search.open_study(study.study_name, url, seed=settings.seed, objective=settings.tune.objective)
        for number in range(workers):
            about = tasks.send(given), url, tasks.place.parent
            tasks.submit(number, f"{study.study_name} worker {number}", _join, join, *about)
        ran, faults = _watch(tasks, study)
    tracking.close_interrupted()
    if ran is None:
        raise RuntimeError(f"tuning {study.study_name}: {faults[0]}")
    return ran


def _watch(tasks: RayTasks, study: Study) -> tuple[int | None, list[str]]:
    """Waits for the workers: their trials, None if none came to an end, and their faults.

    A worker that does not answer although no trial is running any more is not waited for.
    """
    ran: int | None = None
    faults: list[str] = []
    silent = 0.0
    while tasks.running and silent < GRACE_SECONDS:
        ended = tasks.next(POLL_SECONDS)
        search.fail_interrupted(study)
        if ended is None:
            silent = silent + POLL_SECONDS if ran is not None and not search.is_running(study) else 0.0
        elif isinstance(ended[1], int):
            ran = (ran or 0) + ended[1]
        else:
            fault = getattr(ended[1], "fault", ended[1])
            log.warning("tuning | worker %d ended | %s", ended[0], fault)
            faults.append(str(fault))
    if tasks.running:
        log.warning("tuning | %d worker(s) do not answer and are ended: all trials are done", len(tasks.running))
    return ran, faults


def _join(join: Join, given: Any, storage: str, parent: str | None) -> int | str:
    """A worker: the number of its trials, or its fault in one line."""
    try:
        return join(given, storage, parent)
    except FAULTS as error:
        return message_of(error)
