"""`compare`: lines finished runs up, tests their differences on validation, and names a winner or a tie."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evenodd import tracking
from evenodd.config import Settings, resolve_settings
from evenodd.evidence.verdict import Candidate, Verdict, choose_winner
from pipelines.materials import Materials, gather
from pipelines.plan import Parameters
from pipelines.report import present
from pipelines.runs import FinishedRun, newest_runs, read_run

log = logging.getLogger(__name__)

COST = {"cost/latency_p50_ms": "latency_p50_ms", "cost/parameters": "parameters", "cost/train_seconds": "train_seconds"}


@dataclass(frozen=True)
class Compared:
    """A finished comparison."""

    run_id: str
    verdict: Verdict
    winner_version: str | None
    table_text: str
    report: Path


def run(parameters: Parameters) -> None:
    """Compares the newest finished run of every variant and seed on these rows, or of the variants that are named."""
    settings = resolve_settings(parameters)
    tracking.configure(settings.experiment)
    materials = gather(settings)
    wanted = settings.run.variants if "variants" in parameters or "run.variants" in parameters else None
    compared = compare_runs(newest_runs(materials.corpus.digest, wanted), materials, settings)
    print(compared.table_text)
    print("\n".join(compared.verdict.sentences))
    print(f"\nreport: {compared.report}")


def compare_runs(run_ids: Sequence[str], materials: Materials, settings: Settings, *, nested: bool = False) -> Compared:
    """Table, tests, verdict, plots and report of finished runs, logged as a run of its own.

    Raises:
        ValueError: the runs cannot be paired: variants differ in their seeds or rows.
    """
    runs = [read_run(run_id) for run_id in run_ids]
    corpus = materials.corpus
    positive = corpus.label_names.index(corpus.positive) if corpus.positive else None
    floor = max(materials.floors.best("validation"), 0.0)
    verdict = choose_winner(candidates(runs), settings.evidence, floor=floor, positive=positive)
    winners = [run for run in runs if run.variant == verdict.winner]
    best = max(winners, key=lambda run: run.metrics["validation/f1_macro"], default=None)
    tags = {
        "stage": "compare",
        "data_digest": corpus.digest,
        "winner": verdict.winner or "none",
        "winner_version": best.version if best else "",
        "tie": str(verdict.tie).lower(),
        "synthetic": str(corpus.synthetic).lower(),
    }
    with tracking.start_run(f"compare · {corpus.name}", tags=tags, nested=nested) as run_id:
        tracking.log_settings(settings, ("evidence",))
        text, report = present(runs, verdict, materials, settings.home / "reports" / run_id)
    return Compared(run_id, verdict, best.version if best else None, text, report)


def candidates(runs: Sequence[FinishedRun]) -> list[Candidate]:
    """One candidate a variant, its runs by seed, its costs averaged."""
    by_name: dict[str, list[FinishedRun]] = {}
    for run in runs:
        by_name.setdefault(run.variant, []).append(run)
    shared = set.intersection(*({run.seed for run in found} for found in by_name.values()))
    if not shared:
        seeds = ", ".join(f"{name}: {sorted(run.seed for run in found)}" for name, found in by_name.items())
        raise ValueError(f"the variants share no seed ({seeds}): fit them with the same -P seed or -P seeds.")
    return [
        Candidate(
            name,
            {run.seed: run.validation for run in found if run.seed in shared},
            {short: _mean(found, key) for key, short in COST.items()},
        )
        for name, found in by_name.items()
    ]


def _mean(runs: Sequence[FinishedRun], key: str) -> float:
    return sum(run.metrics[key] for run in runs) / len(runs)
