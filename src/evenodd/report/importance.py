"""Scores of layers as a table and a bar chart."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from evenodd.encoders.importance import Importance

AXIS = {
    "influence": "1 − cosine of input and output",
    "drop": "rise of the loss when left out, nats",
    "greedy": "KL when left out, nats",
}


def importance_table(importance: Importance) -> pd.DataFrame:
    """One row per layer: `layer` from 1, `score`, `rank` from 1 (1 is the most important), `kept`."""
    layers = range(1, len(importance.scores) + 1)
    table = pd.DataFrame({"layer": layers, "score": importance.scores})
    table["rank"] = table["score"].rank(ascending=False, method="first").astype(int)
    table["kept"] = table["layer"].isin(importance.kept)
    table["scorer"] = importance.scorer
    return table


def importance_figure(importance: Importance) -> Figure:
    """Bars by layer; kept layers are coloured."""
    figure = Figure(figsize=(0.5 * len(importance.scores) + 3, 3.2), layout="constrained")
    axes = figure.subplots()
    table = importance_table(importance)
    for kept, colour, label in ((True, "#1f6f8b", "kept"), (False, "#b8b8b8", "left out")):
        chosen = table[table["kept"] == kept]
        axes.bar(chosen["layer"], chosen["score"], color=colour, label=label)
    axes.set_xticks(table["layer"])
    axes.set_xlabel("teacher layer")
    axes.set_ylabel(AXIS[importance.scorer])
    axes.set_title(f"importance by {importance.scorer}")
    axes.legend(frameon=False)
    return figure
