"""Rates by slice, with their intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from evenodd.evidence.slices import RATES
from evenodd.report.plots import COLOURS, GREY, label_axes, new_figure, shorten


def plot_slices(table: pd.DataFrame) -> Figure:
    """A dot and its 95 % interval for each slice and rate; pale where a slice has too few rows to count.

    Args:
        table: `slice_table` of one variant and split.
    """
    rates = [name for name in RATES if name in table and (name != "accuracy" or "recall" not in table)]
    figure, axes = new_figure(len(rates), width=5.6, height=max(2.4, 0.32 * len(table) + 1.2))
    names = [shorten(f"{column}: {value}") for column, value in table[["column", "value"]].to_numpy()]
    for ax, rate in zip(axes, rates, strict=True):
        found = table[[rate, f"{rate}_low", f"{rate}_high"]].to_numpy(dtype=float)
        for row, ((value, low, high), counts) in enumerate(zip(found, table[f"{rate}_counts"], strict=True)):
            colour = COLOURS[0] if counts else GREY
            ax.plot([low, high], [row, row], color=colour, linewidth=1.8, alpha=1 if counts else 0.45)
            ax.plot(value, row, "o", color=colour, markersize=6, alpha=1 if counts else 0.45)
        ax.set_yticks(np.arange(len(names)), names)
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.set_xlim(-0.03, 1.03)
        label_axes(ax, "", "", RATES[rate][0].upper() + RATES[rate][1:])
    return figure
