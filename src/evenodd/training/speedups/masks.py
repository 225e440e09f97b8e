"""Prepares the attention mask in the kernel's format when a batch is collated.

transformers builds it in each forward pass, for every pair of tokens, and first checks whether the padding mask masks
anything at all. On a GPU the host waits for that check in every step, and on a CPU it costs as much as an operation on
all scores. The collator knows the answer without a check.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from evenodd.training.speedups.attention import FAMILIES

TAKEN = {"sdpa": torch.bool, "eager": torch.float32}
"""Attention implementations that use a four-dimensional mask as it is: bool to select, or float to add to scores."""


def mask_type(model: nn.Module) -> torch.dtype | None:
    """The dtype of prepared masks that a model accepts; None: the model builds its own."""
    config: Any = model.config
    return TAKEN.get(config._attn_implementation) if config.model_type in FAMILIES else None


def ready_mask(attention_mask: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Prepared mask, (batch, 1, 1, tokens), or None if all tokens are real.

    Args:
        attention_mask: int, (batch, tokens), 1 for real tokens.
        dtype: bool: true for real tokens; a float type: 0 for real tokens, its minimum for the others.
    """
    real = attention_mask.bool()
    if bool(real.all()):
        return None
    mask = real[:, None, None, :]
    return mask if dtype == torch.bool else (~mask).to(dtype) * torch.finfo(dtype).min
