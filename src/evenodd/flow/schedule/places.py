"""Where fits run: in this process one after another, or several at once as tasks of Ray.

A fit does not use two cores twice as well as one: Python, small operations and the log have one thread. Two fits at
once with a thread each do.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch

from evenodd import search, tracking
from evenodd.flow.faults import in_one_line
from evenodd.flow.fit_variant import FittedRun, fit_variant
from evenodd.flow.materials import Materials
from evenodd.flow.plan import Plan
from evenodd.flow.schedule.runtime import INSTALL, has_ray, places_on, require_ray
from evenodd.training import best_device, rank_and_world

log = logging.getLogger(__name__)

FAULTS = (*search.FAULTS, tracking.TrackingError)

Outcome = FittedRun | str
"""A finished run, or why there is none, in one line."""


@dataclass(frozen=True)
class Held:
    """Another process is at the same fit."""


class Places(Protocol):
    """Takes plans, and gives back the outcome of each under the number that it was started with."""

    @property
    def is_free(self) -> bool:
        """Whether another plan can be started."""

    def start(self, number: int, plan: Plan, materials: Materials, *, reuse: bool) -> None:
        """Begins a fit. With `reuse`, a run that another process has finished meanwhile is its outcome."""

    def wait(self, seconds: float | None = None) -> tuple[int, Outcome | Held] | None:
        """The next fit that ends; None if there is none after so many seconds, where fits are not in this process."""


def fits_at_once(asked: int | None, count: int, cluster: str | None = None) -> int:
    """How many fits run at once: as many as asked for, else one for each thread or GPU of this machine or the cluster.

    Args:
        asked: the setting `run.jobs`.
        count: number of fits.
        cluster: address of a Ray cluster; None: this machine.
    """
    if rank_and_world()[1] > 1:
        if cluster:
            raise ValueError(f"engine={cluster}: the processes of torchrun share each fit; use one of the two.")
        return 1
    if asked is not None:
        return max(1, min(asked, count))
    if cluster:
        return max(1, min(places_on(cluster), count))
    if not has_ray():
        log.info("ray is not installed, so one fit runs after another: %s", INSTALL)
        return 1
    places = torch.cuda.device_count() if best_device() == "cuda" else torch.get_num_threads()
    return max(1, min(places, count))


@contextmanager
def open_places(jobs: int, cluster: str | None = None) -> Iterator[Places]:
    """Places for so many fits at once; on an error, fits that are running are interrupted.

    Raises:
        RuntimeError: more than one place, or a cluster, without Ray.
    """
    if jobs == 1 and not cluster:
        yield InProcess()
        return
    require_ray(jobs, cluster)
    from evenodd.flow.schedule.cluster import RayTasks

    with RayTasks(jobs, cluster) as tasks:
        yield tasks


class InProcess:
    """One fit at a time, in this process, when it is waited for."""

    def __init__(self) -> None:
        self.started: list[tuple[int, Plan, Materials, bool]] = []

    @property
    def is_free(self) -> bool:
        """Whether no plan waits."""
        return not self.started

    def start(self, number: int, plan: Plan, materials: Materials, *, reuse: bool) -> None:
        """Remembers the plan."""
        self.started.append((number, plan, materials, reuse))

    def wait(self, seconds: float | None = None) -> tuple[int, Outcome | Held]:
        """Fits it."""
        number, plan, materials, reuse = self.started.pop()
        return number, outcome_of(lambda: fit_variant(plan, materials, nested=True, reuse=reuse, wait=False))


def outcome_of(fitting: Callable[[], FittedRun]) -> Outcome | Held:
    """The run, or the fault that a user can act on in one line; other errors are bugs and are raised."""
    try:
        return fitting()
    except tracking.LeaseHeldError:
        return Held()
    except tracking.LeaseLostError as error:  # this machine slept
        log.warning("%s", error)
        return Held()
    except FAULTS as error:
        return message_of(error)
    finally:
        gc.collect()  # models lie in cycles of references, which would add up over the fits


def message_of(error: Exception) -> str:
    """The message of a fit's error in one line; the error itself is raised where tracebacks are asked for."""
    if os.environ.get("EVENODD_TRACEBACK"):
        raise error
    return in_one_line(error)
