"""Prometheus metrics of the service, merged over its workers. Labels never contain anything that a client sent."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .drift import Drift
from .following import State
from .metric_files import VARIABLE, locked, sum_up_the_dead

SCORE_BUCKETS = tuple(i / 20 for i in range(1, 21))
LENGTH_BUCKETS = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


GAUGES: dict[str, tuple[str, list[str]]] = {
    "started_seconds": ("Start of the newest worker, seconds since 1970", []),
    "queue_wait_estimate_seconds": ("Wait of a short request now, in the worker with the longest queue", ["variant"]),
    "queue_still_seconds": ("Seconds that requests have waited in a worker without any progress", ["variant"]),
    "provider_info": ("1 for the provider, graph and version in use", ["variant", "provider", "graph", "version"]),
    "registry_checked_seconds": ("Last answer of the registry, seconds since 1970", []),
    "model_since_seconds": ("When the served version was found, seconds since 1970", []),
    "model_refusals": ("Versions of the followed model refused since the service started", []),
    "drift_psi": (
        "Population stability index against validation, of the worker where it is largest",
        ["variant", "of"],
    ),
}
"""Gauges by name: meaning and labels. Of several workers the largest value is shown."""


class Instruments:
    """All metric families, created once per process.

    `prometheus_client` is imported here: a BentoML worker sets the folder of its multi-process files only after it
    has imported the service, and the client reads it on import.
    """

    _made: Instruments | None = None

    def __init__(self) -> None:
        from prometheus_client import Counter as PromCounter
        from prometheus_client import Gauge, Histogram

        of = ["variant"]
        self.decisions = PromCounter("evenodd_decisions", "Texts by decision", [*of, "decision"])
        self.scores = Histogram("evenodd_score", "Calibrated score of a text", of, buckets=SCORE_BUCKETS)
        self.lengths = Histogram("evenodd_text_tokens", "Length of a text in tokens", of, buckets=LENGTH_BUCKETS)
        self.batch = Histogram("evenodd_batch_windows", "Token windows in one batch", of, buckets=BATCH_BUCKETS)
        self.merged = Histogram("evenodd_batch_requests", "Requests in one batch", of, buckets=BATCH_BUCKETS)
        self.wait = Histogram("evenodd_queue_wait_seconds", "From arrival to first run", of, buckets=SECONDS_BUCKETS)
        self.seconds = Histogram("evenodd_answer_seconds", "From request to answer", ["path"], buckets=SECONDS_BUCKETS)
        self.again = PromCounter("evenodd_run_again_windows", "Windows that `checked` repeated in float32", of)
        self.shed = PromCounter("evenodd_shed_texts", "Texts refused, by reason", [*of, "reason"])
        self.abandoned = PromCounter("evenodd_abandoned_texts", "Texts not run because the client had disconnected", of)
        self.answers = PromCounter("evenodd_answers", "Answers by path and status", ["path", "status"])
        self.refused = PromCounter("evenodd_refused_requests", "Requests refused, by reason", ["path", "reason"])
        gauges = {
            name: Gauge(f"evenodd_{name}", words, labels, multiprocess_mode="livemax")
            for name, (words, labels) in GAUGES.items()
        }
        self.started, self.changed = gauges["started_seconds"], gauges["model_since_seconds"]
        self.queue, self.still = gauges["queue_wait_estimate_seconds"], gauges["queue_still_seconds"]
        self.checked, self.refusals = gauges["registry_checked_seconds"], gauges["model_refusals"]
        self.provider, self.drift = gauges["provider_info"], gauges["drift_psi"]

    def answered(self, path: str, status: int, reason: str | None = None, seconds: float | None = None) -> None:
        """Counts an answer.

        Args:
            path: a known path, `page` or `other`.
            status: of HTTP.
            reason: reason of a refusal, if any.
            seconds: duration, if it is to be recorded.
        """
        self.answers.labels(path, str(status)).inc()
        if reason is not None:
            self.refused.labels(path, reason).inc()
        if seconds is not None:
            self.seconds.labels(path).observe(seconds)

    def follows(self, state: State) -> None:
        """Shows the state of the followed model."""
        self.checked.set(state.checked or 0)
        self.changed.set(state.since or 0)
        self.refusals.set(state.refusals)

    @classmethod
    def get(cls) -> Instruments:
        """The instruments of this process, created on the first call."""
        if cls._made is None:
            cls._made = cls()
        return cls._made


class Metrics:
    """The metrics of one variant. Children of the families are looked up once, because a look-up costs more than
    counting."""

    def __init__(self, variant: str, reference: dict[str, Any] | None) -> None:
        families = Instruments.get()
        self._families, self._variant = families, variant
        self._scores, self._lengths = families.scores.labels(variant), families.lengths.labels(variant)
        self._batch, self._merged = families.batch.labels(variant), families.merged.labels(variant)
        self._wait, self._again = families.wait.labels(variant), families.again.labels(variant)
        self._queue, self._still = families.queue.labels(variant), families.still.labels(variant)
        self._abandoned = families.abandoned.labels(variant)
        self._decisions: dict[str, Any] = {}
        self._drift: dict[str, Drift] = {}
        for name in ("score", "length") if reference else ():
            edges, counts = (reference or {}).get(f"{name}_edges"), (reference or {}).get(f"{name}_counts")
            if edges and counts:
                self._drift[name] = Drift(edges, counts)

    def runs_on(self, provider: str, graph: str, version: str) -> None:
        """Shows the active graph and provider."""
        self._runs = (self._variant, provider, graph, version)
        self._families.provider.labels(*self._runs).set(1)

    def runs_no_more(self) -> None:
        """Removes them after the switch to another version."""
        self._families.provider.labels(*self._runs).set(0)

    def queue(self, wait: float, still: float) -> None:
        """Shows the length of the queue and the time since its last progress, in seconds."""
        self._queue.set(wait)
        self._still.set(still)

    def shed(self, reason: str, texts: int) -> None:
        """Counts refused texts."""
        self._families.shed.labels(self._variant, reason).inc(texts)

    def abandoned(self, texts: int) -> None:
        """Counts texts whose client disconnected before they ran."""
        self._abandoned.inc(texts)

    def queue_wait(self, seconds: float) -> None:
        """Time from arrival to the first run."""
        self._wait.observe(seconds)

    def batch(self, windows: int, requests: int, again: int = 0) -> None:
        """Size of a round, and the number of its windows that were repeated in float32."""
        self._again.inc(again)
        self._batch.observe(windows)
        self._merged.observe(requests)

    def decided(self, results: Sequence[dict[str, Any]], tokens: Sequence[int]) -> None:
        """Counts decisions, scores and lengths, and updates the drift."""
        for decision, count in Counter(result["decision"] for result in results).items():
            if decision not in self._decisions:
                self._decisions[decision] = self._families.decisions.labels(self._variant, decision)
            self._decisions[decision].inc(count)
        scores = [result["score"] for result in results]
        for score, length in zip(scores, tokens, strict=True):
            self._scores.observe(score)
            self._lengths.observe(length)
        self._follow("score", scores)
        self._follow("length", tokens)

    @property
    def drift(self) -> dict[str, float | None]:
        """Population stability index of scores and lengths in this worker; None before enough texts."""
        return {name: follower.index for name, follower in self._drift.items()}

    def _follow(self, name: str, values: Sequence[float]) -> None:
        follower = self._drift.get(name)
        if follower is None or not len(values):
            return
        before = follower.seen // 100
        follower.add(values)
        if follower.seen // 100 > before and follower.index is not None:
            self._families.drift.labels(self._variant, name).set(np.round(follower.index, 6))


def exposition() -> tuple[bytes, str]:
    """All workers' metrics in Prometheus' format, and the content type."""
    from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
    from prometheus_client.exposition import CONTENT_TYPE_LATEST
    from prometheus_client.multiprocess import MultiProcessCollector

    folder = os.environ.get(VARIABLE)
    if folder is None:
        return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
    sum_up_the_dead(Path(folder))
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    with locked(Path(folder)):
        return generate_latest(registry), CONTENT_TYPE_LATEST
