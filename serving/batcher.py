"""Merging the texts of concurrent requests into batches.

One thread per session takes waiting requests, splits them into token windows, and runs the graph in rounds. A round
holds about `token_budget` tokens, and each waiting request contributes a few windows in turn, so a single text does
not wait for a request of 256 texts or a text of 10,000 words. No request waits for a batch to fill: while one round
runs, the next one is gathered, so batches grow with the load and a lone request runs at once; only if several clients
were just answered does the thread wait a moment for their next requests. Tokenisation also runs in this thread,
outside the event loop, one slice of characters between two rounds: a request's tokens are counted before any of them
runs, and a request that is too large, too late or cancelled is dropped at the next slice or round.
"""

from __future__ import annotations

import asyncio
import collections
import ctypes
import logging
import sys
import threading
import time
from collections.abc import Sequence

from evenodd.classifier.engine import Engine
from evenodd.classifier.session import graph_errors

from .admission import Admission, Limits, OverloadedError, TooLargeError
from .jobs import Follow, Job, Scored, collect, deliver, estimate_cost
from .metrics import Metrics
from .reading import SLICE_CHARS, SLICES_PER_ROUND, ask_further, make_ready, read_slice
from .rounds import Share, fill_round, measure_rate, run_round

logger = logging.getLogger(__name__)

FOLLOWERS = 4
FOLLOW_SECONDS = 0.001
LARGE_TOKENS = 16_384
IDLE_SECONDS = 1.0


class Batcher:
    """A queue in front of one engine, and the thread that empties it.

    `submit` and `score` are called from the event loop; the engine is used only in the thread.

    Args:
        engine: warm.
        metrics: of the variant.
        limits: limits of the queue.
        exact: scores do not depend on the other texts; see Engine.score_windows.
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
        """Tokens that wait or run; estimated for texts that are not tokenised yet."""
        return self.admission.pending

    @property
    def still_seconds(self) -> float:
        """Seconds since the last progress while requests wait."""
        return time.monotonic() - self._moved if self._jobs else 0.0

    def submit(
        self, texts: Sequence[str], *, client: str = "", exact: bool = False, follow: Follow | None = None
    ) -> Job:
        """Queues texts. The job's future returns the answers in their order, or raises TooLargeError.

        Args:
            texts: the texts.
            client: name of the client.
            exact: scores do not depend on the other texts; see Engine.score_windows.
            follow: gives further texts of the request once the tokens of `texts` are known; may raise TooLargeError.

        Raises:
            OverloadedError: it would not be answered in time.
        """
        cost = min(estimate_cost(texts), self.admission.limits.max_tokens)
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
        """Submits and waits. Cancelling the call removes its texts from the queue.

        Raises:
            OverloadedError: the queue is full.
            TooLargeError: it exceeds the limit of one request.
            RuntimeError: the graph failed on these texts.
        """
        job = self.submit(texts)
        try:
            return await job.future
        except asyncio.CancelledError:
            job.abandon()
            raise

    def close(self) -> None:
        """Finishes accepted requests, then ends the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        try:
            while self._gather():
                started = time.perf_counter()
                self._read_some()
                shares = self._fill_round()
                try:
                    done, tokens = run_round(self._engine, self._metrics, shares)
                except graph_errors() as fault:
                    windows = sum(share.count for share in shares)
                    logger.error("round failed | %s | %d windows", type(fault).__name__, windows)
                    self._fail([share.job for share in shares], RuntimeError("the graph failed on this batch"))
                else:
                    self._finish(done)
                    self._note(tokens, time.perf_counter() - started)
                    self._let_follow(len(done))
        finally:
            self._closing = True
            self._fail([*self._active, *self._unread, *self._waiting], RuntimeError("the queue has ended"))

    def _gather(self) -> bool:
        """Waits for work. False: the batcher is closing and empty."""
        with self._wake:
            while not (self._waiting or self._unread or self._active):
                if self._closing:
                    return False
                if not self._wake.wait(IDLE_SECONDS if self._large else None):
                    self._large = False
                    _give_memory_back()
            self._unread.extendleft(reversed(self._waiting))  # before jobs that need more than a slice
            self._waiting.clear()
        return True

    def _read_some(self) -> None:
        """Tokenises a few slices, one request after the other."""
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
                self._go_on(job)

    def _go_on(self, job: Job) -> None:
        """Lets the job take turns once it is tokenised."""
        if len(job.counts) < len(job.texts):
            self._unread.append(job)
            return
        make_ready(job, self._engine)
        self._active.append(job)

    def _read_slice(self, job: Job) -> int:
        """Tokenises some of the job's texts, and corrects its cost afterwards. Returns their number of characters."""
        chars = read_slice(job, self._engine, self.admission.limits.max_tokens)
        if len(job.counts) == len(job.texts):
            cost = ask_further(job)
            job.large = job.large or cost > LARGE_TOKENS
            with self._wake:
                self.admission.correct(job.cost, cost, job.client)
                job.cost = cost
        return chars

    def _fill_round(self) -> list[Share]:
        shares = fill_round(self._active, self._engine.round_tokens, self._drop)
        for share in shares:
            if share.first == 0:
                self._metrics.queue_wait(time.perf_counter() - share.job.arrived)
        return shares

    def _finish(self, jobs: list[Job]) -> None:
        answers = [(job, collect(job, self._engine.decision)) for job in jobs]
        self._release(jobs)
        deliver(answers)

    def _note(self, tokens: int, seconds: float) -> None:
        """Records progress: the rate, and that the queue moves."""
        with self._wake:
            self._moved = time.monotonic()
            if tokens:
                self.admission.rate.add(tokens, seconds)

    def _let_follow(self, answered: int) -> None:
        """Under load, waits for the next requests of clients that were just answered, so that rounds are not half
        empty.

        It waits while requests arrive within a millisecond of each other, and until as many have arrived as were
        answered or as fill a round.
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
        """Refuses a job that is too large."""
        self._metrics.shed(fault.reason if isinstance(fault, OverloadedError) else "size", len(job.texts))
        self._fail([job], fault)

    def _fail(self, jobs: list[Job], fault: Exception) -> None:
        for job in jobs:
            if job in self._active:
                self._active.remove(job)
        self._release(jobs)
        deliver([(job, fault) for job in jobs])

    def _drop(self, job: Job) -> bool:
        """Whether the job's client is gone; if so, the job leaves the queue."""
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


def _give_memory_back() -> None:
    """Returns freed memory to the system, which the C library would otherwise keep; Linux with glibc only."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
