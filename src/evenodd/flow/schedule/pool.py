"""Where fits run: in this process one after another, or several at once in processes of their own.

A fit does not use two cores twice as well as one: Python, small operations and the log have one thread. Two fits at
once, a thread each, do.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import psutil
import torch

from evenodd import search, tracking
from evenodd.flow.fit_variant import FittedRun, Surroundings, fit_variant
from evenodd.flow.logs import prepare_process
from evenodd.flow.materials import Materials
from evenodd.flow.plan import Plan
from evenodd.flow.schedule.ahead import fit_context
from evenodd.training import best_device
from evenodd.training.precision import know_rates, measure_rates

log = logging.getLogger(__name__)

FAULTS = (*search.FAULTS, tracking.TrackingError)
SECONDS_TO_END, ATTEMPTS_TO_END = 10.0, 3
"""An interruption is lost where it meets a destructor; a run needs a moment to be closed after it."""

Outcome = FittedRun | str
"""A finished run, or why there is none, in one line."""


class Pool(Protocol):
    """Takes plans, and gives back what came of them, each under the number that it was started with."""

    @property
    def has_room(self) -> bool:
        """Whether another plan can be started."""

    def start(self, number: int, plan: Plan, materials: Materials) -> None:
        """Begins a fit."""

    def wait(self) -> tuple[int, Outcome]:
        """The next fit that ends."""


@contextmanager
def open_pool(jobs: int) -> Iterator[Pool]:
    """A pool for so many fits at once; on an error, fits that are running are interrupted."""
    if jobs == 1:
        yield InProcess()
        return
    with Processes(jobs) as pool:
        yield pool


class InProcess:
    """One fit at a time, in this process, when it is waited for."""

    def __init__(self) -> None:
        self.started: list[tuple[int, Plan, Materials]] = []

    @property
    def has_room(self) -> bool:
        """Whether none is to be done."""
        return not self.started

    def start(self, number: int, plan: Plan, materials: Materials) -> None:
        """Remembers it."""
        self.started.append((number, plan, materials))

    def wait(self) -> tuple[int, Outcome]:
        """Fits it."""
        number, plan, materials = self.started.pop()
        try:
            return number, fit_variant(plan, materials, nested=True)
        except FAULTS as error:
            return number, in_one_line(error)
        finally:
            gc.collect()  # models lie in cycles of references, which would add up over the fits


def in_one_line(error: Exception) -> str:
    """What is told of a fault; it is raised again where tracebacks are asked for."""
    if os.environ.get("EVENODD_TRACEBACK"):
        raise error
    return " ".join(str(error).split()) or type(error).__name__


@dataclass(frozen=True)
class Place:
    """What a process is told when it starts.

    Attributes:
        store: where runs go.
        parent: the run that fits stand under.
        threads: that torch uses.
        rates: of products on so many threads of an idle machine; None: measured where they are needed.
        gpu: number of its GPU; None on a CPU.
        folder, environ: of the parent, now.
    """

    store: dict[str, str]
    parent: str | None
    threads: int
    rates: dict[str, float] | None = None
    gpu: int | None = None
    folder: Path = field(default_factory=Path.cwd)
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    place: Place
    number: int | None = None
    known: set[int] = field(default_factory=set)


class Processes:
    """So many fits at once, each in a process with its share of the threads, or with a GPU of its own.

    A process is kept for further fits. Latencies are measured while the others are suspended. One that is killed from
    outside, as by a machine that runs out of memory, loses its fit and is replaced.

    Raises:
        RuntimeError: from `wait`, an unforeseen error ended a process, which has told it.
    """

    def __init__(self, jobs: int) -> None:
        gpus = torch.cuda.device_count() if best_device() == "cuda" else 0
        threads = max(1, torch.get_num_threads() // jobs)
        store, parent = tracking.connection(), tracking.active_run_id()
        rates = None if gpus else _rates_with(threads)
        self.places = [Place(store, parent, threads, rates, at % gpus if gpus else None) for at in range(jobs)]
        self.workers: list[_Worker] = []
        self.sent: list[Materials] = []
        log.info("%d fits at once | %d thread%s each", jobs, threads, "s" if threads > 1 else "")

    def __enter__(self) -> Processes:
        self.workers = [_start(place) for place in self.places]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            if kind is None:
                _tell(worker.pipe, None)
        for attempt in range(ATTEMPTS_TO_END):
            if kind is not None or attempt:
                for worker in self.workers:
                    worker.process.terminate()
            for worker in self.workers:
                worker.process.join(SECONDS_TO_END)
        for worker in self.workers:
            worker.process.kill()
            worker.process.join()

    @property
    def has_room(self) -> bool:
        """Whether a process waits for work."""
        return any(worker.number is None for worker in self.workers)

    def start(self, number: int, plan: Plan, materials: Materials) -> None:
        """Hands a plan to a process; rows that it has had before are not sent again."""
        worker = next(worker for worker in self.workers if worker.number is None)
        key = next((at for at, known in enumerate(self.sent) if known is materials), len(self.sent))
        if key == len(self.sent):
            self.sent.append(_looked_at(materials))
        worker.number = number
        _tell(worker.pipe, (plan, key, None if key in worker.known else materials))
        worker.known.add(key)

    def wait(self) -> tuple[int, Outcome]:
        """The next fit that ends."""
        while True:
            busy: dict[Any, _Worker] = {worker.pipe: worker for worker in self.workers if worker.number is not None}
            for pipe in wait(list(busy)):
                number, outcome = busy[pipe].number, self._hear(busy[pipe])
                if number is not None and outcome is not None:
                    return number, outcome

    def _hear(self, worker: _Worker) -> Outcome | None:
        """What came of a process's fit; None while it goes on."""
        try:
            said = worker.pipe.recv()
            if said == QUIET:
                self._suspend_others(worker)
                return None
        except (EOFError, ConnectionError):
            return self._replace(worker)
        worker.number = None
        return said

    def _suspend_others(self, worker: _Worker) -> None:
        """Lets one process measure alone."""
        others = [other.process.pid for other in self.workers if other is not worker]
        try:
            for pid in others:
                with suppress(psutil.NoSuchProcess):
                    psutil.Process(pid).suspend()
            worker.pipe.send(others)
            worker.pipe.recv()
        finally:
            _resume(others)

    def _replace(self, worker: _Worker) -> str:
        """A new process for one that ended by itself; what is told of its fit."""
        worker.process.join()
        tracking.close_interrupted()
        code = worker.process.exitcode
        if code is None or code >= 0:
            raise RuntimeError(f"the process of a fit ended with exit code {code}; what it said is above.")
        self.workers[self.workers.index(worker)] = _start(worker.place)
        name = signal.Signals(-code).name
        return f"its process was ended by {name}: where memory ran out, pass a smaller run.jobs."


