"""Requests in the queue, and the delivery of their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evenodd.task import Decision

BYTES_PER_TOKEN = 4
SPECIAL_TOKENS = 3

# From the tokens of a request's texts, the further texts of the request.
Follow = Callable[[int], Sequence[str]]


@dataclass
class Scored:
    """A text's answer.

    Attributes:
        probabilities: float64, (labels,).
        windows: number of windows.
        tokens: length in tokens, with special tokens; overlaps count twice.
    """

    probabilities: np.ndarray
    windows: int
    tokens: int


@dataclass(eq=False)
class Job:
    """A request's texts in the queue.

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
        """Drops the job's remaining work, because its client is gone."""
        self.abandoned = True
        self.future.cancel()


def estimate_cost(texts: Sequence[str]) -> int:
    """Estimated tokens of texts that are not tokenised yet."""
    return sum(SPECIAL_TOKENS + _length(text) // BYTES_PER_TOKEN for text in texts)


def collect(job: Job, decision: Decision) -> list[Scored]:
    """The answers of a finished job, one for each text."""
    answers, start = [], 0
    for count in job.counts:
        end = start + count
        tokens = sum(len(window) for window in job.windows[start:end])
        answers.append(Scored(decision.pool(job.rows[start:end]), count, tokens))
        start = end
    return answers


def deliver(answers: Sequence[tuple[Job, list[Scored] | Exception]]) -> None:
    """Delivers answers and faults, with one call per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, Any]]] = {}
    for job, value in answers:
        by_loop.setdefault(job.future.get_loop(), []).append((job, value))
    for loop, group in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, group)


def _settle(group: Sequence[tuple[Job, list[Scored] | Exception]]) -> None:
    for job, value in group:
        if job.future.done():
            continue
        if isinstance(value, Exception):
            job.future.set_exception(value)
        else:
            job.future.set_result(value)


def _length(text: str) -> int:
    """Bytes of the text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())
