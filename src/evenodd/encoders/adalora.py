"""AdaLoRA: adapters that start with a high rank, which training then reduces where it matters least."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from peft import AdaLoraConfig, PeftModel, TaskType, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from evenodd.encoders.lora import head_modules, lora_targets
from evenodd.settings import LoraSettings

log = logging.getLogger(__name__)

ADAPTER = "default"
UNSCHEDULED = 1000
SINGULAR_VALUES = f".lora_E.{ADAPTER}"


def add_adalora(model: PreTrainedModel, settings: LoraSettings) -> PeftModel:
    """The model with AdaLoRA adapters that end at an average rank of `settings.rank`; see `schedule_ranks`.

    Args:
        model: a sequence classifier.
        settings: rank, alpha, dropout and targets; `initial_rank` defaults to 1.5 times the rank.

    Raises:
        ValueError: settings that AdaLoRA does not have (DoRA, rsLoRA), an initial rank below the final one, or see
            `lora_targets`.

    Source: Zhang et al. 2023, arXiv 2303.10512.
    """
    start = settings.initial_rank or settings.rank + (settings.rank + 1) // 2
    if settings.dora or settings.rslora:
        raise ValueError("lora.dora, lora.rslora: AdaLoRA has neither; leave them out, or fit the variant lora.")
    if start < settings.rank:
        raise ValueError(f"lora.initial_rank={start}: AdaLoRA only reduces ranks; pass {settings.rank} or more.")
    config = AdaLoraConfig(
        task_type=TaskType.SEQ_CLS,
        init_r=start,
        target_r=settings.rank,
        total_step=UNSCHEDULED,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(lora_targets(model, settings)),
        modules_to_save=list(head_modules(model)),
        bias="none",
    )
    return get_peft_model(model, config)


def schedule_ranks(model: PeftModel, total_steps: int) -> None:
    """Schedules the ranks: constant for a tenth of the steps, reduced until seven tenths, then constant again.

    Args:
        model: with AdaLoRA adapters, before its first step.
        total_steps: optimizer steps of the whole fit.

    Raises:
        ValueError: too few steps.
    """
    if total_steps < 4:
        raise ValueError(f"adalora: {total_steps} steps are too few to reduce ranks; pass more epochs or rows.")
    config: Any = model.peft_config[ADAPTER]
    config.tinit, config.tfinal = total_steps // 10, max(1, 3 * total_steps // 10)
    config.deltaT, config.total_step = max(1, total_steps // 100), total_steps


def allocate_ranks(model: PeftModel, step: int) -> None:
    """Reallocates the ranks after an optimizer step; call it before the gradients are cleared.

    The rank pattern is not stored in the adapter's config: PEFT would cut the saved tensors accordingly, and an earlier
    checkpoint with other ranks could not be loaded. Singular values of zero hold the same information.

    Args:
        model: with AdaLoRA adapters.
        step: number of optimizer steps before this one.
    """
    tuner: Any = model.base_model
    config, allocator = tuner.peft_config[ADAPTER], tuner.rankallocator
    last = config.total_step - config.tfinal
    if step <= last:
        allocator.update_and_allocate(tuner.model, step, force_mask=step == last)
        if step == last:
            tuner.kept_pattern = _pattern(model)
    else:
        if not hasattr(tuner, "kept_pattern"):
            tuner.kept_pattern = _pattern(model)
        _mask(model, tuner.kept_pattern)


def allocator_state(model: PeftModel) -> dict[str, Any]:
    """State of the rank allocator, for a checkpoint."""
    tuner: Any = model.base_model
    allocator = tuner.rankallocator
    return {
        "ipt": allocator.ipt,
        "exp_avg_ipt": allocator.exp_avg_ipt,
        "exp_avg_unc": allocator.exp_avg_unc,
        "kept_pattern": getattr(tuner, "kept_pattern", None),
    }


def restore_allocator(model: PeftModel, state: Mapping[str, Any]) -> None:
    """Restores the state that `allocator_state` returned."""
    tuner: Any = model.base_model
    for name in ("ipt", "exp_avg_ipt", "exp_avg_unc"):
        setattr(tuner.rankallocator, name, dict(state[name]))
    if state["kept_pattern"] is not None:
        tuner.kept_pattern = dict(state["kept_pattern"])


def adapter_ranks(model: PeftModel) -> dict[str, int]:
    """Remaining rank (nonzero singular values) of each adapted projection, by its name in the encoder."""
    return {
        name.removesuffix(SINGULAR_VALUES): int(torch.count_nonzero(values))
        for name, values in _singular_values(model).items()
    }


def orthogonality(model: nn.Module) -> Tensor:
    """Mean over the adapters' factors of the Frobenius distance of PᵀP and QQᵀ from the identity: a scalar."""
    distances = []
    for name, factor in model.named_parameters():
        if f".lora_A.{ADAPTER}" in name or f".lora_B.{ADAPTER}" in name:
            rows = factor if "lora_A" in name else factor.T
            distances.append(torch.linalg.norm(rows @ rows.T - torch.eye(len(rows), device=rows.device)))
    return torch.stack(distances).mean()


def rank_table(ranks: Mapping[str, int]) -> pd.DataFrame:
    """`layer` (from 1), `projection`, `rank`, in the encoder's order."""
    rows = []
    for name, rank in ranks.items():
        parts = name.split(".")
        at = next(i for i, part in enumerate(parts) if part.isdigit())
        rows.append({"layer": int(parts[at]) + 1, "projection": parts[-1], "rank": rank})
    return pd.DataFrame(rows, columns=["layer", "projection", "rank"])


def rank_figure(table: pd.DataFrame, start: int) -> Figure:
    """Heat map of ranks: layers across, projections down.

    Args:
        table: see `rank_table`.
        start: initial rank of every projection.
    """
    grid = table.pivot(index="projection", columns="layer", values="rank")
    figure = Figure(figsize=(0.55 * grid.shape[1] + 3, 0.5 * grid.shape[0] + 1.6), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(grid.to_numpy(), cmap="viridis", vmin=0, vmax=start, aspect="auto")
    axes.set_xticks(range(grid.shape[1]), grid.columns)
    axes.set_yticks(range(grid.shape[0]), grid.index)
    for (row, column), rank in zip(
        ((r, c) for r in range(grid.shape[0]) for c in range(grid.shape[1])), grid.to_numpy().ravel(), strict=True
    ):
        colour = "white" if rank < 0.6 * start else "black"
        axes.text(column, row, f"{rank:.0f}", ha="center", va="center", color=colour)
    axes.set_xlabel("layer")
    axes.set_title(f"rank left of {start}")
    figure.colorbar(image, ax=axes)
    return figure


def _singular_values(model: PeftModel) -> dict[str, Tensor]:
    tuner: Any = model.base_model
    return {name: p for name, p in tuner.model.named_parameters() if name.endswith(SINGULAR_VALUES)}


def _pattern(model: PeftModel) -> dict[str, Tensor]:
    return {name: values.detach() != 0 for name, values in _singular_values(model).items()}


def _mask(model: PeftModel, pattern: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, values in _singular_values(model).items():
            values.masked_fill_(~pattern[name].to(values.device), 0.0)
