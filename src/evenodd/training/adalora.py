"""What AdaLoRA asks of training: an orthogonality term, and ranks that move after every step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import TrainerCallback

from evenodd.training.objective import Batch, Objective
from evenodd.variants.adalora import adapter_ranks, allocate_ranks, allocator_state, orthogonality, restore_allocator

ORTHOGONAL_WEIGHT = 0.1
STATE_FILE = "ranks.pt"


class OrthogonalObjective:
    """An objective and, beside it, a pull of the adapters' factors towards orthogonal ones.

    Args:
        objective: what is minimised otherwise.
        adapted: the model with AdaLoRA adapters.
        weight: of the term.

    Source: Zhang et al. 2023, arXiv 2303.10512, equation 4.
    """

    def __init__(self, objective: Objective, adapted: PeftModel, weight: float = ORTHOGONAL_WEIGHT) -> None:
        self.objective, self.adapted, self.weight = objective, adapted, weight

    def fields(self, rows: np.ndarray) -> Batch:
        return self.objective.fields(rows)

    def terms(self, model: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        terms, logits = self.objective.terms(model, batch)
        rows = len(logits)
        return terms | {"orthogonal": (self.weight * orthogonality(self.adapted)).expand(rows)}, logits


class RankAllocation(TrainerCallback):
    """Moves ranks after every optimizer step; its state goes into each checkpoint and comes back from it.

    Attributes:
        history: step to rank by projection, at every evaluation.
    """

    def __init__(self, adapted: PeftModel) -> None:
        self.adapted = adapted
        self.history: dict[int, dict[str, int]] = {}

    def on_train_begin(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        saved = Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE_FILE
        if state.global_step and saved.is_file():
            restore_allocator(self.adapted, torch.load(saved, weights_only=True))

    def on_optimizer_step(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        allocate_ranks(self.adapted, state.global_step)

    def on_evaluate(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        self.history[state.global_step] = adapter_ranks(self.adapted)

    def on_save(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        torch.save(allocator_state(self.adapted), folder / STATE_FILE)
