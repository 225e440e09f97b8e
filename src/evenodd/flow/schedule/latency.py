"""Latency of fitted variants, measured when no fit runs: their models in turn, so that all meet the same machine."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from evenodd import tracking
from evenodd.flow.fit_variant import FittedRun
from evenodd.release.bench import latency_p50_ms

METRIC = "cost/latency_p50_ms"
ROUNDS, SECONDS = 3, 0.5


def measure_latencies(runs: Sequence[FittedRun]) -> None:
    """Logs `cost/latency_p50_ms` and its spread for the runs that lack it.

    The models of one variant have one shape: its first run is measured, and the figure is logged for all of them. The
    spread, `cost/latency_spread_ms`, is the largest less the smallest of three medians.
    """
    if not _lacking(runs):
        return
    experiment = tracking.get_run(runs[0].run_id).info.experiment_id
    with tracking.lease(f"latency {experiment}", "measuring latencies"):  # once, on however many hosts
        _measure(_lacking(runs))


def _lacking(runs: Sequence[FittedRun]) -> list[FittedRun]:
    """The runs without a latency."""
    return [run for run in runs if METRIC not in tracking.figures_of(tracking.get_run(run.run_id))]


def _measure(lacking: list[FittedRun]) -> None:
    first = {run.variant: run for run in reversed(lacking)}
    models = {variant: tracking.load_model(run.model_uri)[0] for variant, run in first.items()}
    found: dict[str, list[float]] = {variant: [] for variant in models}
    for _ in range(ROUNDS):
        for variant, model in models.items():
            found[variant].append(latency_p50_ms(model, seconds=SECONDS))
    for run in lacking:
        times = found[run.variant]
        figures = {METRIC: median(times), "cost/latency_spread_ms": max(times) - min(times)}
        tracking.log_metrics(figures, run_id=run.run_id, model_uri=run.model_uri)
