"""Tokenises texts slice by slice: a request's work is known before any of it runs."""

from __future__ import annotations

import numpy as np

from evenodd.classifier.engine import Engine

from .admission import TooLargeError
from .jobs import Job

SLICE_CHARS = 16_384
SLICES_PER_ROUND = 4


def read_slice(job: Job, engine: Engine, max_tokens: int) -> int:
    """Tokenises the job's next texts. Returns their number of characters.

    Raises:
        TooLargeError: the request holds more than `max_tokens`.
    """
    end, chars = len(job.counts), 0
    while end < len(job.texts) and chars < SLICE_CHARS:
        chars += len(job.texts[end]) + 1
        end += 1
    for parts in engine.tokenize(job.texts[len(job.counts) : end]):
        job.counts.append(len(parts))
        job.windows.extend(parts)
        job.tokens += sum(map(len, parts))
    if job.tokens > max_tokens:
        raise TooLargeError(f"more than {max_tokens} tokens; send less text at a time")
    return chars


def ask_further(job: Job) -> int:
    """The true cost in tokens of a job whose first texts are tokenised; its further texts are added.

    Raises:
        TooLargeError: the further texts exceed the limit.
    """
    if job.follow is None:
        return job.tokens
    further, job.follow = job.follow(job.tokens), None
    job.texts = [*job.texts, *further]
    return job.tokens * (1 + len(further))


def make_ready(job: Job, engine: Engine) -> None:
    """Marks a completely tokenised job as ready to run."""
    job.exact = job.exact or engine.needs_exact(job.counts)
    job.rows = np.empty((len(job.windows), len(engine.decision.label_names)))
