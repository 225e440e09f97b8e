"""Fits that a test runs once in one process and once in two (torchrun): what came of them goes to a file.

Every process runs this, as the processes of a command do once they have joined in a fit.
"""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path
from typing import Any

import torch
from training_rows import context, fit_data, still_model

from evenodd.encoders import init_student
from evenodd.encoders.adalora import adapter_ranks, add_adalora
from evenodd.settings import DistillSettings, LoraSettings, TrainSettings
from evenodd.training import (
    AfterEachStep,
    DistillObjective,
    LabelObjective,
    fit,
    predict_logits,
    rank_and_world,
    teacher_targets,
)
from evenodd.training.adalora import OrthogonalObjective, RankAllocation
from evenodd.training.ranks import connect, together

SETTINGS = TrainSettings(
    epochs=2, learning_rate=1e-3, token_budget=128, max_rows=16, precision="fp32", log_steps=1, min_steps=1
)
LAYERS = (1, 3)
DATA = fit_data(61)


def fitted(model: Any, objective: Any, folder: Path, **about: Any) -> dict[str, Any]:
    """History, best epoch, reports and validation logits of a fit."""
    told: list[tuple[int, dict[str, float]]] = []
    found = fit(
        model, DATA, SETTINGS, objective, context(folder, report=lambda m, step: told.append((step, m)), **about)
    )
    return {
        "history": found.history,
        "best_epoch": found.best_epoch,
        "padding": found.figures["cost/padding_share"],
        "told": told,
        "logits": predict_logits(model, DATA.validation),
    }


def labels(work: Path) -> dict[str, Any]:
    return fitted(still_model(), LabelObjective(), work / "labels")


def distilled(work: Path, *, live: bool) -> dict[str, Any]:
    """The student's states, and the teacher's where it runs in the fit."""
    teacher = still_model(depth=4)
    settings = DistillSettings(hidden_weight=2.0, hidden_tokens="all" if live else "first")
    targets = None
    if not live:
        together(lambda: teacher_targets(teacher, DATA.train, work / "cache", "fp32"))
        targets = teacher_targets(teacher, DATA.train, work / "cache", "fp32")
    student = copy.deepcopy(init_student(teacher, LAYERS).model)
    objective = DistillObjective(settings, LAYERS, targets=targets, teacher=teacher)
    return fitted(student, objective, work / f"distilled-{live}")


def adapted(work: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    model, allocation = add_adalora(still_model(), LoraSettings(rank=2, dropout=0)), RankAllocation()
    found = fitted(model, OrthogonalObjective(LabelObjective()), work / "adalora", callbacks=(allocation,))
    return found | {"ranks": adapter_ranks(model), "allocated": allocation.history}


def ended_by_the_first(work: Path) -> str:
    """A check that fails in the first process alone, as a lost lease does."""
    steps = iter(range(100))

    def check() -> None:
        if rank_and_world()[0] == 0 and next(steps) == 3:
            raise RuntimeError("the lease is lost")

    try:
        fitted(still_model(), LabelObjective(), work / "ended", callbacks=(AfterEachStep(check),))
    except RuntimeError as error:
        return str(error)
    return "nothing"


class Broken(LabelObjective):
    """A loss that is no number."""

    def terms(self, model: Any, batch: Any) -> Any:
        terms, logits = super().terms(model, batch)
        return {"label": terms["label"] * float("nan")}, logits


def diverged(work: Path) -> str:
    try:
        fitted(still_model(), Broken(), work / "broken")
    except RuntimeError as error:
        return str(error)
    return "nothing"


def main(work: Path) -> None:
    found = {
        "ended": ended_by_the_first(work),
        "diverged": diverged(work),
        "labels": labels(work),
        "cached": distilled(work, live=False),
        "live": distilled(work, live=True),
        "adalora": adapted(work),
    }
    (work / f"found-{rank_and_world()[0]}.pickle").write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    connect()
    main(Path(sys.argv[1]))
