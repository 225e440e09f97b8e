"""Descriptions, figures and registry entries of runs and versions."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import softmax

from evenodd.encoders import LayerMap
from evenodd.evidence import Decision, Scored
from evenodd.evidence.suites.own import OWN, own_limits, own_page
from evenodd.flow.measure import Measured
from evenodd.flow.plan import Plan
from evenodd.report.behaviour_plot import plot_behaviour
from evenodd.report.plots import (
    plot_confusion,
    plot_curves,
    plot_precision_recall,
    plot_reliability,
    plot_risk_coverage,
)
from evenodd.rows import Corpus
from evenodd.settings import flatten, is_among
from evenodd.task import Task
from evenodd.tracking import ModelEntry
from evenodd.training import Fit

MODEL_PACKAGES = ("torch", "transformers", "tokenizers", "accelerate", "numpy", "pandas")
SHOWN = ("test/f1_macro", "test/average_precision", "test/accuracy", "floor/tfidf_f1_macro", "floor/majority_accuracy")


def fit_figures(fitted: Fit, measured: Measured, corpus: Corpus, plan: Plan) -> dict[str, Figure]:
    """Plots of one run: curves, and on test the confusion matrix, precision-recall, reliability, risk and coverage."""
    validation, test = measured.scored["validation"], measured.scored["test"]
    figures = {
        "curves": plot_curves(history_frame(fitted.history, plan.variant.name, plan.settings.seed), plan.variant.name),
        "confusion": plot_confusion(test, corpus.label_names),
        "precision_recall": plot_precision_recall(test, measured.decision),
        "reliability": plot_reliability(_uncalibrated(test), test),
        "risk_coverage": plot_risk_coverage(validation, measured.decision, split="validation"),
    }
    if measured.behaviour:
        figures["behaviour"] = plot_behaviour(measured.behaviour)
    return figures


def history_frame(history: list[dict[str, Any]], variant: str, seed: int) -> pd.DataFrame:
    """The history of a fit for the plots: variant, seed, step, epoch, split, metric, value."""
    frame = pd.DataFrame(history)
    names = frame["metric"].str.split("/", n=1, expand=True)
    return frame.assign(variant=variant, seed=seed, split=names[0], metric=names[1])


def _uncalibrated(scored: Scored) -> Scored:
    if scored.logits is None:
        return scored
    return Scored(scored.labels, softmax(scored.logits.astype(np.float64), axis=1), scored.row_ids)


def describe_run(plan: Plan, corpus: Corpus, figures: Mapping[str, float], layer_map: LayerMap | None) -> str:
    """Markdown for the top of the run's page."""
    lines = [f"**{plan.variant.name}**: {plan.variant.summary}."]
    if corpus.synthetic:
        lines.append(
            "**Synthetic data**: the rows are made from templates; these figures say nothing about real texts."
        )
    if layer_map:
        lines.append(f"Teacher layers kept: {', '.join(map(str, layer_map))}.")
    added = corpus.counts.get("augmented", 0)
    own = len(corpus.train) - added
    lines.append(f"Rows: {corpus.name}, {own:,} for training, labels {', '.join(corpus.label_names)}.")
    if added:
        data = plan.settings.data
        lines.append(
            f"Counterexamples: {added:,} made from templates, about {data.augment_rows:,} an epoch; the weights are "
            f"{data.augment_mix:g} of this fit and {1 - data.augment_mix:.2g} of the same fit without them."
        )
    table = [f"| {key} | {figures[key]:.4f} |" for key in SHOWN if key in figures]
    return "\n\n".join([*lines, "\n".join(["| figure | value |", "|---|---|", *table])])


def describe_version(plan: Plan, figures: Mapping[str, float]) -> str:
    """Description in the registry's list, which shows no Markdown."""
    return (
        f"{plan.variant.name}, the fitted model (seed {plan.settings.seed}): macro-F1 {figures['test/f1_macro']:.3f} "
        "on the test rows. It takes texts, and is also a transformers model for further training."
    )


def model_entry(
    plan: Plan,
    corpus: Corpus,
    figures: Mapping[str, float],
    decision: Decision,
    layer_map: LayerMap | None,
    reading: Mapping[str, Any],
) -> ModelEntry:
    """The registry entry of a fitted variant, with the metadata that its version needs to answer texts."""
    tags = {
        "variant": plan.variant.name,
        "kind": "torch",
        "seed": str(plan.settings.seed),
        "data_digest": corpus.digest,
        "synthetic": str(corpus.synthetic).lower(),
        "test_f1_macro": f"{figures['test/f1_macro']:.4f}",
    }
    metadata: dict[str, Any] = {
        "variant": plan.variant.name,
        "task": corpus.task.to_dict(),
        **reading,
        "decision": decision.to_dict(),
        "layer_map": list(layer_map) if layer_map else None,
        "teacher": plan.settings.teacher.source,
        "data": {
            "name": corpus.name,
            "digest": corpus.digest,
            "synthetic": corpus.synthetic,
            "counterexamples": corpus.counts.get("augmented", 0),
        },
    }
    metadata["limits"] = list(limits(metadata, plan.settings.suite))
    metadata["page"] = page_words(corpus.task, plan.settings.suite)
    return ModelEntry(
        registered_name=plan.settings.name,
        variant=plan.variant.name,
        description=describe_version(plan, figures) + "\n\n" + describe_run(plan, corpus, figures, layer_map),
        tags=tags,
        requirements=tuple(f"{name}=={version(name).partition('+')[0]}" for name in MODEL_PACKAGES),
        metadata=metadata,
    )


def card_facts(
    entry: ModelEntry, plan: Plan, corpus: Corpus, figures: Mapping[str, float], run_id: str
) -> dict[str, Any]:
    """Facts for the model card, all from the run."""
    data = {**entry.metadata["data"], "counts": {split.name: len(split) for split in corpus.splits}}
    settings = {key: value for key, value in flatten(plan.settings).items() if is_among(key, plan.used)}
    return {
        **entry.metadata,
        "name": entry.registered_name,
        "data": data,
        "metrics": dict(figures),
        "run_id": run_id,
        "settings": settings,
    }


def page_words(task: Task, suite: str | None) -> dict[str, Any] | None:
    """Texts about the task for the service's page, if the project has them: for the task of its own suite."""
    if suite != OWN or task.positive is None:
        return None
    (negative,) = (label for label in task.labels if label != task.positive)
    return own_page(task.positive, negative)


def limits(facts: Mapping[str, Any], suite: str | None) -> tuple[str, ...]:
    """Limitations that users of the decisions must know, one line each."""
    lines = []
    if facts["data"]["synthetic"]:
        lines.append("Fitted on synthetic texts made from templates: not for real decisions.")
    if facts["data"].get("counterexamples"):
        lines.append(
            "Also fitted on counterexamples made from templates, which are worded differently from real texts."
        )
    lines += own_limits() if suite == OWN else ()
    lines.append(f"Classifies each text on its own, without its thread; fitted on {facts['data']['name']}.")
    return tuple(lines)
