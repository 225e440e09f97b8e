"""Weight averaging: over the last part of one fit, and between two fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

STATE_FILE = "average.pt"
STEPS_BETWEEN = 5


class WeightAverage(TrainerCallback):
    """Averages all trained weights over the last `share` of the planned steps.

    The validation score varies more from epoch to epoch than between variants; the mean of many late weights does not
    depend on the choice of one epoch. It costs one copy of the trained weights, which is saved in each checkpoint and
    restored from it.

    Args:
        share: share of the planned steps, counted from the end; 0: no averaging.

    Source: Izmailov et al. 2018, arXiv 1803.05407.
    """

    def __init__(self, share: float) -> None:
        self.share, self.count = share, 0
        self.mean: list[Tensor] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Restores the mean of the checkpoint."""
        saved = Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE_FILE
        if state.global_step and saved.is_file():
            found = torch.load(saved, weights_only=True, map_location="cpu")
            self.count = found["count"]
            self.mean = [kept.to(p.device) for kept, p in zip(found["mean"], _trained(model), strict=True)]

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Adds the weights of every fifth step of the last part to the mean."""
        if not self.share or state.global_step % STEPS_BETWEEN or state.global_step < self._first(state.max_steps):
            return
        weights = [p.detach() for p in _trained(model)]
        self.count += 1
        if self.count == 1:
            self.mean = [weight.clone() for weight in weights]
        else:
            torch._foreach_lerp_(self.mean, weights, 1 / self.count)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Writes the mean into the checkpoint."""
        if self.count and state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            torch.save({"count": self.count, "mean": self.mean}, folder / STATE_FILE)

    def swap(self, model: nn.Module) -> None:
        """Swaps the model's trained weights and the mean; a second call swaps them back."""
        with torch.no_grad():
            for position, weight in enumerate(_trained(model)):
                before = weight.detach().clone()
                weight.copy_(self.mean[position])
                self.mean[position] = before

    def _first(self, steps: int) -> int:
        return round((1 - self.share) * steps)


def mix_weights(model: nn.Module, other: nn.Module, share: float) -> None:
    """Replaces the first model's weights by the weighted mean of both models' weights.

    The mean mostly keeps what one fit has learnt and the other has forgotten, provided that both started from the same
    weights.

    Args:
        model: changed in place; its weights count 1 - share.
        other: of the same architecture.
        share: weight of the other model, 0 to 1.

    Raises:
        ValueError: one model lacks a tensor or has it in another shape; nothing is changed.

    Source: Wortsman et al. 2022, arXiv 2109.01903.
    """
    ours, theirs = model.state_dict(), other.state_dict()
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs or ours[name].shape != theirs[name].shape:
            raise ValueError(f"weights of two fits cannot be mixed: '{name}' is missing in one or has another shape.")
    for name, value in ours.items():
        if value.is_floating_point():
            value.lerp_(theirs[name].to(value), share)


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
