"""Builds and fits a variant, in one process or in all processes of a torchrun command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from evenodd import tracking
from evenodd.evidence import classification_metrics
from evenodd.flow.build import Built, build
from evenodd.flow.materials import Materials
from evenodd.flow.plan import Plan
from evenodd.training import Fit, FitContext, fit, join_in

Report = Callable[[dict[str, float], int], None]


@dataclass(frozen=True)
class Job:
    """A model to fit.

    Attributes:
        plan: variant and settings.
        materials: rows and encoder.
        teachers: URI of the fitted teacher, and of the teacher fitted without added rows; None if there is none.
        folder: for checkpoints; with several hosts, a shared one.
    """

    plan: Plan
    materials: Materials
    teachers: tuple[str | None, str | None]
    folder: Path


def fit_model(job: Job, report: Report, callbacks: tuple[Any, ...] = ()) -> tuple[Built, Fit]:
    """The fitted model; the other processes of this command build it too and compute their share.

    Args:
        job: what is fitted.
        report: called with metrics and their step.
        callbacks: further callbacks of transformers' Trainer.
    """
    built = build(job.plan, job.materials, *job.teachers)
    join_in(_join, job, tracking.connection())
    return built, _fit(built, job, report, callbacks)


def _join(job: Job, store: dict[str, str]) -> None:
    """The part of all processes except the first, which has cached targets and layer scores before."""
    tracking.connect(store)
    _fit(build(job.plan, job.materials, *job.teachers), job, lambda metrics, step: None, ())


def _fit(built: Built, job: Job, report: Report, callbacks: tuple[Any, ...]) -> Fit:
    corpus, settings = job.materials.corpus, job.plan.settings
    score = partial(epoch_metrics, label_names=corpus.label_names, positive=corpus.positive)
    context = FitContext(job.folder, settings.seed, score, report, (*built.callbacks, *callbacks))
    return fit(built.model, job.materials.fit_data(built.tokenizer), settings.train, built.objective, context)


def epoch_metrics(
    logits: np.ndarray, labels: np.ndarray, *, label_names: tuple[str, ...], positive: str | None
) -> dict[str, float]:
    """Metrics of validation after each epoch."""
    return classification_metrics(labels, softmax(logits, axis=1), label_names=label_names, positive=positive)
