"""Plots that compare variants: curves, scores with intervals, quality against cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import t as student_t

from evenodd.report.plots import COLOURS, GREY, check_history, draw_curve, label_axes, legend_beneath, look, new_figure

SCORES = {"f1_macro": "Macro-F1", "average_precision": "Average precision"}


def plot_all_curves(history: pd.DataFrame) -> Figure:
    """Training loss and validation macro-F1 of all variants by epoch: mean over seeds, range over seeds as a band.

    Args:
        history: see `plots.plot_curves`.
    """
    check_history(history)
    figure, axes = new_figure(2)
    for ax, split, metric, words in zip(
        axes,
        ("train", "validation"),
        ("loss", "f1_macro"),
        ("Training loss (nats)", "Validation macro-F1"),
        strict=True,
    ):
        shown = history[(history["split"] == split) & (history["metric"] == metric)]
        for index, variant in enumerate(dict.fromkeys(history["variant"])):
            rows = shown[shown["variant"] == variant]
            if len(rows):
                draw_curve(ax, rows, str(variant), look(index))
        label_axes(ax, "Epoch", words, words.partition(" (")[0])
    legend_beneath(figure, axes[1])
    return figure


def plot_scores(
    runs: pd.DataFrame, floors: Mapping[str, Mapping[str, float]] | None = None, split: str = "test"
) -> Figure:
    """Every run as a dot, the mean over seeds with its 95 % interval, and the floors as lines.

    Args:
        runs: one row per run: variant, and `f1_macro` and `average_precision` of one split.
        floors: by floor, the same two figures.
        split: name for the axes.
    """
    variants = list(dict.fromkeys(runs["variant"]))
    figure, axes = new_figure(2, height=max(2.4, 0.5 * len(variants) + 1.6))
    for ax, (key, words) in zip(axes, SCORES.items(), strict=True):
        for row, variant in enumerate(variants):
            values = runs.loc[runs["variant"] == variant, key].to_numpy(dtype=float)
            ax.plot(values, np.full(len(values), row), ".", color=GREY, alpha=0.5, markersize=7, zorder=2)
            ax.errorbar(
                values.mean(), row, xerr=_reach(values), capsize=4, markersize=8, linewidth=1.8, zorder=3, **_dot(row)
            )
        for index, (name, figures) in enumerate((floors or {}).items()):
            ax.axvline(figures[key], color=GREY, linestyle=("--", ":")[index % 2], linewidth=1.2)
            ax.text(figures[key], -0.75, f" {name}", color="#444444", fontsize=9, va="center")
        ax.set_yticks(range(len(variants)), variants)
        ax.set_ylim(len(variants) - 0.4, -1.1)
        ax.set_xlim(max(ax.get_xlim()[0], -0.02), min(ax.get_xlim()[1], 1.02))
        label_axes(ax, f"{words} ({split})", "", words)
    return figure


def _dot(row: int) -> dict[str, Any]:
    return {"color": COLOURS[row % len(COLOURS)], "fmt": look(row)["marker"]}


def _reach(values: np.ndarray) -> float:
    """Half of the 95 % interval of a mean over seeds; 0 for one seed."""
    if len(values) < 2:
        return 0.0
    return float(student_t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def plot_differences(pairs: pd.DataFrame) -> Figure:
    """Paired differences in macro-F1 with their intervals; significant ones (Holm) are filled.

    Args:
        pairs: `Verdict.pairs`.
    """
    figure, (ax,) = new_figure(width=6.4, height=max(2.2, 0.42 * len(pairs) + 1.4))
    ax.axvline(0, color=GREY, linewidth=1)
    found = pairs[["difference", "low", "high"]].to_numpy(dtype=float)
    for row, ((estimate, low, high), significant) in enumerate(zip(found, pairs["significant"], strict=True)):
        colour = COLOURS[1] if significant else COLOURS[0]
        ax.plot([low, high], [row, row], color=colour, linewidth=2.2)
        ax.plot(estimate, row, "o", color=colour, markersize=8, markerfacecolor=colour if significant else "white")
    ax.set_yticks(range(len(pairs)), [f"{a} - {b}" for a, b in zip(pairs["first"], pairs["second"], strict=True)])
    ax.set_ylim(len(pairs) - 0.4, -0.6)
    label_axes(ax, "Difference in macro-F1 on validation (filled: significant)", "", "Paired differences")
    return figure


def plot_pareto(table: pd.DataFrame, *, cost: str, words: str, quality: str = "f1_macro") -> Figure:
    """Quality on test against cost, one mark per variant, with a line through the Pareto front.

    Args:
        table: one row per variant (its index), with both columns; `parameters`, if present, is the area.
        cost: column on the x axis, less is better.
        words: name of the cost, with its unit.
        quality: column on the y axis, more is better.
    """
    known = table.dropna(subset=[cost, quality])
    figure, (ax,) = new_figure()
    front = pareto_front(known[cost].to_numpy(dtype=float), known[quality].to_numpy(dtype=float))
    ax.step(known[cost].iloc[front], known[quality].iloc[front], where="post", color=GREY, linewidth=1.2, zorder=1)
    size = known["parameters"].fillna(0).to_numpy(dtype=float) if "parameters" in known else np.zeros(len(known))
    area = 50 + 130 * size / max(float(size.max(initial=0)), 1.0)
    for index, (name, row) in enumerate(known.iterrows()):
        style = look(index)
        ax.scatter(row[cost], row[quality], s=area[index], color=style["color"], marker=style["marker"], zorder=3)
        ax.annotate(
            str(name),
            (row[cost], row[quality]),
            xytext=(10, (7, -13)[index % 2]),
            textcoords="offset points",
            fontsize=10,
        )
    ax.margins(0.25)
    note = " (area: parameters)" if size.any() else ""
    label_axes(ax, words, f"{SCORES.get(quality, quality)} (test)", f"Quality against cost{note}")
    return figure


def pareto_front(cost: np.ndarray, quality: np.ndarray) -> list[int]:
    """Positions on the Pareto front, cheapest first."""
    front: list[int] = []
    for position in np.lexsort((-quality, cost)):
        if not front or quality[position] > quality[front[-1]]:
            front.append(int(position))
    return front
