"""What a fit leaves behind on the model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from evenodd.config import DistillSettings, TrainSettings
from evenodd.training.fit import _check_processes, _take_autocast_off
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


def test_several_processes_refuse_what_they_cannot_compute() -> None:
    """A student in another process would fail in its first step, with a traceback of somebody else's."""
    settings = TrainSettings(processes=2)
    compared = cast(Any, SimpleNamespace(settings=DistillSettings()))
    with pytest.raises(ValueError, match="processes=2"):
        _check_processes(settings, compared)
    logits_only = DistillSettings(hidden_weight=0)
    assert _check_processes(settings, cast(Any, SimpleNamespace(settings=logits_only))) is None
