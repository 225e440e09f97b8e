"""Few rows: smaller batches, then several passes over the rows per epoch, so that a fit has enough steps.

A randomly initialised head with learning-rate warm-up needs a few hundred steps. 400 short rows in batches of 64 give
only seven per epoch.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np

from evenodd.settings import TrainSettings
from evenodd.training.batches import cut_batches
from evenodd.training.ranks import rank_and_world

log = logging.getLogger(__name__)

LEAST_ROWS = 16
"""Batches are not halved below this number of rows."""
MOST_PASSES = 12


@dataclass(frozen=True)
class BatchPlan:
    """Sizes of the batches of a fit.

    Attributes:
        token_budget: maximum tokens of a batch, including padding.
        max_rows: maximum rows of a batch.
        passes: passes over the rows in each epoch.
        steps: steps of the whole fit, unless patience ends it early.
    """

    token_budget: int
    max_rows: int
    passes: int
    steps: int


def plan_batches(lengths: np.ndarray, settings: TrainSettings) -> BatchPlan:
    """Batches as in the settings if they give `min_steps` steps; otherwise smaller ones, and several passes.

    Args:
        lengths: int, (rows,), tokens of each row of an epoch.
        settings: of the fit.
    """
    ordered = np.sort(np.asarray(lengths))
    budget, rows = settings.token_budget, settings.max_rows
    steps = _steps(ordered, budget, rows, settings)
    while steps < settings.min_steps and rows // 2 >= max(LEAST_ROWS, rank_and_world()[1]):
        budget, rows = max(budget // 2, 32), rows // 2
        steps = _steps(ordered, budget, rows, settings)
    passes = min(max(math.ceil(settings.min_steps / max(steps, 1)), 1), MOST_PASSES)
    plan = BatchPlan(budget, rows, passes, steps * passes)
    if plan.passes > 1 or rows < settings.max_rows:
        log.info(
            "few rows | batches of at most %d rows, %d pass%s per epoch: %d steps",
            rows,
            passes,
            "es" * (passes > 1),
            plan.steps,
        )
    return plan


def _steps(ordered: np.ndarray, budget: int, rows: int, settings: TrainSettings) -> int:
    return len(cut_batches(ordered, budget, rows, rank_and_world()[1])) * settings.epochs
