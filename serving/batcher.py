"""Merging the texts of concurrent requests into batches.

One thread per session takes what waits, splits it into token windows, and runs the graph round after round. A round
holds about `token_budget` tokens, and each waiting request gives to it in turn a few windows, so a single text does
not stand behind a request of 256 or behind a text of 10,000 words. Nothing waits for a batch to fill: while one round
runs, the next one gathers, so batches grow with the load and a lone request runs at once; only those who were just
answered, several together, get a moment to ask again. Tokenisation happens in this thread too, off the event loop, a
slice of characters between two rounds: a request's tokens are counted before any of them runs, and a request that is
too large, too late or given up is let go at the next slice or round.
"""

from __future__ import annotations

import asyncio
import collections
import ctypes
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evenodd.classifier.engine import Engine
from evenodd.classifier.session import graph_errors

from .admission import Admission, Limits, OverloadedError, TooLargeError
from .metrics import Metrics

logger = logging.getLogger(__name__)

BYTES_PER_TOKEN = 4
SPECIAL_TOKENS = 3
SLICE_CHARS = 16_384
SLICES_PER_ROUND = 4
WINDOWS_PER_TURN = 16
FOLLOWERS = 4
FOLLOW_SECONDS = 0.001
LARGE_TOKENS = 16_384
IDLE_SECONDS = 1.0
CALIBRATION_TOKENS = 64

