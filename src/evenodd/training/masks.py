"""The attention mask as the kernel takes it, made with the batch.

transformers makes it in each forward pass and first asks the padding mask whether anything is masked at all: on a GPU
the host waits for the answer in every step. Whoever collates a batch knows.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from evenodd.training.first_token import FAMILIES


def takes_ready_mask(model: nn.Module) -> bool:
    """Whether the model hands a mask of four dimensions to torch's attention as it is."""
    config: Any = model.config
    return config.model_type in FAMILIES and config._attn_implementation == "sdpa"


def ready_mask(attention_mask: Tensor) -> Tensor | None:
    """Of (batch, tokens), 1 for real tokens: bool, (batch, 1, 1, tokens); None where all are real."""
    real = attention_mask.bool()
    return None if bool(real.all()) else real[:, None, None, :]
