"""Casts to bfloat16 that a step need not repeat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from peft.helpers import disable_input_dtype_casting
from torch import nn

from evenodd.training.precision import Precision


@contextmanager
def cast_once(model: nn.Module, precision: Precision) -> Iterator[None]:
    """Within it, a bf16 step finds frozen projections in bfloat16 and adapters take their input as it comes.

    Autocast keeps a cast weight for the length of a step only where the weight is trained, and PEFT casts the input of
    every adapter to float32 for autocast to cast it back. Both casts give the numbers that are used here at once, so
    the results are those of a step without this. In fp32 nothing is changed.

    Args:
        model: its frozen weights come back in float32, bit for bit.
    """
    if precision != "bf16":
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(disable_input_dtype_casting(model))
        stack.enter_context(_frozen_in(model, torch.bfloat16))
        yield


@contextmanager
def _frozen_in(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    frozen = [
        parameter
        for module in model.modules()
        if isinstance(module, nn.Linear)
        for parameter in module.parameters(recurse=False)
        if not parameter.requires_grad and parameter.dtype == torch.float32
    ]
    kept = [parameter.data for parameter in frozen]
    for parameter in frozen:
        parameter.data = parameter.data.to(dtype)
    try:
        yield
    finally:
        for parameter, data in zip(frozen, kept, strict=True):
            parameter.data = data
