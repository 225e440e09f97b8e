"""What a fit leaves behind on the model."""

from __future__ import annotations

import torch
from torch import nn

from evenodd.training.fit import _take_autocast_off
from evenodd.training.precision import autocast


def test_a_fitted_model_computes_in_float32_again() -> None:
    """Scores taken after a bfloat16 fit would be those of another precision than the registered weights give."""
    model = nn.Linear(64, 8)
    texts = torch.randn(16, 64)
    expected = model(texts)
    plain = model.forward

    def patched(rows: torch.Tensor) -> torch.Tensor:
        with autocast("bf16"):
            return plain(rows).float()

    model.forward = patched  # type: ignore[method-assign]
    assert not torch.equal(model(texts), expected)
    _take_autocast_off(model)
    assert torch.equal(model(texts), expected)
