"""The sections of a comparison report; `report.write_report` assembles the page."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from evenodd.evidence.augmentation import Augmentation
from evenodd.evidence.calibration import Decision, decision_metrics
from evenodd.evidence.datareport import DataReport
from evenodd.evidence.floors import Floors
from evenodd.evidence.metrics import Scored
from evenodd.evidence.slices import LEAST, RATES, slice_gaps
from evenodd.evidence.suites.own import near_in_words
from evenodd.report.behaviour_plot import in_words
from evenodd.report.comparison_plots import plot_all_curves, plot_pareto, plot_scores
from evenodd.report.page import Picture, Section
from evenodd.report.plots import plot_confusion, plot_precision_recall, plot_reliability, plot_risk_coverage
from evenodd.report.slice_plot import plot_slices
from evenodd.report.tables import LARGE, number_text

LISTED = 25
COSTS = {
    "cost/operations_per_token": "operations per token",
    "cost/parameters": "parameters",
    "cost/trainable_parameters": "trained parameters",
    "cost/trainable_share": "share of parameters trained",
    "cost/model_mb": "size in float32, MB",
    "cost/latency_p50_ms": "latency of one text, ms",
    "cost/latency_spread_ms": "its spread, ms",
    "cost/train_seconds": "training, s",
    "cost/train_rows_per_second": "training, texts per second",
    "cost/train_tokens_per_second": "training, tokens per second",
    "cost/train_gflops": "training, GFLOP/s",
    "cost/product_gflops": "fastest matrix product, GFLOP/s",
    "cost/share_of_ceiling": "share of that product's speed",
    "cost/padding_share": "share of padding tokens",
    "cost/threads": "threads",
}
"""Figures of a run and their names in the report; other figures are only in the tracking store."""
DRAWN_COSTS = {"operations_per_token": "Operations per token", "latency_p50_ms": "Median latency of one text (ms)"}


def quality_section(runs: pd.DataFrame, history: pd.DataFrame, floors: Floors) -> Section:
    """Test scores of every run with the floors, and the curves of all variants.

    Args:
        runs: one row per run: `variant`, `test/f1_macro`, `test/average_precision`.
        history: see `plots.plot_curves`.
        floors: with the test split.
    """
    keys = ("f1_macro", "average_precision")
    scores = runs[["variant"]].assign(**{key: runs[f"test/{key}"] for key in keys})
    lines = {name: {key: found[f"test/{key}"] for key in keys} for name, found in floors.metrics.items()}
    dots = "Macro-F1 and average precision of every run by variant, with means, 95 % intervals and the floors."
    curves = "Training loss and validation macro-F1 by epoch, one line per variant."
    return Section(
        "Quality on test",
        ("Grey dots are runs, marks are means with the 95 % interval over seeds, lines are the floors.",),
        (Picture(plot_scores(scores, lines), dots), Picture(plot_all_curves(history), curves)),
    )


def decision_section(name: str, scored: Scored, decision: Decision) -> Section:
    """Effect of calibration and decision, on rows that they were not fitted on.

    Args:
        name: name of the variant.
        scored: test rows with their logits.
        decision: fitted on validation.

    Raises:
        ValueError: the rows have no logits.
    """
    if scored.logits is None:
        raise ValueError(f"{name}: scored rows without logits: pass Scored(..., logits=...).")
    raw = Decision(1.0, None, (0.0, 0.0), decision.target, None, decision.label_names)
    before = Scored(scored.labels, raw.probabilities(scored.logits), scored.row_ids)
    after = Scored(scored.labels, decision.probabilities(scored.logits), scored.row_ids, scored.logits)
    figures = decision_metrics(decision, scored.logits, scored.labels)
    reviewed, right = 100 * figures["review_share"], 100 * figures["automated_accuracy"]
    words = (
        f"{name}, on test. Temperature {decision.temperature:.2f}{_bias_words(decision)} changes the expected "
        f"calibration error from {figures['ece_before']:.3f} to {figures['ece']:.3f}. The review band sends "
        f"{reviewed:.0f} % of the texts to people, and {right:.1f} % of the others are decided correctly."
    )
    pictures = (
        Picture(plot_reliability(before, after), "Accuracy against confidence, before and after calibration."),
        Picture(plot_precision_recall(after, decision), "Precision against recall with the chosen threshold."),
        Picture(plot_risk_coverage(after, decision), "Error rate against the share decided automatically."),
        Picture(plot_confusion(after, decision.label_names), "Counts of true against predicted labels."),
    )
    return Section("Calibration and decision", (words,), pictures)


def _bias_words(decision: Decision) -> str:
    if decision.positive is None or not decision.bias:
        return ""
    return f" and a bias of {decision.bias[decision.positive]:+.2f}"


def behaviour_section(
    heat_map: Figure, figures: Mapping[str, float], functionalities: pd.DataFrame, near: pd.DataFrame | None = None
) -> Section:
    """The behaviour suite: summary, heat map and table by functionality.

    Args:
        heat_map: figure of the suite's report.
        figures: `balanced_accuracy` and the other summary figures of the suite.
        functionalities: one row per functionality.
        near: sentences similar to those of the suite, with the model's answers; None: not scored.
    """
    known = {in_words(key): value for key, value in figures.items() if value == value}
    totals = ", ".join(f"{key} {value:.3f}" for key, value in known.items())
    picture = Picture(
        heat_map, "Accuracy by functionality and group; the table holds the same figures by functionality."
    )
    words = f"Cases of the behaviour suite, never trained on: {totals}."
    table = functionalities.drop(columns="index", errors="ignore")
    table = table.assign(functionality=table["functionality"].map(in_words)).rename(columns=in_words)
    tables: tuple[tuple[str, pd.DataFrame], ...] = (("By functionality", table),)
    if near is None:
        return Section("Behaviour", (words,), (picture,), tables)
    return Section(
        "Behaviour", (words, near_in_words(near)), (picture,), (*tables, ("What the labels mean here", near))
    )


def gates_section(gates: pd.DataFrame) -> Section:
    """The gates that each variant passed; a variant that fails one cannot win.

    Args:
        gates: one row per variant and gate: `variant`, `gate`, `passed`, `figure`, `asked`, `words`.
    """
    if gates.empty:
        return Section("Gates", ("No gate is configured.",))
    failed = gates[~gates["passed"].astype(bool)]
    names = ", ".join(dict.fromkeys(failed["variant"]))
    words = f"Not passed by {names}." if names else "Every variant passes."
    how = "Checked for the run that would be shipped; champion, size and parity are checked at promotion."
    shown = gates.assign(gate=gates["gate"].str.replace("_", " "), passed=np.where(gates["passed"], "yes", "NO"))
    return Section("Gates", (f"{words} {how}",), (), (("Gates, by variant", shown.drop(columns=["figure", "asked"])),))


def augmentation_section(found: Augmentation) -> Section:
    """Effect of counterexamples on the test rows and on the behaviour suite."""
    words = (
        "The same variants and seeds, fitted with and without counterexamples, all other things equal. Macro-F1 and "
        "average precision are those of the test split; they are only reported and decide nothing."
    )
    tables = (("Means over seeds", found.means), ("Change from none, with intervals", found.changes))
    return Section("Counterexamples", (words, *found.sentences()), (), tables)


def data_section(found: DataReport, figure: Figure) -> Section:
    """The data report: findings, tables, and the most doubtful labels."""
    tables = (
        ("Rows", found.counts.T.reset_index()),
        ("Words per text", found.lengths.reset_index()),
        ("Twins across splits", found.leaks),
        (f"Most doubtful training labels, {min(LISTED, len(found.label_errors))} of {len(found.label_errors):,}",
         found.label_errors.head(LISTED)),
    )  # fmt: skip
    picture = Picture(figure, "Rows by split and label; lengths of training texts by label.")
    return Section("Data", tuple(found.sentences()), (picture,), tuple(t for t in tables if len(t[1])))


def cost_section(runs: pd.DataFrame) -> Section:
    """Quality against latency, and the cost of every variant.

    Args:
        runs: one row per run: `variant`, `test/f1_macro`, and the measured `cost/...` columns.
    """
    costs = [name for name in COSTS if name in runs]
    table = runs.groupby("variant", sort=False)[["test/f1_macro", *costs]].mean()
    pictures: tuple[Picture, ...] = ()
    drawn = table.rename(columns=lambda name: str(name).partition("/")[2])
    for cost, words in DRAWN_COSTS.items():
        if cost in drawn and drawn[cost].notna().any():
            figure = plot_pareto(drawn, cost=cost, words=words)
            pictures = (*pictures, Picture(figure, f"Macro-F1 on test against {words.lower()}, one mark per variant."))
    words = (
        "Operations and parameters are counted and equal in every run: they decide which variant is the cheapest. "
        "Times are measured, differ from run to run and decide nothing."
    )
    return Section("Cost", (words,), pictures, (("Means over seeds", _by_figure(table)),))


def _by_figure(table: pd.DataFrame) -> pd.DataFrame:
    """A row per figure and a column per variant, as text; this is narrower than one row per variant."""
    titles = {"test/f1_macro": "macro-F1 on test", **COSTS}
    places = {key: 3 if key == "test/f1_macro" or table[key].abs().max() < LARGE else 1 for key in table}
    whole = {key for key in table if (table[key].dropna() == table[key].dropna().round()).all()}
    rows = [
        {"figure": titles[str(key)]}
        | {name: number_text(float(value), 0 if key in whole else places[key]) for name, value in table[key].items()}
        for key in table
    ]
    return pd.DataFrame(rows)


def slices_section(found: pd.DataFrame, winner: str) -> Section:
    """Figures by the user's own columns: the winner's on validation and test, and the gaps of every variant.

    Args:
        found: `slice_table` of several variants and splits, with columns `variant` and `split`.
        winner: whose slices are shown one by one.
    """
    gaps = [
        slice_gaps(part).assign(variant=str(variant), split=str(split))
        for (variant, split), part in found.groupby(["variant", "split"], sort=False)
    ]
    own = found[found["variant"] == winner]
    columns = ", ".join(dict.fromkeys(own["column"]))
    words = (
        f"The rows of {winner} by the values of {columns}. Intervals are of 95 %. A gap is the highest less the lowest "
        f"rate of the slices with at least {LEAST} rows to count; among many slices some differ by chance. "
        "gates.max_slice_gap makes the largest gap on validation a condition."
    )
    figure = plot_slices(own[own["split"] == "test"])
    alt = f"Rates of {winner} on test by slice, with 95 % intervals; the table holds the same figures."
    tables = (
        ("Gaps", _gap_rows(pd.concat(gaps, ignore_index=True))),
        (f"Slices of {winner}", slice_rows(own)),
    )
    return Section("Slices", (words,), (Picture(figure, alt),), tuple(each for each in tables if len(each[1])))


def _gap_rows(gaps: pd.DataFrame) -> pd.DataFrame:
    """Validation and test beside each other, one row per variant, column and rate."""
    told = gaps.assign(
        rate=gaps["rate"].map(RATES),
        gap=[f"{gap:.3f} ({low} to {high})" for gap, low, high in gaps[["gap", "lowest", "highest"]].to_numpy()],
    )
    wide = told.pivot(index=["variant", "column", "rate"], columns="split", values="gap").reset_index()
    return wide.reindex(columns=["variant", "column", "rate", "validation", "test"]).fillna("–")


def slice_rows(own: pd.DataFrame) -> pd.DataFrame:
    """A `slice_table` for people: one row per slice, and per split where there are several; rates with intervals."""
    named = [name for name in ("column", "value", "split", "rows", "f1_macro") if name in own]
    shown = own[named].rename(columns={"f1_macro": "macro-F1"})
    for rate in (name for name in RATES if name in own):
        numbers = own[[rate, f"{rate}_low", f"{rate}_high"]].to_numpy(dtype=float)
        told = [f"{value:.3f} ({low:.3f} to {high:.3f})" if value == value else "–" for value, low, high in numbers]
        shown = shown.assign(**{RATES[rate]: told})
    return shown.reset_index(drop=True)
