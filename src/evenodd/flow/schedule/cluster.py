"""Runs fits and trials as Ray tasks, on this machine or on a cluster, with Ray's resources, retries and logs."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import ray
import torch
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    TaskCancelledError,
    TaskUnschedulableError,
    WorkerCrashedError,
)

from evenodd import tracking
from evenodd.flow.fit_variant import fit_variant
from evenodd.flow.logs import prepare_worker
from evenodd.flow.materials import Materials
from evenodd.flow.plan import Plan
from evenodd.flow.schedule.places import Held, Outcome, outcome_of
from evenodd.flow.schedule.runtime import passed_on, start_ray
from evenodd.training import best_device
from evenodd.training.precision import know_rates, measure_rates

log = logging.getLogger(__name__)

RETRIES = 2
"""A fit whose worker or node dies is started again; it resumes from its last checkpoint."""
SECONDS_TO_END = 10.0
LOST = (WorkerCrashedError, OutOfMemoryError, NodeDiedError, TaskUnschedulableError)


@dataclass(frozen=True)
class Place:
    """Information about the command for its tasks.

    Attributes:
        store: where runs are logged.
        parent: the run that fits are nested under.
        threads: number of torch threads.
        rates: GFLOP/s of products with that number of threads on an idle machine; None: measured in the task.
        environment: variables that libraries read.
        folder: working folder of the command, which a task enters if it exists.
    """

    store: dict[str, str]
    parent: str | None
    threads: int
    rates: dict[str, float] | None
    environment: dict[str, str]
    folder: str


@dataclass(frozen=True)
class Lost:
    """A task whose worker was lost again and again; `fault` states it in one line."""

    fault: str


class RayTasks:
    """Runs concurrent fits or trials as Ray tasks, each with its share of the cores or with its own GPU.

    Args:
        jobs: number of concurrent tasks.
        cluster: address of a running cluster (`auto`, `host:port` or `ray://host:port`); None: Ray is started here and
            ends with this object.

    Raises:
        RuntimeError: the cluster cannot be reached; or, in `wait`, an unexpected error ended a task.
    """

    def __init__(self, jobs: int, cluster: str | None = None) -> None:
        self.jobs, self.cluster = jobs, cluster
        self.running: dict[Any, tuple[int, str]] = {}
        self.sent: list[tuple[object, Any]] = []
        self.place: Any = None
        self.resources: dict[str, float] = {}

    def __enter__(self) -> RayTasks:
        gpus = torch.cuda.device_count() if best_device() == "cuda" and not self.cluster else 0
        # With two fits and one allowed thread, Ray would start the fits one after another.
        start_ray(self.cluster, cpus=max(torch.get_num_threads(), self.jobs), gpus=gpus)
        cores = int(ray.cluster_resources().get("CPU", 1))
        threads = max(1, min(cores // self.jobs, _smallest_node()))
        on_gpus = ray.cluster_resources().get("GPU", 0) >= self.jobs
        self.resources = {"num_cpus": threads, "num_gpus": 1 if on_gpus else 0}
        rates = None if self.cluster or on_gpus else _rates_with(threads)
        self.place = Place(tracking.connection(), tracking.active_run_id(), threads, rates, passed_on(), os.getcwd())
        log.info("%d at once | %d thread%s each", self.jobs, threads, "s" if threads > 1 else "")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._cancel()
        finally:
            if not self.cluster:
                ray.shutdown()

    @property
    def address(self) -> str | None:
        """Address of this machine, if tasks may run on others; else None."""
        here = ray.util.get_node_ip_address()
        others = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]} - {here}
        return here if others else None

    @property
    def is_free(self) -> bool:
        """Whether another fit can start."""
        return len(self.running) < self.jobs

    def start(self, number: int, plan: Plan, materials: Materials, *, reuse: bool) -> None:
        """Submits a plan to Ray; rows that were sent before are not sent again."""
        _ = materials.floors, materials.data_report  # computed once, and not in each task
        name = f"{plan.variant.name} {plan.settings.seed}"
        self.submit(number, name, _fit, plan, self.send(materials), reuse, self.place.parent)

    def wait(self, seconds: float | None = None) -> tuple[int, Outcome | Held] | None:
        """Waits for the next fit that ends, for at most so many seconds."""
        ended = self.next(seconds)
        if ended is None:
            return None
        number, result = ended
        return number, result.fault if isinstance(result, Lost) else result

    def submit(self, number: int, name: str, work: Callable[..., Any], *given: Any) -> None:
        """Submits a call of a function; references from `send` arrive as what was sent."""
        task = _in_worker.options(name=name, **self.resources)
        self.running[task.remote(self.place, work, *given)] = number, name

    def send(self, content: object) -> Any:
        """A reference to something for several tasks; it is sent once."""
        for known, reference in self.sent:
            if known is content:
                return reference
        self.sent.append((content, ray.put(content)))
        return self.sent[-1][1]

    def next(self, seconds: float | None = None) -> tuple[int, Any] | None:
        """Number and result of the next task that ends, or `Lost`; None if none does in so many seconds.

        Raises:
            RuntimeError: an unexpected error ended the task.
        """
        ended, _ = ray.wait(list(self.running), num_returns=1, timeout=seconds)
        if not ended:
            return None
        (ready,) = ended
        number, name = self.running.pop(ready)
        try:
            return number, ray.get(ready)
        except LOST as error:
            lost = f"its worker was lost {RETRIES + 1} times ({type(error).__name__})"
            return number, Lost(f"{lost}: if memory ran out, pass jobs=1.")
        except RayError as error:
            raise RuntimeError(f"{name}: an unexpected error ended the task: {error}") from error

    def _cancel(self) -> None:
        """Interrupts the running tasks, and waits briefly for them to close their runs."""
        left = list(self.running)
        for reference in left:
            ray.cancel(reference)
        while left:
            ended, left = ray.wait(left, num_returns=1, timeout=SECONDS_TO_END)
            for reference in ended:
                with suppress(TaskCancelledError, RayError):
                    ray.get(reference)
            if not ended:
                break
        for reference in left:
            ray.cancel(reference, force=True)
        self.running.clear()


def _smallest_node() -> int:
    """Number of cores of the smallest node."""
    return int(min(node["Resources"].get("CPU", 1) for node in ray.nodes() if node["Alive"]))


def _rates_with(threads: int) -> dict[str, float]:
    """GFLOP/s of products with that number of threads, measured before other fits run."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return measure_rates("cpu")
    finally:
        torch.set_num_threads(before)


@ray.remote(max_retries=RETRIES, retry_exceptions=False)
def _in_worker(place: Place, work: Callable[..., Any], *given: Any) -> Any:
    """Calls a function in a Ray worker that is set up like the command."""
    os.environ.update(place.environment)
    with suppress(OSError):  # workers of a running cluster start elsewhere, or on machines without it
        os.chdir(place.folder)
    prepare_worker()
    torch.set_num_threads(place.threads)
    if place.rates is not None:
        know_rates("cpu", place.rates)
    tracking.connect(place.store)
    return work(*given)


def _fit(plan: Plan, materials: Materials, reuse: bool, parent: str | None) -> Outcome | Held:
    """One fit in a Ray worker."""
    return outcome_of(lambda: fit_variant(plan, materials, nested=True, reuse=reuse, parent=parent, wait=False))
