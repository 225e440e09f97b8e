"""Rounds of the batcher: choosing the next windows, and running them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from evenodd.classifier.engine import Engine

from .jobs import Job
from .metrics import Metrics

WINDOWS_PER_TURN = 16
CALIBRATION_TOKENS = 64


@dataclass(frozen=True)
class Share:
    """A job's share of a round: its first window and their number."""

    job: Job
    first: int
    count: int


def fill_round(active: deque[Job], room: int, drop: Callable[[Job], bool]) -> list[Share]:
    """Takes windows until the round is full; each job in turn gives a few and moves to the end of the queue.

    Args:
        active: tokenised jobs in the order of their turns; those without further windows are removed.
        room: tokens of a round.
        drop: whether a job's client is gone.
    """
    shares: list[Share] = []
    turns = len(active)
    while active and turns > 0 and room > 0:
        turns -= 1
        job = active.popleft()
        if drop(job):
            continue
        count = _fitting(job, room)
        shares.append(Share(job, job.next, count))
        room -= sum(len(window) for window in job.windows[job.next : job.next + count])
        job.next += count
        if job.next < len(job.windows):
            active.append(job)
    return shares


def run_round(engine: Engine, metrics: Metrics, shares: list[Share]) -> tuple[list[Job], int]:
    """Runs the windows. Returns the jobs that are now complete, and the number of tokens."""
    windows = [window for share in shares for window in share.job.windows[share.first : share.first + share.count]]
    if not windows:
        return [], 0
    exact = [share.job.exact for share in shares for _ in range(share.count)]
    before = engine.run_again
    rows = engine.score_windows(windows, exact)
    metrics.batch(len(windows), len(shares), engine.run_again - before)
    start, done = 0, []
    for share in shares:
        job = share.job
        job.rows[share.first : share.first + share.count] = rows[start : start + share.count]
        start += share.count
        if share.first + share.count == len(job.windows):
            done.append(job)
    return done, sum(map(len, windows))


def measure_rate(engine: Engine) -> float:
    """Tokens per second of one full round, so that the first limit already fits the machine."""
    windows = [[0] * CALIBRATION_TOKENS] * max(engine.round_tokens // CALIBRATION_TOKENS, 1)
    started = time.perf_counter()
    engine.score_windows(windows)
    return len(windows) * CALIBRATION_TOKENS / (time.perf_counter() - started)


def _fitting(job: Job, room: int) -> int:
    """Number of the job's next windows that fit into the round, at least one."""
    count = 0
    for window in job.windows[job.next : job.next + WINDOWS_PER_TURN]:
        room -= len(window)
        if count and room < 0:
            break
        count += 1
    return count
