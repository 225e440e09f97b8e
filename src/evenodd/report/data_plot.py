"""Figure of the rows: counts by label and lengths."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from evenodd.evidence.datareport import SPLITS, Source
from evenodd.report.plots import COLOURS, FEW_LABELS, label_axes, legend_beneath, new_figure, shorten


def plot_data(corpus: Source) -> Figure:
    """Rows by split and label, and the lengths of the training texts by label."""
    figure, (left, right) = new_figure(2)
    bottom, parts = np.zeros(len(SPLITS)), shown_labels(corpus)
    for index, (name, labels) in enumerate(parts):
        heights = np.array([np.isin(getattr(corpus, split).labels, labels).sum() for split in SPLITS])
        left.bar(SPLITS, heights, bottom=bottom, color=COLOURS[index % len(COLOURS)], label=name, width=0.6)
        bottom += heights
    label_axes(left, "", "Rows", "Rows by split and label")
    words = np.array([len(text.split()) for text in corpus.train.texts])
    edges = np.arange(0, max(10, float(np.quantile(words, 0.99))) + 2, 2.0)
    for index, (name, labels) in enumerate(parts):
        own = np.clip(words[np.isin(corpus.train.labels, labels)], 0, edges[-1] - 1)
        colour = COLOURS[index % len(COLOURS)]
        right.hist(own, bins=edges.tolist(), density=True, histtype="step", linewidth=1.8, color=colour, label=name)
    label_axes(right, "Words (longest 1 % in the last bar)", "Share of the label", "Length of training texts")
    legend_beneath(figure, left)
    return figure


def shown_labels(corpus: Source) -> list[tuple[str, list[int]]]:
    """Groups of labels with their own colour: every label, or the most frequent ones and one group for the others."""
    names = corpus.label_names
    if len(names) <= FEW_LABELS:
        return [(shorten(name), [index]) for index, name in enumerate(names)]
    counts = np.bincount(np.asarray(corpus.train.labels), minlength=len(names))
    order = np.argsort(-counts, kind="stable").tolist()
    shown = [(shorten(names[index]), [index]) for index in order[: FEW_LABELS - 1]]
    return [*shown, (f"{len(names) - len(shown)} other labels", order[len(shown) :])]