# Given the tokens of a request's texts, the further texts that it asks for.
Follow = Callable[[int], Sequence[str]]


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
    client: str = ""
    follow: Follow | None = None
    watch: asyncio.Task[None] | None = None
    late: bool = False
    abandoned: bool = False
    windows: list[list[int]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    tokens: int = 0
    large: bool = False
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

    Args:
        engine: warm.
        metrics: of the variant.
        limits: what is taken on.
        exact: every score is the text's own; see Engine.score_windows.
    """

    def __init__(self, engine: Engine, metrics: Metrics, *, limits: Limits, exact: bool = False) -> None:
        self._exact = exact
        self._engine = engine
        self._metrics = metrics
        self.admission = Admission(limits, measure_rate(engine))
        self._waiting: collections.deque[Job] = collections.deque()
        self._unread: collections.deque[Job] = collections.deque()
        self._active: collections.deque[Job] = collections.deque()
        self._jobs: set[Job] = set()
        self._wake = threading.Condition()
        self._closing = False
        self._large = False
        self._moved = time.monotonic()
        self._thread = threading.Thread(target=self._work, name=f"batcher-{engine.bundle.variant}", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Tokens that wait or run; of texts that were not read yet, estimated."""
        return self.admission.pending

    @property
    def still_seconds(self) -> float:
        """For how long requests have waited and nothing was done."""
        return time.monotonic() - self._moved if self._jobs else 0.0

    def submit(
        self, texts: Sequence[str], *, client: str = "", exact: bool = False, follow: Follow | None = None
    ) -> Job:
        """Put texts into the queue. The job's future gives the answers in their order, or raises TooLargeError.

        Args:
            texts: the texts.
            client: who asks.
            exact: no score depends on the texts beside it; see Engine.score_windows.
            follow: further texts of the request, known when the tokens of `texts` are; may raise TooLargeError.

        Raises:
            OverloadedError: it would not be answered in time.
        """
        cost = sum(SPECIAL_TOKENS + _length(text) // BYTES_PER_TOKEN for text in texts)
        cost = min(cost, self.admission.limits.max_tokens)
        job = Job(texts, cost, asyncio.get_running_loop().create_future(), time.perf_counter(), client, follow)
        job.exact = self._engine.depends_on_batch and (exact or self._exact)
        job.large = cost > LARGE_TOKENS
        with self._wake:
            try:
                if self._closing:
                    raise OverloadedError("closing", 1.0)
                self.admission.enter(cost, client)
            except OverloadedError as fault:
                self._metrics.shed(fault.reason, len(texts))
                raise
            if not self._jobs:
                self._moved = time.monotonic()
            self._jobs.add(job)
            self._waiting.append(job)
            self._wake.notify()
        return job

    async def score(self, texts: Sequence[str]) -> list[Scored]:
        """Submit and wait. Cancelling the call takes its texts out of the queue.

        Raises:
            OverloadedError: the queue is full.
            TooLargeError: it is more than one request may hold.
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
                started = time.perf_counter()
                self._read_some()
                members = self._fill_round()
                try:
                    done, tokens = self._run_round(members)
                except graph_errors() as fault:
                    logger.error("round failed | %s | %d windows", type(fault).__name__, sum(n for _, _, n in members))
                    self._fail([job for job, _, _ in members], RuntimeError("the graph failed on this batch"))
                else:
                    self._finish(done)
                    self._note(tokens, time.perf_counter() - started)
                    self._let_follow(len(done))
        finally:
            self._closing = True
            self._fail([*self._active, *self._unread, *self._waiting], RuntimeError("the queue has ended"))

    def _gather(self) -> bool:
        """Wait for work. False: closing, and nothing is left."""
        with self._wake:
            while not (self._waiting or self._unread or self._active):
                if self._closing:
                    return False
                if not self._wake.wait(IDLE_SECONDS if self._large else None):
                    self._large = False
                    _give_memory_back()
            self._unread.extendleft(reversed(self._waiting))  # before those that need more than a slice
            self._waiting.clear()
        return True

    def _read_some(self) -> None:
        """Tokenise a few slices of what was not read yet, one request after the other."""
        room = SLICES_PER_ROUND * SLICE_CHARS
        while self._unread and room > 0:
            job = self._unread.popleft()
            if self._drop(job):
                continue
            try:
                room -= self._read_slice(job)
            except (OverloadedError, TooLargeError) as fault:
                self._turn_away(job, fault)
            else:
                whole = len(job.counts) == len(job.texts)
                (self._active if whole else self._unread).append(job)

    def _read_slice(self, job: Job) -> int:
        """Tokenise the job's next texts, and those that follow from them. Returns their characters."""
        end, chars = len(job.counts), 0
        while end < len(job.texts) and chars < SLICE_CHARS:
            chars += len(job.texts[end]) + 1
            end += 1
        for parts in self._engine.tokenize(job.texts[len(job.counts) : end]):
            job.counts.append(len(parts))
            job.windows.extend(parts)
            job.tokens += sum(map(len, parts))
        if job.tokens > self.admission.limits.max_tokens:
            raise TooLargeError(f"more than {self.admission.limits.max_tokens} tokens; send less at a time")
        if end == len(job.texts):
            self._all_read(job)
        return chars

    def _all_read(self, job: Job) -> None:
        """The job's tokens are known: ask for what follows, or let it take its turns."""
        cost = job.tokens
        if job.follow is not None:
            further, job.follow = job.follow(job.tokens), None
            job.texts = [*job.texts, *further]
            cost += job.tokens * len(further)
        job.large = job.large or cost > LARGE_TOKENS
        with self._wake:
            self.admission.correct(job.cost, cost, job.client)
            job.cost = cost
        if len(job.counts) == len(job.texts):
            job.exact = job.exact or self._engine.needs_exact(job.counts)
            job.rows = np.empty((len(job.windows), len(self._engine.decision.label_names)))

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

    def _run_round(self, members: list[tuple[Job, int, int]]) -> tuple[list[Job], int]:
        """Runs the windows; the jobs that are complete with them, and the tokens that ran."""
        windows = [window for job, first, count in members for window in job.windows[first : first + count]]
        if not windows:
            return [], 0
        exact = [job.exact for job, _, count in members for _ in range(count)]
        before = self._engine.run_again
        rows = self._engine.score_windows(windows, exact)
        self._metrics.batch(len(windows), len(members), self._engine.run_again - before)
        start, done = 0, []
        for job, first, count in members:
            job.rows[first : first + count] = rows[start : start + count]
            start += count
            if job.next == len(job.windows):
                done.append(job)
        return done, sum(map(len, windows))

    def _finish(self, jobs: list[Job]) -> None:
        answers = [(job, _collect(job, self._engine)) for job in jobs]
        self._release(jobs)
        _on_loop(answers, _set_result)

    def _note(self, tokens: int, seconds: float) -> None:
        """Something was done: it says how fast, and that the queue moves."""
        with self._wake:
            self._moved = time.monotonic()
            if tokens:
                self.admission.rate.add(tokens, seconds)

    def _let_follow(self, answered: int) -> None:
        """Under load, lets those who were just answered ask again before the next round, so that rounds are not halves.

        As long as requests come in a millisecond apart, and no more of them than were answered or than fill a round.
        """
        if answered < FOLLOWERS:
            return
        with self._wake:
            wanted = len(self._waiting) + answered
            came = -1
            while came < len(self._waiting) < wanted and self.pending < self._engine.round_tokens:
                came = len(self._waiting)
                self._wake.wait(FOLLOW_SECONDS)

    def _turn_away(self, job: Job, fault: OverloadedError | TooLargeError) -> None:
        """The job is more than may be run."""
        self._metrics.shed(fault.reason if isinstance(fault, OverloadedError) else "size", len(job.texts))
        self._fail([job], fault)

    def _fail(self, jobs: list[Job], fault: Exception) -> None:
        for job in jobs:
            if job in self._active:
                self._active.remove(job)
        self._release(jobs)
        _on_loop([(job, fault) for job in jobs], _set_fault)

    def _drop(self, job: Job) -> bool:
        """Whether nobody waits for the job any more; then it leaves the queue."""
        if job.abandoned:
            self._metrics.abandoned(len(job.texts))
            self._release([job])
        return job.abandoned

    def _release(self, jobs: list[Job]) -> None:
        with self._wake:
            for job in self._jobs.intersection(jobs):
                self.admission.leave(job.cost, job.client)
                self._jobs.remove(job)
                self._large = self._large or job.large
        for job in jobs:
            job.texts, job.windows = (), []


def measure_rate(engine: Engine) -> float:
    """Tokens per second of one full round, so that the first requests meet a limit that fits the machine."""
    windows = [[0] * CALIBRATION_TOKENS] * max(engine.round_tokens // CALIBRATION_TOKENS, 1)
    started = time.perf_counter()
    engine.score_windows(windows)
    return len(windows) * CALIBRATION_TOKENS / (time.perf_counter() - started)


def _length(text: str) -> int:
    """Bytes of the text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def _give_memory_back() -> None:
    """The C library keeps what was freed unless it is told; Linux with glibc only."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


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
            Scored(
                engine.decision.pool(job.rows[start:end]), count, sum(len(window) for window in job.windows[start:end])
            )
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


def _set_fault(group: list[tuple[Job, Exception]]) -> None:
    for job, fault in group:
        if not job.future.done():
            job.future.set_exception(fault)
