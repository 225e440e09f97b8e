"""Forward passes over a whole split: sorted by length, in large batches, without gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from evenodd.rows import TokenStore
from evenodd.training.batches import TokenBudgetSampler
from evenodd.training.precision import Precision, autocast
from evenodd.training.speedups.first_token import first_token_in_last_layer

TOKEN_BUDGETS = {"cpu": 1024, "cuda": 16384}
"""Tokens per batch: few enough for a core's cache on a CPU, enough to keep a GPU busy."""


def predict_logits(
    model: nn.Module,
    store: TokenStore,
    *,
    precision: Precision = "fp32",
    token_budget: int | None = None,
    share: tuple[int, int] = (0, 1),
) -> np.ndarray:
    """Logits of every row, in the store's order: float32, (rows, labels). The model's mode is restored.

    Args:
        model: a sequence classifier.
        store: token ids.
        precision: precision of the forward pass.
        token_budget: tokens per batch; None: the fastest value for the model's device.
        share: index of this process and number of processes that share the batches; rows of the others are 0.
    """
    logits = np.zeros((len(store), _labels(model)), dtype=np.float32)
    device = _device(model).type
    batches = sorted_batches(store, token_budget or TOKEN_BUDGETS[device])
    with evaluating(model), first_token_in_last_layer(model), autocast(precision, device):
        for rows, batch in islice(batches, share[0], None, share[1]):
            logits[rows] = model(**to_device(batch, model)).logits.float().cpu().numpy()
    return logits


def sorted_batches(store: TokenStore, token_budget: int) -> Iterator[tuple[np.ndarray, dict[str, torch.Tensor]]]:
    """Row positions and their collated tensors, shortest rows first."""
    for rows in sorted_rows(store, token_budget):
        positions = np.asarray(rows)
        yield positions, store.collate(positions, pad_to_multiple=1)


def sorted_rows(store: TokenStore, token_budget: int) -> TokenBudgetSampler:
    """Row positions of each batch, shortest rows first."""
    return TokenBudgetSampler(store.lengths, token_budget=token_budget, max_rows=512, shuffle=False)


def to_device(batch: dict[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """Moves the tensors to the model's device."""
    device = _device(model)
    return {key: value.to(device) for key, value in batch.items()}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; restores the previous mode."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def _labels(model: Any) -> int:
    return int(model.config.num_labels)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
