"""Scores shards in this process, or concurrently as Ray tasks."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable
from contextlib import suppress
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from evenodd import tracking
from evenodd.classifier import Classifier
from evenodd.flow.schedule.cores import usable_cores
from evenodd.flow.schedule.runtime import cluster_of, has_ray, passed_on, places_on, require_ray, start_ray
from evenodd.flow.scorer import Model
from evenodd.flow.scoring.shards import SHARD_ROWS, Shard
from evenodd.flow.scoring.worker import Place, answer_texts, answers
from evenodd.settings import RunSettings
from evenodd.storage import digest_of

log = logging.getLogger(__name__)

FEW = 2
"""Number of shards that are scored in this process, because Ray would take longer to start."""
AHEAD = 2
"""Shards in memory for each concurrent task: waiting or being scored."""
RETRIES = 3

Scored = Generator[tuple[Shard, pa.Table]]


def score_here(shards: Iterable[Shard], model: Model, threads: int, graph: str | None) -> Scored:
    """Scores one shard after another in this process."""
    classifier: Classifier | None = None
    for shard in shards:
        classifier = classifier or model.open(threads, graph)
        yield shard, answer_texts(classifier, shard.texts)


def score_with_ray(shards: Iterable[Shard], model: Model, graph: str | None, jobs: int, cluster: str | None) -> Scored:
    """Scores shards concurrently as Ray tasks, in the order in which they finish.

    Args:
        shards: read when a task can start.
        model: opened once in each worker; on a cluster a bundle is sent to the workers.
        graph: graph of a bundle.
        jobs: number of concurrent tasks.
        cluster: address of a running one; None: Ray is started here and ends with this call.

    Raises:
        RuntimeError: Ray is not installed, a cluster does not answer, or a worker died repeatedly.
    """
    require_ray(jobs, cluster)
    import ray

    start_ray(cluster, cpus=jobs)
    running: dict[Any, Shard] = {}
    try:
        place = ray.put(_place(model, graph, cluster))
        task = ray.remote(answers).options(num_cpus=1, max_retries=RETRIES, name=f"score {model.name}")
        for shard in shards:
            running[task.remote(shard.texts, place)] = shard
            if len(running) >= AHEAD * jobs:
                yield _next(running)
        while running:
            yield _next(running)
    finally:
        for reference in running:
            with suppress(ray.exceptions.RayError):
                ray.cancel(reference, force=True)
        if not cluster:
            ray.shutdown()


def _next(running: dict[Any, Shard]) -> tuple[Shard, pa.Table]:
    import ray

    (ready,), _ = ray.wait(list(running), num_returns=1)
    shard = running.pop(ready)
    try:
        return shard, ray.get(ready)
    except ray.exceptions.RayError as error:
        first = next(iter(shard.files.values())).name
        raise RuntimeError(f"a shard that starts in {first} could not be scored: {error}") from error


def _place(model: Model, graph: str | None, cluster: str | None) -> Place:
    """Information for workers; on a cluster with the bundle's files, because its folder may exist only here."""
    files: dict[str, bytes] = {}
    if model.bundle and cluster:
        files = {path.name: path.read_bytes() for path in sorted(model.bundle.iterdir())}
    name = digest_of([model.identity, graph])
    logged = None if model.bundle else model
    return Place(name, model.bundle, graph, files, logged, tracking.connection(), passed_on())


def scored_shards(shards: Iterable[Shard], model: Model, settings: RunSettings, graph: str | None) -> Scored:
    """Scores a few shards in this process, and many shards in one process per core.

    Raises:
        RuntimeError: see `score_with_ray`.
    """
    waiting = iter(shards)
    first = list(islice(waiting, FEW + 1))
    shards, cluster = chain(first, waiting), cluster_of(settings)
    jobs = settings.jobs or (places_on(cluster) if cluster else usable_cores())
    few = len(first) <= FEW and not cluster and settings.jobs is None
    if not cluster and (jobs == 1 or few or (settings.jobs is None and not has_ray())):
        return score_here(shards, model, settings.jobs or usable_cores(), graph)
    log.info("score | %d shards of up to %s rows at once", jobs, f"{SHARD_ROWS:,}")
    return score_with_ray(shards, model, graph, jobs, cluster)
