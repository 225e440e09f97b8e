"""Casts that are made once: the same numbers, and weights that come back as they were."""

from __future__ import annotations

import torch
from training_rows import random_batch, still_model

from evenodd.config import LoraSettings
from evenodd.training.casting import cast_once
from evenodd.training.precision import autocast
from evenodd.variants import add_lora, state_digest


def gradients(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Of a bf16 step, with its loss."""
    model.zero_grad(set_to_none=True)
    with autocast("bf16"):
        loss = model(**batch).loss
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None} | {"loss": loss}


def test_a_step_gives_the_numbers_of_one_that_casts_each_time() -> None:
    """Faster and another loss would be another recipe."""
    model = add_lora(still_model("bert"), LoraSettings(rank=4, dropout=0.0)).train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    batch, before = random_batch(), state_digest(model.state_dict())
    expected = gradients(model, batch)
    with cast_once(model, "bf16"):
        frozen = {p.dtype for name, p in model.named_parameters() if name.endswith("base_layer.weight")}
        found = gradients(model, batch)
    assert frozen == {torch.bfloat16}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)
    assert state_digest(model.state_dict()) == before


def test_in_float32_nothing_is_cast() -> None:
    model = add_lora(still_model("bert"), LoraSettings(rank=4))
    with cast_once(model, "fp32"):
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
