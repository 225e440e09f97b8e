"""Chooses the graph that answers: `checked` if it is faster on the machine that serves, otherwise float32.

How much faster int8 is depends on the processor: with VNNI or AMX at least twice as fast as float32, without them not
faster at all. The machine that exports cannot know this. So the machine that serves measures both at start, in about a
second, on the bundle's samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from evenodd.classifier.bundle import Bundle
from evenodd.classifier.manifest import CHECKED, EXACT

FASTER = 1.15
"""Minimum speed-up of `checked`: below it, exact scores are worth more."""
SECONDS = 1.0
LEAST_PASSES, MOST_PASSES = 3, 20

Pass = Callable[[], object]


@dataclass(frozen=True)
class Choice:
    """A graph, and the reason for it.

    Attributes:
        graph: `checked`, `fp32`, `fp16` or `int8`.
        why: a sentence without its full stop, as `/info` shows it.
        settled: whether the choice needs no measurement.
    """

    graph: str
    why: str
    settled: bool = True


def name_graph(bundle: Bundle, asked: str | None, device: str) -> Choice:
    """The requested graph, or the bundle's graph for the device, where `checked` still has to be measured.

    Args:
        bundle: with `recommended` and `graphs`.
        asked: graph requested by the operator; None: none.
        device: `cpu` or `cuda`.
    """
    if asked is not None:
        return Choice(asked, "it was requested")
    graphs = bundle.description["graphs"]
    named = bundle.description["recommended"].get(device) or (EXACT if EXACT in graphs else next(iter(graphs)))
    return Choice(str(named), f"the bundle names it for {device}", settled=named != CHECKED)


def choose_faster(fast: Pass, exact: Pass, share: float) -> Choice:
    """Chooses `checked` if it is at least `FASTER` times as fast as float32.

    Args:
        fast: runs windows through the graph that answers first.
        exact: runs the same windows through float32.
        share: share of the windows that float32 answers again.
    """
    fast_seconds, exact_seconds = time_both(fast, exact)
    gain = exact_seconds / (fast_seconds + share * exact_seconds)
    measured = f"measured at start, it answers {gain:.2f} times as many texts per second as fp32 on this machine"
    if gain >= FASTER:
        return Choice(CHECKED, measured)
    return Choice(EXACT, f"{CHECKED} would gain too little: {measured}, and {FASTER} times are required")


def time_both(first: Pass, second: Pass, seconds: float = SECONDS) -> tuple[float, float]:
    """Seconds of one pass of each graph: the shortest of several alternating runs, so that load affects both."""
    first(), second()
    best, until = [float("inf"), float("inf")], time.perf_counter() + seconds
    for done in range(MOST_PASSES):
        if done >= LEAST_PASSES and time.perf_counter() > until:
            break
        for which, run in enumerate((first, second)):
            started = time.perf_counter()
            run()
            best[which] = min(best[which], time.perf_counter() - started)
    return best[0], best[1]