QUIET = "quiet"


def _rates_with(threads: int) -> dict[str, float]:
    """What products run at on so many threads, before there are fits beside them."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return measure_rates("cpu")
    finally:
        torch.set_num_threads(before)


def _resume(processes: list[int]) -> None:
    for pid in processes:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).resume()


def _looked_at(materials: Materials) -> Materials:
    """The same with what is found out at first use, so that it is found out once and not in each process."""
    _ = materials.floors, materials.data_report
    return materials


def _start(place: Place) -> _Worker:
    context: Any = fit_context()
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, place), name="fit")
    process.start()
    theirs.close()
    return _Worker(process, ours, place)


def _tell(pipe: Connection, what: Any) -> None:
    """Sends it; a process that has ended is met when it is waited for."""
    try:
        pipe.send(what)
    except (BrokenPipeError, ConnectionError):
        return


def _work(pipe: Connection, place: Place) -> None:
    """Fits what it is sent until it is told to end, or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent passes it on, once
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.chdir(place.folder)
    os.environ.clear()
    os.environ.update(place.environ)
    if place.gpu is not None:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        os.environ["CUDA_VISIBLE_DEVICES"] = seen.split(",")[place.gpu] if seen else str(place.gpu)
    torch.set_num_threads(place.threads)
    if place.rates is not None:
        know_rates("cpu", place.rates)
    tracking.connect(place.store)
    surroundings = Surroundings(place.parent, partial(_alone, pipe))
    had: dict[int, Materials] = {}
    try:
        while (task := pipe.recv()) is not None:
            plan, key, materials = task
            had.setdefault(key, materials)
            prepare_process(f"{plan.variant.name} {plan.settings.seed}")
            pipe.send(_outcome(partial(fit_variant, plan, had[key], nested=True, surroundings=surroundings)))
            gc.collect()
    except EOFError:
        return
    except KeyboardInterrupt:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)  # whoever asks how this process ended is told


def _outcome(fitting: Callable[[], FittedRun]) -> Outcome:
    try:
        return fitting()
    except FAULTS as error:
        return in_one_line(error)


@contextmanager
def _alone(pipe: Connection) -> Iterator[None]:
    """Within it, the other processes of the pool are suspended; they go on even if the parent ends meanwhile."""
    pipe.send(QUIET)
    suspended = pipe.recv()
    try:
        yield
    finally:
        _resume(suspended)
        _tell(pipe, QUIET)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    for _ in range(ATTEMPTS_TO_END):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_END)
    os._exit(1)
