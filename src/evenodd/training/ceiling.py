"""How close a fit comes to what the machine's matrix products allow."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from evenodd.training.precision import Precision, product_rates

PROBED_LENGTHS = (8, 16, 32)


def training_flops(model: PreTrainedModel, lengths: np.ndarray) -> float:
    """Floating-point operations of the matrix products of one training pass over rows of these lengths.

    Counted by torch on one row of three lengths, forward and backward, and exactly quadratic in the length in between
    and beyond: real tokens alone, no padding. Gradients that nothing asks for (of frozen weights) are not counted, nor
    is a live teacher; a multiplication and an addition are two operations.

    Args:
        model: a sequence classifier; its weights stay, its gradients are cleared.
        lengths: int, (rows,), tokens of each row.
    """
    counted = [_flops_of_row(model, length) for length in PROBED_LENGTHS]
    per_row = np.polynomial.Polynomial.fit(PROBED_LENGTHS, counted, 2)
    rows = np.bincount(lengths)
    return float((per_row(np.arange(len(rows))) * rows).sum())


def operations_per_token(model: PreTrainedModel, *, tokens: int = 32) -> float:
    """Floating-point operations of a forward pass's matrix products, by token of one text of so many tokens.

    Counted, not timed: the same on every machine and in every run, so that variants can be compared by it.
    """
    return _flops_of_row(model, tokens, backward=False) / tokens


def ceiling_figures(
    model: PreTrainedModel, lengths: np.ndarray, *, rows_per_second: float, precision: Precision, processes: int = 1
) -> dict[str, float]:
    """What a fit reached and what it could have.

    Args:
        model: the fitted model.
        lengths: int, (rows,), tokens of the training rows.
        rows_per_second: of the fit, its validation and checkpoints in the time.
        precision: of the fit.
        processes: each has a device of its own on GPUs; on a CPU they share the cores that the probe had for itself.

    Returns:
        `cost/train_gflops`: see `training_flops`, by second; `cost/product_gflops`: the fastest square product measured
        in the fit's precision; `cost/share_of_ceiling`: the first over the second; `cost/bf16`: 1 where the fit ran in
        bf16, else 0.
    """
    device = next(model.parameters()).device.type
    reached = training_flops(model, lengths) / len(lengths) * rows_per_second / 1e9
    ceiling = product_rates(device)[precision] * (processes if device == "cuda" else 1)
    return {
        "cost/train_gflops": reached,
        "cost/product_gflops": ceiling,
        "cost/share_of_ceiling": reached / ceiling,
        "cost/bf16": float(precision == "bf16"),
    }


def _flops_of_row(model: Any, length: int, *, backward: bool = True) -> int:
    training, device = model.training, next(model.parameters()).device
    inputs = {
        "input_ids": torch.full((1, length), 2, device=device),
        "attention_mask": torch.ones((1, length), dtype=torch.long, device=device),
    }
    model.eval()
    with torch.set_grad_enabled(backward), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        total = model(**inputs).logits.sum()
        if backward:
            total.backward()
    model.train(training)
    model.zero_grad(set_to_none=True)
    return counter.get_total_flops()
