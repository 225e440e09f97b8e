"""Training with AdaLoRA: an orthogonality term, and reallocation of the ranks after every step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from evenodd.encoders.adalora import (
    adapter_ranks,
    allocate_ranks,
    allocator_state,
    orthogonality,
    restore_allocator,
    schedule_ranks,
)
from evenodd.training.objective import Batch, Objective

ORTHOGONAL_WEIGHT = 0.1
STATE_FILE = "ranks.pt"


class OrthogonalObjective:
    """Adds an orthogonality penalty on the adapters' factors to an objective.

    Args:
        objective: the objective to extend.
        weight: weight of the penalty.

    Source: Zhang et al. 2023, arXiv 2303.10512, equation 4.
    """

    def __init__(self, objective: Objective, weight: float = ORTHOGONAL_WEIGHT) -> None:
        self.objective, self.weight = objective, weight
        self.reads_all_tokens = objective.reads_all_tokens

    def fields(self, rows: np.ndarray) -> Batch:
        return self.objective.fields(rows)

    def terms(self, model: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        terms, logits = self.objective.terms(model, batch)
        return terms | {"orthogonal": (self.weight * orthogonality(model)).expand(len(logits))}, logits


class RankAllocation(TrainerCallback):
    """Reallocates ranks after every optimizer step; saves its state in each checkpoint and restores it.

    Attributes:
        history: ranks by projection at each evaluation of this process, by optimizer step.
    """

    def __init__(self) -> None:
        self.history: dict[int, dict[str, int]] = {}

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        schedule_ranks(model, state.max_steps)
        saved = Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE_FILE
        if state.global_step and saved.is_file():
            device = next(model.parameters()).device
            restore_allocator(model, torch.load(saved, weights_only=True, map_location=device))

    def on_optimizer_step(self, args, state, control, model=None, **kwargs):
        allocate_ranks(model, state.global_step)

    def on_evaluate(self, args, state, control, model=None, **kwargs):
        self.history[state.global_step] = adapter_ranks(model)

    def on_save(self, args, state, control, model=None, **kwargs):
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            torch.save(allocator_state(model), folder / STATE_FILE)
