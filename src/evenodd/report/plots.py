"""Plots of one run. Every function returns a figure that is not attached to a window or to global state.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; lines also differ in dashes or markers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.special import logit

from evenodd.evidence.calibration import Decision
from evenodd.evidence.metrics import (
    FloatArray,
    Scored,
    average_precision,
    calibration_bins,
    confusion,
    expected_calibration_error,
    rates,
)

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
FEW_LABELS, CELLS_WITH_TEXT = 8, 12
LONGEST_NAME, LETTERS_PER_INCH = 28, 14
GREY, PALE = "#6B6B6B", "#D9D9D9"
HISTORY_COLUMNS = ("variant", "seed", "epoch", "split", "metric", "value")


def new_figure(columns: int = 1, *, width: float = 5.2, height: float = 3.8) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side, in the common style; sizes are in inches per panel."""
    figure = Figure(figsize=(width * columns, height), layout="constrained", dpi=110)
    axes = [figure.add_subplot(1, columns, i + 1) for i in range(columns)]
    for ax in axes:
        dress(ax)
    return figure, axes


def dress(ax: Axes) -> None:
    """Applies the common style: no box, a pale grid behind the data, text that is readable when small."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.grid(True, color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=10, colors="#333333")


def label_axes(ax: Axes, x: str, y: str, title: str = "") -> None:
    """Sets the axis labels and a left-aligned title."""
    ax.set_xlabel(x, fontsize=11)
    ax.set_ylabel(y, fontsize=11)
    if title:
        ax.set_title(title, loc="left", fontsize=12, fontweight="bold")


def legend_beneath(figure: Figure, ax: Axes) -> None:
    """Places one legend under all panels, where it covers no line."""
    handles, names = ax.get_legend_handles_labels()
    width = max((len(name) for name in names), default=1)
    columns = max(1, min(len(names), int(figure.get_size_inches()[0] * LETTERS_PER_INCH / (width + 6))))
    figure.legend(handles, names, frameon=False, fontsize=9, loc="outside lower center", ncols=columns)


def shorten(name: str) -> str:
    """Shortens a name for an axis or a legend by omitting its middle, because similar names often differ at the end."""
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"


def look(index: int) -> dict[str, Any]:
    """Colour and marker of the n-th compared item; when the colours repeat, the markers are shifted."""
    again = index // len(COLOURS)
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[(index + 3 * again) % len(MARKERS)]}


def check_history(history: pd.DataFrame) -> None:
    """Refuses a table that is not a training history.

    Raises:
        ValueError: a column is missing, or there are no rows.
    """
    missing = [name for name in HISTORY_COLUMNS if name not in history]
    if missing or history.empty:
        raise ValueError(
            f"history has {len(history)} rows of {list(history.columns)}: {', '.join(HISTORY_COLUMNS)} are needed."
        )


def draw_curve(ax: Axes, rows: pd.DataFrame, label: str, style: dict[str, Any], dashed: bool = False) -> None:
    """Mean over seeds by epoch, with the range of the seeds as a band."""
    by_epoch = rows.groupby("epoch")["value"]
    mean, low, high = by_epoch.mean(), by_epoch.min(), by_epoch.max()
    few = len(mean) <= 20
    marker = style["marker"] if few else ""
    ax.plot(
        mean.index, mean, label=label, color=style["color"], marker=marker, markersize=5, linewidth=1.8,
        linestyle="--" if dashed else "-",
    )  # fmt: skip
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if rows["seed"].nunique() > 1:
        ax.fill_between(mean.index, low, high, color=style["color"], alpha=0.15, linewidth=0)


def plot_curves(history: pd.DataFrame, variant: str) -> Figure:
    """Loss and macro-F1 of one variant by epoch, training and validation.

    Args:
        history: table with variant, seed, epoch, split, metric (`loss`, `f1_macro`), value; epochs may be fractions.
        variant: rows to draw.

    Raises:
        ValueError: columns are missing, or the variant has no rows.
    """
    check_history(history)
    own = history[history["variant"] == variant]
    if own.empty:
        raise ValueError(f"variant={variant!r}: the history holds {', '.join(sorted(set(history['variant'])))}.")
    figure, axes = new_figure(2)
    for ax, metric, words in zip(axes, ("loss", "f1_macro"), ("Loss (nats)", "Macro-F1"), strict=True):
        shown = own[own["metric"] == metric]
        for index, split in enumerate(("train", "validation")):
            rows = shown[shown["split"] == split]
            if len(rows):
                draw_curve(ax, rows, split, look(index), dashed=split == "train")
        label_axes(ax, "Epoch", words, f"{variant}: {'loss' if metric == 'loss' else words}")
    legend_beneath(figure, max(axes, key=lambda ax: len(ax.lines)))
    return figure


def plot_confusion(scored: Scored, label_names: Sequence[str], *, split: str = "test") -> Figure:
    """Counts of true against predicted label, shaded by the share of the true label; `split` is for the title."""
    classes = len(label_names)
    few = classes <= CELLS_WITH_TEXT
    counts = confusion(scored.labels, scored.predictions, classes)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(3.6, 0.8 * classes + 2.2) if few else 5 + 0.12 * classes
    figure, (ax,) = new_figure(width=side + 0.4, height=side)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ax.grid(False)
    for true, predicted in np.ndindex(classes, classes) if few else ():
        ink = "white" if share[true, predicted] > 0.55 else "#222222"
        words = f"{counts[true, predicted]:,}\n{100 * share[true, predicted]:.0f} %"
        ax.text(predicted, true, words, ha="center", va="center", color=ink, fontsize=12 if classes < 5 else 9)
    names = [shorten(name) for name in label_names]
    size = 10 if few else 6
    long = not few or sum(map(len, names)) > 30
    ax.set_xticks(range(classes), names, rotation=60 if long else 0, ha="right" if long else "center", fontsize=size)
    ax.set_yticks(range(classes), names, fontsize=size)
    label_axes(ax, "Predicted", "True", f"Macro-F1 {rates(counts)[2].mean():.3f} ({split})")
    return figure


def plot_precision_recall(scored: Scored, decision: Decision, *, split: str = "test") -> Figure:
    """Precision against recall of the positive label with the threshold; for more than two labels, of every label.

    `split` is for the title.
    """
    found = _average_precisions(scored, decision)
    hardest = sorted(found, key=lambda label: found[label])[:FEW_LABELS]
    figure, (ax,) = new_figure(height=3.8 + 0.18 * len(hardest))
    for index, label in enumerate(sorted(hardest)):
        hits, scores = scored.labels == label, scored.probabilities[:, label]
        recall, precision = _pr_curve(hits, scores)
        words = f"{shorten(decision.label_names[label])} (average precision {found[label]:.3f})"
        ax.step(recall, precision, where="post", color=COLOURS[index % len(COLOURS)], linewidth=1.8, label=words)
        ax.axhline(float(hits.mean()), color=GREY, linewidth=1, linestyle=":")
    if decision.positive is not None and decision.threshold is not None:
        _draw_threshold(ax, scored, decision.positive, decision.threshold)
    ax.set(xlim=(0, 1.01), ylim=(0, 1.02))
    hidden = f" of the {len(hardest)} hardest of {len(found)} labels" if len(found) > len(hardest) else ""
    label_axes(ax, "Recall", "Precision", f"Precision and recall{hidden} ({split})")
    legend_beneath(figure, ax)
    return figure


def _average_precisions(scored: Scored, decision: Decision) -> dict[int, float]:
    """Average precision of the positive label, or of all labels that have rows."""
    shown = range(len(decision.label_names)) if decision.positive is None else [decision.positive]
    hits = {label: scored.labels == label for label in shown}
    return {k: average_precision(found, scored.probabilities[:, k]) for k, found in hits.items() if found.any()}


def _pr_curve(hits: np.ndarray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Recall and precision at every threshold, from the highest score down."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(hits[order])[last]
    return found / hits.sum(), found / (np.flatnonzero(last) + 1)


def _draw_threshold(ax: Axes, scored: Scored, positive: int, threshold: float) -> None:
    called, hits = scored.probabilities[:, positive] >= threshold, scored.labels == positive
    if not (called.any() and hits.any()):
        return
    precision, recall = hits[called].mean(), called[hits].mean()
    words = f"threshold {threshold:.2f}: precision {precision:.2f}, recall {recall:.2f}"
    ax.plot(recall, precision, "o", color=COLOURS[1], markersize=9, markeredgecolor="white", label=words, zorder=5)


def plot_reliability(before: Scored, after: Scored, *, split: str = "test") -> Figure:
    """Accuracy against confidence, before and after calibration, in bins of equal size; `split` is for the title."""
    figure, (ax,) = new_figure()
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    lowest = 1.0
    for index, (name, scored) in enumerate((("before", before), ("after", after))):
        table = calibration_bins(scored.labels, scored.probabilities)
        error = expected_calibration_error(scored.labels, scored.probabilities)
        style, dashes = look(index), "--" if name == "before" else "-"
        ax.plot(table[:, 0], table[:, 1], linestyle=dashes, markersize=5, label=f"{name}: ECE {error:.3f}", **style)
        lowest = min(lowest, table[:, :2].min())
    edge = max(0.0, lowest - 0.05)
    ax.set(xlim=(edge, 1.01), ylim=(edge, 1.02))
    label_axes(ax, "Confidence in the label", "Accuracy", f"Reliability ({split})")
    legend_beneath(figure, ax)
    return figure


def risk_coverage(scored: Scored, decision: Decision) -> tuple[FloatArray, FloatArray]:
    """Error rate of the automatic decisions for every coverage, most certain first.

    Certainty is the distance from the threshold in log odds, or the probability if there is no threshold.

    Returns:
        Coverage and error rate, both float64, (rows,).
    """
    if decision.positive is None or decision.threshold is None:
        sure, outcome = scored.probabilities.max(axis=1), scored.predictions
    else:
        score, cut = np.clip(scored.probabilities[:, decision.positive], 1e-9, 1 - 1e-9), decision.threshold
        sure = np.abs(logit(score) - logit(np.clip(cut, 1e-9, 1 - 1e-9)))
        outcome = np.where(score >= cut, decision.positive, 1 - decision.positive)
    wrong = (outcome != scored.labels)[np.argsort(-sure, kind="stable")]
    taken = np.arange(1, len(wrong) + 1)
    return taken / len(wrong), np.cumsum(wrong) / taken


def plot_risk_coverage(scored: Scored, decision: Decision, *, split: str = "test") -> Figure:
    """Error rate against the share of automatic decisions, with the current review band; `split` is for the title."""
    coverage, risk = risk_coverage(scored, decision)
    start = min(len(coverage) - 1, max(20, len(coverage) // 50))
    figure, (ax,) = new_figure()
    ax.plot(coverage[start:], 100 * risk[start:], color=COLOURS[0], linewidth=1.8)
    outcome = decision.outcomes(scored.probabilities)
    decided = outcome >= 0
    if decided.any():
        share, error = decided.mean(), (outcome != scored.labels)[decided].mean()
        words = f"current: {100 * (1 - share):.0f} % to review, {100 * error:.1f} % errors among the rest"
        ax.plot(share, 100 * error, "o", color=COLOURS[1], markersize=9, markeredgecolor="white", label=words, zorder=5)
        legend_beneath(figure, ax)
    ax.set_xlim(0, 1.02)
    ax.set_ylim(0, max(1.0, 130 * float(risk[start:].max())))
    label_axes(ax, "Share decided automatically", "Errors among them (%)", f"Risk and coverage ({split})")
    return figure
