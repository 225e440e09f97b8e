"""Presents a comparison: table, plots, and one self-contained page."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from evenodd import tracking
from evenodd.evidence import Decision, Floors, Scored
from evenodd.evidence.augmentation import NONE, Arm, Augmentation, compare_augmentation
from evenodd.evidence.suites.behaviour import BehaviourReport, Suite, answered
from evenodd.evidence.suites.own import OWN, near_sentences, open_suite
from evenodd.evidence.verdict import Verdict
from evenodd.flow.materials import Materials
from evenodd.flow.measure import read_scores
from evenodd.flow.runs import FinishedRun
from evenodd.flow.scorer import open_scorer
from evenodd.flow.slices import all_slices
from evenodd.release.gates import Gate
from evenodd.report.behaviour_plot import plot_behaviour
from evenodd.report.comparison_plots import plot_all_curves, plot_pareto, plot_scores
from evenodd.report.data_plot import plot_data
from evenodd.report.highlights import highlights
from evenodd.report.page import Report, Section, write_report
from evenodd.report.sections import (
    augmentation_section,
    behaviour_section,
    cost_section,
    data_section,
    decision_section,
    gates_section,
    quality_section,
    slices_section,
)
from evenodd.report.table import ComparisonTable, comparison_table
from evenodd.rows import Corpus, Split
from evenodd.settings import Settings

log = logging.getLogger(__name__)

PAGE = "report.html"


@dataclass(frozen=True)
class Comparison:
    """A comparison.

    Attributes:
        runs: finished runs of every variant and seed.
        verdict: the verdict on them.
        gates: of each variant.
        floors: on the same splits, averaged if the splits differ between seeds.
        tests: the test split of each division of the rows.
        counterparts: runs that differ from these only in `augment`.
    """

    runs: Sequence[FinishedRun]
    verdict: Verdict
    gates: Mapping[str, Sequence[Gate]]
    floors: Floors
    tests: Sequence[Split]
    counterparts: Sequence[FinishedRun] = ()

    @property
    def frame(self) -> pd.DataFrame:
        """One row per run: variant, seed, version, run id and a column per figure."""
        return pd.DataFrame([run.row for run in self.runs])

    def means(self, variant: str) -> dict[str, float]:
        """A variant's figures, averaged over its seeds."""
        own = self.frame[self.frame["variant"] == variant].mean(numeric_only=True)
        return {str(name): float(value) for name, value in own.items()}


@dataclass(frozen=True)
class Shown:
    """Table and page of a comparison."""

    table: ComparisonTable
    page: Path


def table_of(compared: Comparison, corpus: Corpus) -> ComparisonTable:
    """The comparison's table, floors included."""
    floors, winner = compared.floors.metrics, compared.verdict.winner
    return comparison_table(compared.frame, floors, task=corpus.task, winner=winner, synthetic=corpus.synthetic)


def present(compared: Comparison, materials: Materials, settings: Settings, folder: Path) -> Shown:
    """Logs the comparison as text, Markdown, HTML, tables and plots, and writes its page."""
    corpus, frame = materials.corpus, compared.frame
    table = table_of(compared, corpus)
    augmented = augmentation(compared, materials, settings)
    _log_tables(table, compared, augmented)
    sliced = _log_slices(compared, corpus)
    _log_plots(frame, pd.concat([run.history for run in compared.runs]), compared.floors)
    page = write_report(folder / PAGE, _report(compared, table, (augmented, sliced), materials))
    return Shown(table, page)


def gates_table(gates: Mapping[str, Sequence[Gate]]) -> pd.DataFrame:
    """One row per variant and gate."""
    rows = [
        {"variant": name, "gate": g.name, "passed": g.passed, "figure": g.figure, "asked": g.bound, "words": g.text}
        for name, found in gates.items()
        for g in found
    ]
    return pd.DataFrame(rows, columns=["variant", "gate", "passed", "figure", "asked", "words"])


def augmentation(compared: Comparison, materials: Materials, settings: Settings) -> Augmentation | None:
    """Compares runs with and without counterexamples; None if one kind is missing."""
    corpus, suite = materials.corpus, open_suite(settings.suite) if settings.suite else None
    if not compared.counterparts:
        return None
    arms = [
        Arm(run.variant, run.seed, added_rows(run), read_scores(_file(run, "test")), answers(run, suite))
        for run in (*compared.runs, *compared.counterparts)
    ]
    same = [arm for arm in arms if any(_holds(arm.test, split) for split in compared.tests)]
    positive = corpus.task.positive_index
    return compare_augmentation(same, settings.evidence, positive=positive)


def _holds(scored: Scored, split: Split) -> bool:
    """Whether these are the rows of the split; equal settings may refer to another file."""
    return np.array_equal(scored.ids, split.row_ids) and np.array_equal(scored.labels, split.labels)


