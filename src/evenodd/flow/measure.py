"""Measures a fitted model: figures, decision and scored rows of validation and test."""

from __future__ import annotations

import io
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from scipy.special import softmax
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from evenodd.classifier import Classifier
from evenodd.evidence import Decision, Scored, classification_metrics, decision_metrics, fit_decision
from evenodd.evidence.suites.behaviour import BehaviourReport, Suite, score_suite, untrained
from evenodd.evidence.suites.own import open_suite
from evenodd.flow.materials import Materials
from evenodd.release.torch_session import torch_classifier
from evenodd.settings import Settings
from evenodd.training import predict_logits

log = logging.getLogger(__name__)

MOST_SHARED = 0.1
"""Maximum share of a suite's cases that may occur in the training rows."""


@dataclass(frozen=True)
class Measured:
    """Figures by name, the decision fitted on validation, scored rows by split, and answers to the behaviour suite."""

    metrics: dict[str, float]
    decision: Decision
    scored: dict[str, Scored]
    behaviour: BehaviourReport | None = None


def measure(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, materials: Materials, settings: Settings
) -> Measured:
    """Scores validation and test once, in float32, and fits temperature, threshold and review band on validation.

    The decision is fitted on the first window of each text; figures are of whole texts, as in the service. The figures
    include the counts of the data report, so that runs on different rows can be compared.
    """
    corpus = materials.corpus
    tokens = {name: materials.tokens(name, tokenizer) for name in ("validation", "test")}
    logits = {name: predict_logits(model, store) for name, store in tokens.items()}
    decision = fit_decision(
        logits["validation"],
        corpus.validation.labels,
        settings.decision,
        corpus.task,
    )
    classifier = classifier_of(model, tokenizer, decision, settings)
    metrics = materials.data_report.to_metrics()
    metrics |= {f"data/dropped_{kind}": float(corpus.counts.get(kind, 0)) for kind in ("duplicates", "label_conflicts")}
    scored: dict[str, Scored] = {}
    for name, found in logits.items():
        split = getattr(corpus, name)
        cut = np.flatnonzero(tokens[name].lengths >= settings.data.max_length)
        found[cut] = decision.logits(classifier.score([split.texts[row] for row in cut]))
        scored[name] = Scored(split.labels, decision.probabilities(found), split.row_ids, found)
        metrics |= _split_metrics(name, scored[name], decision, corpus)
    suite = unseen_suite(corpus.train.texts, settings)
    behaviour = None
    if suite is not None:
        called = decision.labels(classifier.score(suite.texts)) == decision.positive
        behaviour = score_suite(suite, called)
        metrics |= {f"behaviour/{key}": value for key, value in behaviour.metrics().items()}
    return Measured(metrics, decision, scored, behaviour)


def unseen_suite(trained_on: Sequence[str], settings: Settings) -> Suite | None:
    """The behaviour suite without the cases that occur in the training rows.

    None if there is no suite, or too many of its cases were trained on.
    """
    if settings.suite is None:
        return None
    try:
        return unseen_cases(open_suite(settings.suite), trained_on)
    except ValueError as error:
        log.warning("behaviour is not measured: %s", error)
        return None


def unseen_cases(suite: Suite, trained_on: Sequence[str]) -> Suite:
    """A suite without the cases that occur in the training texts; logs their number.

    Raises:
        ValueError: more than a tenth of the suite was trained on.
    """
    left, shared = untrained(suite, trained_on)
    if len(shared) > MOST_SHARED * len(suite):
        raise ValueError(
            f"suite '{suite.name}': {len(shared)} of its {len(suite)} cases occur in the training rows, so it would "
            "measure memorisation: remove them from the data, or score another suite."
        )
    if shared:
        log.warning(
            "suite %s | %d of %d cases occur in the training rows and are not scored, the first: %r",
            suite.name,
            len(shared),
            len(suite),
            shared[0],
        )
    return left


def classifier_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, decision: Decision, settings: Settings
) -> Classifier:
    """A classifier for a model that was just fitted."""
    overlap, max_length = settings.decision.window_overlap, settings.data.max_length
    return torch_classifier(model, tokenizer, decision, max_length=max_length, window_overlap=overlap)


def _split_metrics(name: str, scored: Scored, decision: Decision, corpus: Any) -> dict[str, float]:
    figures = classification_metrics(
        scored.labels,
        scored.probabilities,
        label_names=corpus.label_names,
        positive=corpus.positive,
        predictions=scored.predictions,
    )
    if scored.logits is not None:
        figures |= decision_metrics(decision, scored.logits, scored.labels)
    return {f"{name}/{key}": value for key, value in figures.items()}


def scores_to_bytes(scored: Scored) -> bytes:
    """Row ids, labels and logits as a compressed NumPy archive."""
    if scored.logits is None:
        raise ValueError("scores without logits cannot be stored: they would be calibrated twice.")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, row_ids=scored.ids, labels=scored.labels, logits=scored.logits)
    return buffer.getvalue()


def read_scores(path: Path) -> Scored:
    """Scored rows from such an archive, with uncalibrated probabilities.

    Raises:
        RuntimeError: the archive is damaged.
    """
    try:
        with np.load(path) as archive:
            probabilities = softmax(archive["logits"].astype(np.float64), axis=1)
            return Scored(archive["labels"], probabilities, archive["row_ids"], archive["logits"])
    except (BadZipFile, zlib.error, EOFError, KeyError, ValueError) as error:
        raise RuntimeError(f"scores {path}: the archive is damaged ({error}). Fit its run again.") from error
