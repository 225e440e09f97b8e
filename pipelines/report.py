"""What a comparison looks like: table, plots, and one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from evenodd import tracking
from evenodd.evidence import Decision
from evenodd.evidence.behaviour import load_suite, plot_behaviour, score_suite
from evenodd.evidence.comparison_plots import plot_all_curves, plot_pareto, plot_scores
from evenodd.evidence.datareport import plot_data
from evenodd.evidence.report import Report, Section, write_report
from evenodd.evidence.sections import behaviour_section, cost_section, data_section, decision_section, quality_section
from evenodd.evidence.table import ComparisonTable, comparison_table
from evenodd.evidence.verdict import Verdict
from pipelines.materials import Materials
from pipelines.measure import read_scores
from pipelines.runs import FinishedRun

PAGE = "report.html"


def present(runs: Sequence[FinishedRun], verdict: Verdict, materials: Materials, folder: Path) -> tuple[str, Path]:
    """Logs the comparison as text, Markdown, HTML, tables, plots and page; the table as text, and the page's path."""
    corpus = materials.corpus
    frame = pd.DataFrame([run.row for run in runs])
    table = comparison_table(
        frame, materials.floors.metrics, positive=corpus.positive, winner=verdict.winner, synthetic=corpus.synthetic
    )
    history = pd.concat([run.history for run in runs])
    _log_tables(table, frame, verdict)
    _log_plots(frame, history, materials)
    page = write_report(folder / PAGE, _report(runs, table, verdict, materials))
    tracking.log_file(page)
    return table.to_text(), page


def _log_tables(table: ComparisonTable, frame: pd.DataFrame, verdict: Verdict) -> None:
    tracking.log_table("runs", frame)
    tracking.log_table("pairs", verdict.pairs)
    tracking.log_text(table.to_text(), "comparison.txt")
    tracking.log_text(table.to_markdown(), "comparison.md")
    tracking.log_text(table.to_html(), "comparison.html")
    tracking.log_text("\n".join(verdict.sentences), "verdict.txt")
    tracking.log_metrics({f"compare/{name}_f1_macro": value for name, value in verdict.scores["f1_macro"].items()})
    tracking.describe(f"{table.to_markdown()}\n\n" + "\n".join(f"- {line}" for line in verdict.sentences))


def _log_plots(frame: pd.DataFrame, history: pd.DataFrame, materials: Materials) -> None:
    test = {"f1_macro": "test/f1_macro", "average_precision": "test/average_precision"}
    scores = frame[["variant"]].assign(**{short: frame[key] for short, key in test.items()})
    floors = {
        name: {short: found[key] for short, key in test.items()} for name, found in materials.floors.metrics.items()
    }
    costs = {"latency_ms": "cost/latency_p50_ms", "parameters": "cost/parameters"}
    chosen = {"f1_macro": ("test/f1_macro", "mean"), **{short: (key, "mean") for short, key in costs.items()}}
    quality = frame.groupby("variant").agg(**chosen)
    words = "latency of one text, ms (torch, one thread)"
    tracking.log_figures(
        {
            "all_curves": plot_all_curves(history),
            "scores": plot_scores(scores, floors),
            "pareto": plot_pareto(quality, cost="latency_ms", words=words),
        }
    )


def _report(runs: Sequence[FinishedRun], table: ComparisonTable, verdict: Verdict, materials: Materials) -> Report:
    corpus = materials.corpus
    frame = pd.DataFrame([run.row for run in runs])
    found = materials.data_report
    sections = [quality_section(frame, pd.concat([run.history for run in runs]), materials.floors)]
    shown = next((run for run in runs if run.variant == verdict.winner), runs[0])
    sections += _sections_of(shown, materials)
    sections += [data_section(found, plot_data(corpus)), cost_section(frame)]
    facts = {
        "data": corpus.name,
        "rows": ", ".join(f"{split.name} {len(split):,}" for split in corpus.splits),
        "digest": corpus.digest[:12],
        "encoder": materials.encoder_name,
        "seeds": str(len({run.seed for run in runs})),
    }
    title = f"{' against '.join(dict.fromkeys(run.variant for run in runs))} on {corpus.name}"
    return Report(title, facts, table, verdict, sections, corpus.synthetic)


def _sections_of(run: FinishedRun, materials: Materials) -> list[Section]:
    """Decision and behaviour of one run."""
    corpus = materials.corpus
    facts = tracking.artifact_json(run.run_id, "decision.json")
    decision = Decision.from_dict(facts, label_names=corpus.label_names, positive=corpus.positive)
    scored = read_scores(tracking.download(run.run_id, "scores/test.npz"), decision.temperature)
    sections = [decision_section(run.variant, scored, decision)]
    if "behaviour/balanced_accuracy" in run.metrics:
        with np.load(tracking.download(run.run_id, "scores/behaviour.npz")) as archive:
            report = score_suite(load_suite(), archive["predicted_positive"])
        table = report.by_functionality.reset_index()
        sections.append(behaviour_section(plot_behaviour(report), report.metrics(), table))
    return sections
