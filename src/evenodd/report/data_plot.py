"""The figure of the rows: how many, of which label, how long."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from evenodd.evidence.datareport import SPLITS, Source
from evenodd.report.plots import COLOURS, label_axes, new_figure


def plot_data(corpus: Source) -> Figure:
    """Rows by split and label, and the lengths of the training texts by label."""
    figure, (left, right) = new_figure(2)
    bottom, names = np.zeros(len(SPLITS)), corpus.label_names
    for index, name in enumerate(names):
        heights = np.array([(np.asarray(getattr(corpus, split).labels) == index).sum() for split in SPLITS])
        left.bar(SPLITS, heights, bottom=bottom, color=COLOURS[index % len(COLOURS)], label=name, width=0.6)
        bottom += heights
    label_axes(left, "", "Rows", "Rows by split and label")
    left.legend(frameon=False, fontsize=10)
    words = np.array([len(text.split()) for text in corpus.train.texts])
    edges = np.arange(0, max(10, float(np.quantile(words, 0.99))) + 2, 2.0)
    for index, name in enumerate(names):
        own = np.clip(words[np.asarray(corpus.train.labels) == index], 0, edges[-1] - 1)
        colour = COLOURS[index % len(COLOURS)]
        right.hist(own, bins=edges.tolist(), density=True, histtype="step", linewidth=1.8, color=colour, label=name)
    label_axes(right, "Words (longest 1 % in the last bar)", "Share of the label", "Length of training texts")
    right.legend(frameon=False, fontsize=10)
    return figure
