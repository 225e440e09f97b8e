"""`compare`: lines finished runs up, tests their differences on validation, and names a winner or a tie."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from evenodd import tracking
from evenodd.config import Settings, resolve_settings
from evenodd.evidence import Scored
from evenodd.evidence.comparison_plots import plot_all_curves, plot_pareto, plot_scores
from evenodd.evidence.table import comparison_table
from evenodd.evidence.verdict import Candidate, Verdict, choose_winner
from evenodd.variants.catalog import VARIANTS
from pipelines.materials import Materials, gather
from pipelines.measure import read_scores
from pipelines.plan import Parameters

log = logging.getLogger(__name__)

COST = {"cost/latency_p50_ms": "latency_p50_ms", "cost/parameters": "parameters", "cost/train_seconds": "train_seconds"}


@dataclass(frozen=True)
class FinishedRun:
    """A fitted run as the tracking store has it."""

    run_id: str
    variant: str
    seed: int
    version: str
    metrics: dict[str, float]
    tags: dict[str, str]
    validation: Scored
    history: pd.DataFrame


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


def newest_runs(data_digest: str, variants: Sequence[str] | None) -> list[str]:
    """Ids of the newest finished run of each variant and seed on rows with this digest.

    Raises:
        ValueError: there are none.
    """
    found: dict[tuple[str, str], str] = {}
    for candidate in tracking.find_runs({"data_digest": data_digest}):
        tags = candidate.data.tags
        wanted = variants is None or tags.get("variant") in (*variants, "teacher")
        if "model_uri" in tags and wanted and tags["variant"] in VARIANTS:
            found.setdefault((tags["variant"], tags["seed"]), candidate.info.run_id)
    if not found:
        raise ValueError(
            "no finished run on these rows: fit some first (mlflow run . -e distill_odd --env-manager local), "
            "with the same data parameters."
        )
    return list(found.values())


def read_run(run_id: str) -> FinishedRun:
    """A finished run with its validation scores and history."""
    run = tracking.get_run(run_id)
    tags = dict(run.data.tags)
    temperature = tracking.artifact_json(run_id, "decision.json")["temperature"]
    scored = read_scores(tracking.download(run_id, "scores/validation.npz"), temperature)
    history = pd.read_csv(tracking.download(run_id, "tables/history.csv"))
    metrics = dict(run.data.metrics)
    return FinishedRun(run_id, tags["variant"], int(tags["seed"]), tags["version"], metrics, tags, scored, history)


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
        text, report = present(runs, verdict, materials, settings)
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


def present(
    runs: Sequence[FinishedRun], verdict: Verdict, materials: Materials, settings: Settings
) -> tuple[str, Path]:
    """The comparison as text, and as files in MLflow; the table as text, and the report's path."""
    corpus, floors = materials.corpus, materials.floors
    frame = pd.DataFrame([_row(run) for run in runs])
    table = comparison_table(
        frame, floors.metrics, positive=corpus.positive, winner=verdict.winner, synthetic=corpus.synthetic
    )
    tracking.log_table("runs", frame)
    tracking.log_table("pairs", verdict.pairs)
    tracking.log_text(table.to_text(), "comparison.txt")
    tracking.log_text(table.to_markdown(), "comparison.md")
    tracking.log_text(table.to_html(), "comparison.html")
    tracking.log_text("\n".join(verdict.sentences), "verdict.txt")
    tracking.log_metrics({f"compare/{name}_f1_macro": value for name, value in verdict.scores["f1_macro"].items()})
    tracking.log_figures(figures(runs, frame, materials))
    tracking.describe(f"{table.to_markdown()}\n\n" + "\n".join(f"- {line}" for line in verdict.sentences))
    return table.to_text(), settings.home / "reports"


def figures(runs: Sequence[FinishedRun], frame: pd.DataFrame, materials: Materials) -> dict[str, Figure]:
    """Curves of all variants, scores with their spread, quality against cost."""
    test = {"f1_macro": "test/f1_macro", "average_precision": "test/average_precision"}
    scores = frame[["variant"]].assign(**{short: frame[key] for short, key in test.items()})
    floors = {
        name: {short: figures[key] for short, key in test.items()} for name, figures in materials.floors.metrics.items()
    }
    costs = {"latency_ms": "cost/latency_p50_ms", "parameters": "cost/parameters"}
    quality = frame.groupby("variant").agg(
        f1_macro=("test/f1_macro", "mean"), **{short: (key, "mean") for short, key in costs.items()}
    )
    return {
        "all_curves": plot_all_curves(pd.concat([run.history for run in runs])),
        "scores": plot_scores(scores, floors),
        "pareto": plot_pareto(quality, cost="latency_ms", words="latency of one text, ms (torch, one thread)"),
    }


def _row(run: FinishedRun) -> dict[str, Any]:
    return {"variant": run.variant, "seed": run.seed, "version": run.version, "run_id": run.run_id, **run.metrics}
