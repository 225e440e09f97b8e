"""The last layer on the first token alone: the same logits, gradients and states, and no trace afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from release_models import BUILDERS
from training_rows import random_batch, still_model

from evenodd.encoders import add_lora
from evenodd.encoders.encoder import best_attention
from evenodd.encoders.lora import add_hybrid_lora
from evenodd.settings import DistillSettings, LoraSettings
from evenodd.training import DistillObjective, LabelObjective, training_flops
from evenodd.training.speedups.attention import FAMILIES
from evenodd.training.speedups.first_token import first_token_in_last_layer

DEPTH = 4
SETTINGS = LoraSettings(rank=4, alpha=8, dropout=0.0)


def adapted(kind: str, family: str) -> Any:
    model = still_model(family, depth=DEPTH)
    if kind == "plain":
        return model.train()
    found = add_lora(model, SETTINGS) if kind == "lora" else add_hybrid_lora(model, SETTINGS, (int(kind[-1]),))
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    return found.train()


def passed(model: Any, batch: dict[str, torch.Tensor]) -> tuple[Any, dict[str, torch.Tensor]]:
    """The output and every gradient of a training pass."""
    model.zero_grad(set_to_none=True)
    output = model(**batch, output_hidden_states=True)
    output.loss.backward()
    return output, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["plain", "lora", "hybrid 4", "hybrid 1"])
@pytest.mark.parametrize("family", sorted(set(FAMILIES) & set(BUILDERS)))
def test_logits_gradients_and_states_stay_what_they_are(family: str, kind: str, attention: str) -> None:
    """No speed figure would reveal a layer that saves work but learns something else."""
    model, batch = adapted(kind, family), random_batch()
    model.set_attn_implementation(attention)
    whole, expected = passed(model, batch)
    with first_token_in_last_layer(model) as restricted:
        assert restricted
        first, gradients = passed(model, batch)
    assert first.hidden_states[-1].shape[1] == 1 < whole.hidden_states[-1].shape[1]
    torch.testing.assert_close(first.logits, whole.logits, rtol=1e-5, atol=1e-5)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(first.hidden_states[1:], whole.hidden_states[1:], strict=True):
        torch.testing.assert_close(ours[:, 0], theirs[:, 0], rtol=1e-5, atol=1e-5)
    assert torch.equal(passed(model, batch)[0].logits, whole.logits), "something of it stayed behind"


def test_attention_is_fused_on_a_gpu_unless_its_maps_are_compared() -> None:
    """Fused attention gives no maps, and on a CPU its backward pass takes five times as long."""
    assert best_attention("cuda") == "sdpa"
    assert best_attention("cuda", maps=True) == best_attention("cpu") == "eager"


@pytest.mark.parametrize("family", sorted(set(BUILDERS) - set(FAMILIES)))
def test_other_families_run_as_they_are(family: str) -> None:
    model, batch = still_model(family, depth=DEPTH), random_batch()
    whole = model(**batch).logits
    with first_token_in_last_layer(model) as restricted:
        assert not restricted
        assert torch.equal(model(**batch).logits, whole)


def test_within_itself_it_changes_nothing_more() -> None:
    """Scoring within a fit asks for it again, and must not take it off the fit."""
    model, batch = still_model("bert", depth=DEPTH), random_batch()
    with first_token_in_last_layer(model):
        with first_token_in_last_layer(model) as again:
            assert not again
        assert model(**batch, output_hidden_states=True).hidden_states[-1].shape[1] == 1


def test_it_saves_most_of_a_layers_products() -> None:
    model = still_model("bert", depth=DEPTH)
    whole = training_flops(model, [24])
    with first_token_in_last_layer(model):
        assert training_flops(model, [24]) < whole * (1 - 0.7 / DEPTH)


@pytest.mark.parametrize(
    ("settings", "reads"),
    [
        (DistillSettings(), False),
        (DistillSettings(hidden_weight=1.0, hidden_tokens="all"), True),
        (DistillSettings(attention_weight=1.0), True),
    ],
)
def test_terms_that_compare_other_tokens_say_so(settings: DistillSettings, reads: bool) -> None:
    """Restricted, they would compare one token's state with all of the teacher's."""
    teacher = still_model("bert", depth=DEPTH)
    assert DistillObjective(settings, (1, 3), teacher=teacher).reads_all_tokens is reads
    assert LabelObjective().reads_all_tokens is False
