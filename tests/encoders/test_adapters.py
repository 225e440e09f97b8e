"""LoRA layers of a fit give what PEFT's give, and are PEFT's again afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from training_rows import random_batch, still_model

from evenodd.encoders import add_lora
from evenodd.settings import LoraSettings
from evenodd.training import LabelObjective
from evenodd.training.objective import Batch
from evenodd.training.speedups.adapters import lean_adapters

SETTINGS = LoraSettings(rank=4, alpha=12, dropout=0.0)


def adapted(settings: LoraSettings, family: str = "bert") -> Any:
    """In float64, so that what differs differs for a reason; B is not 0, as it is at the start of a fit."""
    model = add_lora(still_model(family), settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
    return model.double().train()


def passed(model: Any, batch: Batch) -> dict[str, torch.Tensor]:
    model.zero_grad(set_to_none=True)
    terms, logits = LabelObjective().terms(model, batch)
    terms["label"].sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return gradients | {"logits": logits.detach()}


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("family", ["bert", "distilbert", "electra", "roberta"])
def test_lean_layers_give_what_pefts_give(family: str, rslora: bool) -> None:
    """A lost or doubled scale trains adapters that PEFT then merges otherwise than they were trained."""
    model, batch = adapted(SETTINGS.model_copy(update={"rslora": rslora}), family), random_batch()
    expected = passed(model, batch)
    with lean_adapters(model) as layers:
        assert layers
        found = passed(model, batch)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-7)
    after = passed(model, batch)
    assert all(torch.equal(after[name], value) for name, value in expected.items())
    assert all("forward" not in vars(module) for module in model.modules())


def test_lean_layers_work_in_bfloat16() -> None:
    """A product in place takes no other type than its result's, and a CPU's fit would end there."""
    model, batch = adapted(SETTINGS).float(), random_batch()
    expected = passed(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        theirs = passed(model, batch)
        with lean_adapters(model):
            ours = passed(model, batch)
    assert ours.keys() == expected.keys()
    ours_off, theirs_off = ((found["logits"].float() - expected["logits"]).abs().mean() for found in (ours, theirs))
    assert 0 < ours_off < 2 * theirs_off


def test_dropout_is_that_of_the_adapters() -> None:
    """Adapters without their dropout are another recipe."""
    model, batch = adapted(SETTINGS.model_copy(update={"dropout": 0.5})), random_batch()
    expected, found = [], []
    for draws, lean in ((expected, False), (found, True)):
        for seed in range(3):
            torch.manual_seed(seed)
            if lean:
                with lean_adapters(model):
                    draws.append(passed(model, batch)["logits"])
            else:
                draws.append(passed(model, batch)["logits"])
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), rtol=1e-5, atol=1e-7)
    assert not torch.equal(expected[0], expected[1])


def test_variants_and_switched_off_adapters_are_left_alone() -> None:
    """DoRA's layers have a norm of their own; a merged layer holds its adapter already."""
    with lean_adapters(adapted(SETTINGS.model_copy(update={"dora": True}))) as layers:
        assert layers == 0
    with lean_adapters(still_model()) as layers:
        assert layers == 0
    model = adapted(SETTINGS)
    with model.disable_adapter(), lean_adapters(model) as layers:
        assert layers == 0
    model.merge_adapter()
    with lean_adapters(model) as layers:
        assert layers == 0
