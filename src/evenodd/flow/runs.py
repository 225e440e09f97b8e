"""Finished runs, read back from the tracking store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from evenodd import tracking
from evenodd.encoders.catalog import VARIANTS
from evenodd.evidence import Scored
from evenodd.flow.measure import read_scores


@dataclass(frozen=True)
class FinishedRun:
    """A fitted run from the tracking store; `validation` holds its scored rows, `history` its steps and epochs."""

    run_id: str
    variant: str
    seed: int
    version: str
    metrics: dict[str, float]
    tags: dict[str, str]
    validation: Scored
    history: pd.DataFrame

    @property
    def row(self) -> dict[str, Any]:
        """One row of a table of runs."""
        return {
            "variant": self.variant,
            "seed": self.seed,
            "version": self.version,
            "run_id": self.run_id,
        } | self.metrics


def read_run(run_id: str) -> FinishedRun:
    """A finished run with its validation scores and history.

    Raises:
        ValueError: the run does not exist, or has no scores.
    """
    run = tracking.get_run(run_id)
    tags = dict(run.data.tags)
    scored = read_scores(tracking.download(run_id, "scores/validation.npz"))
    history = pd.read_csv(tracking.download(run_id, "tables/history.csv"))
    figures = tracking.figures_of(run)
    return FinishedRun(run_id, tags["variant"], int(tags["seed"]), tags["version"], figures, tags, scored, history)


def newest_runs(data_digest: str, variants: Sequence[str] | None, seed: int | None = None) -> list[str]:
    """Ids of the newest finished run of each variant and seed on rows with this digest.

    Args:
        data_digest: of the rows and their splits.
        variants: only these and the teacher; None: all.
        seed: only this one; None: all.

    Raises:
        ValueError: there are none.
    """
    found: dict[tuple[str, str], str] = {}
    for candidate in tracking.find_runs({"data_digest": data_digest} | ({} if seed is None else {"seed": str(seed)})):
        tags = candidate.data.tags
        wanted = variants is None or tags.get("variant") in (*variants, "teacher")
        if "model_uri" in tags and wanted and tags["variant"] in VARIANTS:
            found.setdefault((tags["variant"], tags["seed"]), candidate.info.run_id)
    if not found:
        raise ValueError(
            "no finished run on these rows: fit a variant first (mlflow run . -e distill_odd --env-manager local), "
            "with the same data parameters."
        )
    return list(found.values())
