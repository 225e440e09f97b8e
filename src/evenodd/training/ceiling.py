"""Speed of a fit relative to the machine's fastest matrix product."""

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

    torch counts them for one row of three lengths, forward and backward; the count is exactly quadratic in the length,
    which gives all others. Only real tokens count, no padding. Gradients of frozen weights and a live teacher are not
    counted. A multiplication and an addition are two operations.

    Args:
        model: a sequence classifier; its weights do not change, its gradients are cleared.
        lengths: int, (rows,), tokens of each row.
    """
    counted = [_flops_of_row(model, length) for length in PROBED_LENGTHS]
    per_row = np.polynomial.Polynomial.fit(PROBED_LENGTHS, counted, 2)
    rows = np.bincount(lengths)
    return float((per_row(np.arange(len(rows))) * rows).sum())


def operations_per_token(model: PreTrainedModel, *, tokens: int = 32) -> float:
    """Floating-point operations per token of a forward pass's matrix products, for a text of the given length.

    They are counted, not timed: the result is the same on every machine and in every run, so it can compare variants.
    """
    return _flops_of_row(model, tokens, backward=False) / tokens


def ceiling_figures(
    model: PreTrainedModel, lengths: np.ndarray, *, rows_per_second: float, precision: Precision, processes: int = 1
) -> dict[str, float]:
    """Achieved speed of a fit, and the speed that the machine allows.

    Args:
        model: the fitted model.
        lengths: int, (rows,), tokens of the training rows.
        rows_per_second: speed of the fit, including validation and checkpoints.
        precision: precision of the fit.
        processes: on GPUs each has its own device; on a CPU they share the cores that the probe had for itself.

    Returns:
        `cost/train_gflops`: `training_flops` per second; `cost/product_gflops`: the fastest square product measured
        in the fit's precision; `cost/share_of_ceiling`: the first divided by the second; `cost/bf16`: 1 if the fit ran
        in bf16, otherwise 0.
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
