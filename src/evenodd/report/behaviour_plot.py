"""The heat map of a behaviour suite."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evenodd.evidence.suites.behaviour import NO_GROUP, BehaviourReport


def in_words(name: object) -> str:
    """Readable name of a suite's functionality or figure: `contempt_h` becomes "contempt"."""
    return str(name).removesuffix("_nh").removesuffix("_h").replace("_", " ")


def plot_behaviour(report: BehaviourReport) -> Figure:
    """Heat map of accuracy by functionality and group, positive functionalities on top; empty cells have no case."""
    table = report.by_functionality_and_group
    table["row"] = table["functionality"].map(in_words) + "  (" + table["label_gold"] + ")"
    groups = sorted(table["group"].unique(), key=lambda group: (group == NO_GROUP, group))
    grid = table.pivot(index="row", columns="group", values="accuracy").loc[table["row"].unique(), groups]
    figure = Figure(figsize=(3.2 + 0.85 * len(groups), 1.6 + 0.27 * len(grid)), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(grid.to_numpy(), vmin=0, vmax=1, cmap="cividis", aspect="auto")
    _annotate(axes, grid)
    figure.colorbar(image, ax=axes, label="accuracy", shrink=0.5)
    figures = report.metrics()
    axes.set_title(
        f"Suite {in_words(report.suite)}, {len(report.cases)} cases: balanced accuracy "
        f"{figures['balanced_accuracy']:.3f} (recall {figures['recall']:.3f}, "
        f"specificity {figures['specificity']:.3f})",
        fontsize=10,
    )
    return figure


def _annotate(axes: Axes, grid: pd.DataFrame) -> None:
    """Labels both axes and writes the value into each cell, readable on dark and light cells."""
    axes.set_xticks(range(grid.shape[1]), [str(name) for name in grid.columns], rotation=35, ha="right", fontsize=8)
    axes.set_yticks(range(grid.shape[0]), [str(name) for name in grid.index], fontsize=8)
    axes.set_facecolor("0.92")
    for row, column in np.argwhere(~np.isnan(grid.to_numpy())):
        value = float(grid.to_numpy()[row, column])
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color="w" if value < 0.5 else "k")