def added_rows(run: FinishedRun) -> str:
    """Description of the added training rows."""
    said = tracking.settings_of(run.run_id)
    if said.get("data.augment", NONE) == NONE:
        return NONE
    kinds = f" of {', '.join(said['data.augment_kinds'])}" if said.get("data.augment_kinds") else ""
    mix = f"{said['data.augment_mix']:.0%} of the mix"
    return f"{said['data.augment_rows']:,} rows an epoch ({said['data.augment_turns']} sets, {mix}){kinds}"


def answers(run: FinishedRun, suite: Suite | None) -> BehaviourReport | None:
    """A run's answers to a behaviour suite; None if it was not scored on this suite."""
    if suite is None or "behaviour/balanced_accuracy" not in run.metrics:
        return None
    with np.load(_file(run, "behaviour")) as archive:
        return answered(suite, archive["case_id"], archive["predicted_positive"])


def near_answers(run: FinishedRun) -> pd.DataFrame | None:
    """A run's answers to sentences similar to those of the own suite; None if its model cannot be loaded."""
    try:
        return near_sentences(open_scorer(run.run_id, run.variant).is_positive)
    except RuntimeError as error:
        log.warning("the report omits the answers of %s to sentences similar to the suite's: %s", run.variant, error)
        return None


def _file(run: FinishedRun, name: str) -> Path:
    return tracking.download(run.run_id, f"scores/{name}.npz")


def _log_tables(table: ComparisonTable, compared: Comparison, augmented: Augmentation | None) -> None:
    tracking.log_table("pairs", compared.verdict.pairs)
    tracking.log_table("gates", gates_table(compared.gates))
    if augmented:
        tracking.log_table("augmentation", augmented.means)
        tracking.log_table("augmentation_changes", augmented.changes)
        tracking.log_text("\n".join(augmented.sentences()), "augmentation.txt")
    tracking.log_text(table.to_text(), "comparison.txt")
    tracking.log_text(table.to_markdown(), "comparison.md")
    tracking.log_text(table.to_html(), "comparison.html")


def _log_plots(frame: pd.DataFrame, history: pd.DataFrame, measured: Floors) -> None:
    test = {"f1_macro": "test/f1_macro", "average_precision": "test/average_precision"}
    scores = frame[["variant"]].assign(**{short: frame[key] for short, key in test.items()})
    floors = {name: {short: found[key] for short, key in test.items()} for name, found in measured.metrics.items()}
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


def _log_slices(compared: Comparison, corpus: Corpus) -> pd.DataFrame | None:
    """Logs every run's figures by slice; returns those of each variant's first run."""
    found = [table for run in compared.runs if (table := all_slices(run, corpus)) is not None]
    if not found:
        return None
    tracking.log_table("slices", pd.concat(found, ignore_index=True))
    first = {str(table["variant"].iloc[0]): table for table in reversed(found)}
    return pd.concat(first.values(), ignore_index=True)


def _report(
    compared: Comparison,
    table: ComparisonTable,
    more: tuple[Augmentation | None, pd.DataFrame | None],
    materials: Materials,
) -> Report:
    augmented, sliced = more
    corpus, runs, verdict = materials.corpus, compared.runs, compared.verdict
    frame = compared.frame
    sections = [quality_section(frame, pd.concat([run.history for run in runs]), compared.floors)]
    sections.append(gates_section(gates_table(compared.gates)))
    shown = next((run for run in runs if run.variant == verdict.winner), runs[0])
    sections += [slices_section(sliced, shown.variant)] if sliced is not None else []
    sections += _sections_of(shown, materials)
    sections += [augmentation_section(augmented)] if augmented else []
    sections += [data_section(materials.data_report, plot_data(corpus)), cost_section(frame)]
    facts = {
        "data": corpus.name,
        "rows": ", ".join(f"{split.name} {len(split):,}" for split in corpus.splits),
        **({"of them counterexamples": f"{corpus.counts['augmented']:,}"} if "augmented" in corpus.counts else {}),
        "digest": corpus.digest[:12],
        "encoder": materials.encoder_name,
        "seeds": f"{len({run.seed for run in runs})}{', each with its own splits' if len(compared.tests) > 1 else ''}",
    }
    title = f"{', '.join(dict.fromkeys(run.variant for run in runs))} on {corpus.name}"
    return Report(title, facts, table, verdict, sections, corpus.synthetic, highlights(verdict, frame))


def _sections_of(run: FinishedRun, materials: Materials) -> list[Section]:
    """Decision and behaviour of one run."""
    corpus = materials.corpus
    facts = tracking.artifact_json(run.run_id, "decision.json")
    decision = Decision.from_dict(facts, corpus.task)
    scored = read_scores(_file(run, "test"))
    sections = [decision_section(run.variant, scored, decision)]
    report = answers(run, open_suite(materials.suite) if materials.suite else None)
    if report is not None:
        table = report.by_functionality.reset_index()
        asked = near_answers(run) if materials.suite == OWN else None
        sections.append(behaviour_section(plot_behaviour(report), report.metrics(), table, asked))
        if asked is not None:
            tracking.log_table("near", asked)
    return sections
