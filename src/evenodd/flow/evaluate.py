"""`evaluate`: scores a registered model, run or bundle on a data file or a behaviour suite."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from evenodd import tracking
from evenodd.evidence import classification_metrics, decision_metrics
from evenodd.evidence.slices import slice_metrics
from evenodd.evidence.suites.behaviour import score_suite
from evenodd.evidence.suites.own import OWN, near_sentences, open_suite
from evenodd.flow.measure import unseen_cases
from evenodd.flow.scorer import Scorer, said_model, scorer_of
from evenodd.flow.slices import table_of_slices
from evenodd.report.behaviour_plot import plot_behaviour
from evenodd.report.sections import slice_rows
from evenodd.report.slice_plot import plot_slices
from evenodd.rows import load_corpus, load_rows
from evenodd.settings import Request, Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluated:
    """Results of an evaluation: figures by name, and a table by functionality of a suite or by slice."""

    title: str
    figures: dict[str, float]
    table: pd.DataFrame | None = None

    @property
    def text(self) -> str:
        """Title, one line per figure, and the table."""
        width = max(map(len, self.figures), default=0)
        lines = [self.title, *(f"  {key:<{width}}  {value:.4f}" for key, value in self.figures.items())]
        return "\n".join(lines + ([] if self.table is None else [self.table.to_string(index=False)]))


def run(request: Request) -> Evaluated:
    """Scores `model` on `suite` if given, otherwise on every row of `data`."""
    settings = request.settings
    tracking.configure(settings.experiment)
    named = request.says("data.source")
    suite = settings.suite if request.says("evidence.suite") else None
    if suite is None and not named:
        raise ValueError("nothing to score: pass -P data=FILE (labelled rows) or -P suite=FILE (`own`: the project's).")
    scorer = scorer_of(said_model(request))
    tags = {"stage": "evaluate", **{key: str(value) for key, value in scorer.lineage.items()}}
    with tracking.start_run(f"evaluate · {scorer.name}", tags=tags):
        tracking.log_settings(settings, ("run", "data") if suite is None else ("run", "evidence.suite"))
        if suite is not None:
            return score_behaviour(scorer, settings, training_texts(scorer, settings) if named else None)
        return score_file(scorer, settings)


def training_texts(scorer: Scorer, settings: Settings) -> Sequence[str]:
    """The training rows in `data`, which must be those that the model was fitted on.

    Raises:
        ValueError: the rows differ.
    """
    corpus = load_corpus(settings.data, seed=settings.data.split_seed, cache=settings.home / "cache")
    if corpus.digest != scorer.lineage.get("data_digest"):
        raise ValueError(
            f"data='{settings.data.source}': {scorer.name} was not fitted on these rows as they are read now, so they "
            "do not show which cases of the suite it was trained on. Pass the settings of its fit, or no data."
        )
    return corpus.train.texts


def score_behaviour(scorer: Scorer, settings: Settings, trained_on: Sequence[str] | None = None) -> Evaluated:
    """A behaviour suite: figures, a table by functionality, a heat map.

    Args:
        scorer: the model to score.
        settings: settings with the suite.
        trained_on: texts of the training rows, which are left out of the suite; None: unknown.

    Raises:
        ValueError: the suite is faulty, or was trained on.
    """
    suite = open_suite(settings.suite or OWN)
    if scorer.decision.positive is None:
        raise ValueError(f"suite={settings.suite}: its cases need a positive label, and {scorer.name} has none.")
    if trained_on is None:
        log.info("suite %s | not compared with the training rows: pass the fit's data to do so", suite.name)
    else:
        suite = unseen_cases(suite, trained_on)
    probabilities = scorer.probabilities(suite.texts)
    report = score_suite(suite, scorer.decision.labels(probabilities) == scorer.decision.positive)
    figures = {f"behaviour/{key}": value for key, value in report.metrics().items() if value == value}
    tracking.log_metrics(figures)
    tracking.log_table("functionalities", report.by_functionality.reset_index())
    if settings.suite == OWN:
        tracking.log_table("near", near_sentences(scorer.is_positive))
    tracking.log_figures({"behaviour": plot_behaviour(report)})
    if settings.run.predictions:
        write_predictions(Path(settings.run.predictions), suite.texts, scorer, probabilities)
    title = f"{scorer.name} on {suite.name} ({len(suite):,} cases)"
    return Evaluated(title, figures, report.by_functionality.reset_index())


def score_file(scorer: Scorer, settings: Settings) -> Evaluated:
    """Labelled rows: accuracy, macro-F1, F1 of each label, average precision and the rest; the same by slice."""
    rows = load_rows(settings.data, label_names=scorer.label_names, cache=settings.home / "cache")
    texts = list(rows.texts)
    probabilities, decision = scorer.probabilities(texts), scorer.decision
    figures = classification_metrics(
        rows.labels,
        probabilities,
        label_names=scorer.label_names,
        positive=decision.positive_label,
        predictions=decision.labels(probabilities),
    ) | decision_metrics(decision, decision.logits(probabilities), rows.labels)
    named = {f"evaluate/{key}": value for key, value in figures.items()}
    tracking.log_metrics(named)
    if settings.run.predictions:
        truth = [scorer.label_names[number] for number in rows.labels]
        write_predictions(Path(settings.run.predictions), texts, scorer, probabilities, truth)
    title = f"{scorer.name} on {settings.data.source} ({len(texts):,} rows)"
    if not settings.data.slices:
        return Evaluated(title, named)
    sliced = table_of_slices(rows, settings.data.slices, decision, probabilities)
    tracking.log_table("slices", sliced)
    tracking.log_figures({"slices": plot_slices(sliced)})
    tracking.log_metrics(gaps := slice_metrics(sliced))
    return Evaluated(title, named | gaps, slice_rows(sliced))


def write_predictions(
    path: Path, texts: list[str], scorer: Scorer, probabilities: np.ndarray, truth: list[str] | None = None
) -> None:
    """Writes text, true label (if known), label, decision, score and probabilities of each row as CSV."""
    decisions, labels = scorer.decision.decide(probabilities), scorer.decision.labels(probabilities)
    scores = scorer.decision.scores(probabilities)
    columns = ["text", *(["truth"] if truth else []), "label", "decision", "score"]
    columns += [f"p_{name}" for name in scorer.label_names]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for index, text in enumerate(texts):
            p = probabilities[index]
            known = [truth[index]] if truth else []
            label = scorer.label_names[labels[index]]
            writer.writerow([text, *known, label, decisions[index], f"{scores[index]:.6f}", *(f"{v:.6f}" for v in p)])
    log.info("predictions of %s texts in %s", f"{len(texts):,}", path)
