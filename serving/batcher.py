"""Merging the texts of concurrent requests into batches.

One thread per session takes what waits, splits it into token windows, and runs the graph round after round. A round
holds about `token_budget` tokens, and each waiting request gives to it in turn a few windows, so a single text does
not stand behind a request of 256 or behind a text of 10,000 words. Nothing waits for a batch to fill: while one round
runs, the next one gathers, so batches grow with the load and a lone request runs at once; only those who were just
answered, several together, get a moment to ask again. Tokenisation happens in this thread too, off the event loop.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .engine import Engine
from .metrics import Metrics
from .session import graph_errors

logger = logging.getLogger(__name__)

CHARS_PER_TOKEN = 4
WINDOWS_PER_TURN = 16
LEAST_COST = 1024
FOLLOWERS = 4
FOLLOW_SECONDS = 0.001


class OverloadedError(RuntimeError):
    """More waits than the worker may take."""


@dataclass
class Scored:
    """A text's answer.

    Attributes:
        probabilities: float64, (labels,).
        windows: how many windows it was read in.
        tokens: its length in tokens, special ones included and overlaps counted twice.
    """

    probabilities: np.ndarray
    windows: int
    tokens: int


@dataclass(eq=False)
class Job:
    """A request's texts on their way.

    `future`, `watch` and `late` belong to the event loop, `abandoned` is set there, the rest belongs to the batcher's
    thread.
    """

    texts: Sequence[str]
    cost: int
    future: asyncio.Future[list[Scored]]
    arrived: float
    watch: asyncio.Task[None] | None = None
    late: bool = False
    abandoned: bool = False
    windows: list[list[int]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    rows: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    next: int = 0
    exact: bool = False

    def abandon(self) -> None:
        """Nobody waits for the answer any more: what has not run yet never will."""
        self.abandoned = True
        self.future.cancel()


class Batcher:
    """A queue in front of one engine, and the thread that empties it.

    `submit` and `score` are for the event loop; everything with the engine happens in the thread.
    """

    def __init__(self, engine: Engine, metrics: Metrics, *, max_queue: int, exact: bool = False) -> None:
        self._exact = exact
        self._engine = engine
        self._metrics = metrics
        self._max_queue = max_queue
        self._waiting: collections.deque[Job] = collections.deque()
        self._active: collections.deque[Job] = collections.deque()
        self._jobs: set[Job] = set()
        self._pending = 0
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=f"batcher-{engine.bundle.variant}", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Tokens that wait or run, estimated."""
        return self._pending

    def submit(self, texts: Sequence[str], *, exact: bool = False) -> Job:
        """Put texts into the queue. The job's future gives the answers in their order.

        With `exact`, no score depends on the texts beside it; see Engine.score_windows.

        Raises:
            OverloadedError: the queue is full. A queue that is empty takes any one request.
        """
        cost = sum(3 + len(text) // CHARS_PER_TOKEN for text in texts)
        job = Job(texts, cost, asyncio.get_running_loop().create_future(), time.perf_counter())
        job.exact = self._engine.depends_on_batch and (exact or self._exact)
        with self._wake:
            if self._closing or (self._jobs and self._ahead_of(cost) + cost > self._max_queue):
                self._metrics.shed(len(texts))
                raise OverloadedError(f"{self._pending} tokens wait already, of {self._max_queue} that may")
            self._jobs.add(job)
            self._pending += cost
            self._waiting.append(job)
            self._wake.notify()
        return job

    async def score(self, texts: Sequence[str]) -> list[Scored]:
        """Submit and wait. Cancelling the call takes its texts out of the queue.

        Raises:
            OverloadedError: the queue is full.
            RuntimeError: the graph failed on these texts.
        """
        job = self.submit(texts)
        try:
            return await job.future
        except asyncio.CancelledError:
            job.abandon()
            raise

    def close(self) -> None:
        """Finish what was accepted, then end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        try:
            while self._gather():
                members = self._fill_round()
                try:
                    done = self._run_round(members)
                except graph_errors() as fault:
                    logger.error("round failed | %s | %d windows", type(fault).__name__, sum(n for _, _, n in members))
                    self._fail([job for job, _, _ in members])
                else:
                    self._finish(done)
                    self._let_follow(len(done))
        finally:
            self._closing = True
            self._fail([*self._active, *self._waiting])

    def _gather(self) -> bool:
        """Wait for work and tokenise what came in. False: closing, and nothing is left."""
        with self._wake:
            while not self._waiting and not self._active:
                if self._closing:
                    return False
                self._wake.wait()
            arrived = list(self._waiting)
            self._waiting.clear()
        fresh = [job for job in arrived if not self._drop(job)]
        if fresh:
            self._tokenize(fresh)
        return True

    def _tokenize(self, jobs: list[Job]) -> None:
        split = self._engine.tokenize([text for job in jobs for text in job.texts])
        start = 0
        for job in jobs:
            parts = split[start : start + len(job.texts)]
            start += len(job.texts)
            job.counts = [len(part) for part in parts]
            job.windows = [window for part in parts for window in part]
            job.exact = job.exact or self._engine.needs_exact(job.counts)
            job.rows = np.empty((len(job.windows), len(self._engine.policy.labels)))
        self._active.extend(jobs)

    def _fill_round(self) -> list[tuple[Job, int, int]]:
        """(job, first window, windows) until the round is full; each job gives a few in its turn."""
        members: list[tuple[Job, int, int]] = []
        room = self._engine.round_tokens
        turns = len(self._active)
        while self._active and turns > 0 and room > 0:
            turns -= 1
            job = self._active.popleft()
            if self._drop(job):
                continue
            if job.next == 0:
                self._metrics.queue_wait(time.perf_counter() - job.arrived)
            count = _fitting(job, room)
            members.append((job, job.next, count))
            room -= sum(len(window) for window in job.windows[job.next : job.next + count])
            job.next += count
            if job.next < len(job.windows):
                self._active.append(job)
        return members

    def _run_round(self, members: list[tuple[Job, int, int]]) -> list[Job]:
        """Score the windows. Returns the jobs that are now complete."""
        if not members:
            return []
        windows = [window for job, start, count in members for window in job.windows[start : start + count]]
        before = self._engine.run_again
        rows = self._engine.score_windows(windows, [job.exact for job, _, count in members for _ in range(count)])
        self._metrics.batch(len(windows), len(members), self._engine.run_again - before)
        position, done = 0, []
        for job, start, count in members:
            job.rows[start : start + count] = rows[position : position + count]
            position += count
            if start + count == len(job.windows):
                done.append(job)
        return done

    def _finish(self, jobs: list[Job]) -> None:
        answers = [(job, _collect(job, self._engine)) for job in jobs]
        self._release(jobs)
        _on_loop(answers, _set_result)

    def _let_follow(self, answered: int) -> None:
        """Under load, lets those who were just answered ask again before the next round, so that rounds are not halves.

        As long as requests come in a millisecond apart, and no more of them than were answered or than fill a round.
        """
        if answered < FOLLOWERS:
            return
        with self._wake:
            wanted = len(self._waiting) + answered
            came = -1
            while came < len(self._waiting) < wanted and self._pending < self._engine.round_tokens:
                came = len(self._waiting)
                self._wake.wait(FOLLOW_SECONDS)

    def _fail(self, jobs: list[Job]) -> None:
        fault = RuntimeError("the graph failed on this batch")
        for job in jobs:
            if job in self._active:
                self._active.remove(job)
        self._release(jobs)
        _on_loop([(job, fault) for job in jobs], _set_fault)

    def _drop(self, job: Job) -> bool:
        """Whether nobody waits for the job any more; then it leaves the queue."""
        if job.abandoned:
            self._release([job])
            self._metrics.abandoned(len(job.texts))
        return job.abandoned

    def _release(self, jobs: list[Job]) -> None:
        with self._wake:
            done = self._jobs.intersection(jobs)
            self._jobs -= done
            self._pending -= sum(job.cost for job in done)

    def _ahead_of(self, cost: int) -> int:
        """Tokens that run before a job of that cost is done: jobs take turns, so a larger counts as much as this."""
        if self._pending + cost <= self._max_queue:
            return self._pending
        return sum(min(job.cost, max(cost, LEAST_COST)) for job in self._jobs)


def _fitting(job: Job, room: int) -> int:
    """How many of the job's next windows go into a round with so much room: at least one."""
    count = 0
    for window in job.windows[job.next : job.next + WINDOWS_PER_TURN]:
        room -= len(window)
        if count and room < 0:
            break
        count += 1
    return count


def _collect(job: Job, engine: Engine) -> list[Scored]:
    answers, start = [], 0
    for count in job.counts:
        end = start + count
        answers.append(
            Scored(engine.pool(job.rows[start:end]), count, sum(len(window) for window in job.windows[start:end]))
        )
        start = end
    return answers


def _on_loop(answers: list[tuple[Job, Any]], deliver: Any) -> None:
    """Hand answers to their event loop, in one call per loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, Any]]] = {}
    for job, value in answers:
        by_loop.setdefault(job.future.get_loop(), []).append((job, value))
    for loop, group in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(deliver, group)


def _set_result(group: list[tuple[Job, list[Scored]]]) -> None:
    for job, value in group:
        if not job.future.done():
            job.future.set_result(value)


def _set_fault(group: list[tuple[Job, RuntimeError]]) -> None:
    for job, fault in group:
        if not job.future.done():
            job.future.set_exception(fault)
