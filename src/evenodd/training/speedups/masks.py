"""The attention mask as the kernel takes it, made with the batch.

transformers makes it in each forward pass, for every pair of tokens, and first asks the padding mask whether anything
is masked at all: on a GPU the host waits for the answer in every step, and on a CPU it costs as much as an operation on
all scores. Whoever collates a batch knows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from evenodd.training.speedups.attention import FAMILIES

TAKEN = {"sdpa": torch.bool, "eager": torch.float32}
"""What `config._attn_implementation` hands a mask of four dimensions to as it is: a choice, or a summand of scores."""


def mask_type(model: nn.Module) -> torch.dtype | None:
    """The type of the masks that a model takes ready; None: it makes its own."""
    config: Any = model.config
    return TAKEN.get(config._attn_implementation) if config.model_type in FAMILIES else None


def ready_mask(attention_mask: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Of (batch, tokens), 1 for real tokens: (batch, 1, 1, tokens), or None where all are real.

    Args:
        attention_mask: int, (batch, tokens).
        dtype: bool: true for real tokens; a float: 0 for them, its least number for the others.
    """
    real = attention_mask.bool()
    if bool(real.all()):
        return None
    mask = real[:, None, None, :]
    return mask if dtype == torch.bool else (~mask).to(dtype) * torch.finfo(dtype).min
