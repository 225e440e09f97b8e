"""LoRA: which modules are trained, and that merging changes nothing but the form."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from peft import PeftModel
from release_models import BUILDERS, tiny_model
from torch import nn
from training_rows import random_batch
from transformers import AutoModelForSequenceClassification

from evenodd.encoders import add_lora, lora_targets, merge_lora, parameter_counts, state_digest
from evenodd.settings import LoraSettings

HIDDEN, RANK = 32, 4
HEADS = {
    "bert": {"classifier"},
    "roberta": {"classifier"},
    "distilbert": {"pre_classifier", "classifier"},
    "electra": {"classifier"},
    "mpnet": {"classifier"},
    "modernbert": {"head", "classifier"},
    "deberta-v3": {"pooler", "classifier"},
}


@pytest.mark.parametrize("family", BUILDERS)
def test_query_key_and_value_of_every_layer_get_adapters(family: str) -> None:
    """A target that matches nothing, or the output projection too, would be another variant under the same name."""
    model = _adapted(family)
    adapters = [m for name, m in model.named_modules() if name.endswith("lora_A.default")]
    projections = 1 if family == "modernbert" else 3
    assert len(adapters) == 3 * projections
    assert all(adapter.weight.shape == (RANK, HIDDEN) for adapter in adapters)


@pytest.mark.parametrize("family", BUILDERS)
def test_adapters_and_all_above_the_encoder_are_trained(family: str) -> None:
    """A pooler that is new in the classifier and stays frozen is noise between the encoder and the labels."""
    model = _adapted(family)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    heads = {name.split(".")[2] for name in trained if "lora_" not in name}
    assert heads == HEADS[family]
    total, trainable = parameter_counts(model)
    outputs = 3 * HIDDEN
    adapters = 3 * RANK * ((HIDDEN + outputs) if family == "modernbert" else 3 * (HIDDEN + HIDDEN))
    head = sum(p.numel() for name in HEADS[family] for p in tiny_model(family).get_submodule(name).parameters())
    assert trainable == adapters + head
    assert trainable < total / 3


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("family", BUILDERS)
def test_adapter_merged_and_reloaded_agree(family: str, dora: bool, rslora: bool, tmp_path: Path) -> None:
    """The merged model is what is registered and served: its scores must be those that were measured."""
    model = _trained(_adapted(family, dora=dora, rslora=rslora))
    before = state_digest(model.state_dict())
    batch = {key: value for key, value in random_batch(width=12).items() if key != "labels"}
    merged = merge_lora(model).eval()
    merged.save_pretrained(tmp_path)
    reloaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        adapter, plain, again = (m(**batch).logits for m in (model, merged, reloaded))
        bare = tiny_model(family)(**batch).logits
    assert float((adapter - plain).abs().max()) < 1e-5 * max(1.0, float(adapter.abs().max()))
    assert torch.equal(plain, again)
    assert float((adapter - bare).abs().max()) > 1e-3
    assert state_digest(model.state_dict()) == before
    assert not [name for name, _ in merged.named_parameters() if "lora" in name]
    assert parameter_counts(merged)[0] == parameter_counts(tiny_model(family))[0]


def test_new_adapters_change_nothing() -> None:
    """Training starts from the pretrained encoder, not from a disturbed one."""
    batch = {key: value for key, value in random_batch().items() if key != "labels"}
    with torch.inference_mode():
        assert torch.equal(_adapted("bert").eval()(**batch).logits, tiny_model("bert")(**batch).logits)


def test_an_unknown_family_says_how_to_name_its_projections() -> None:
    """Guessed targets would train other modules than the run records."""
    config = transformers.FunnelConfig(
        vocab_size=60, d_model=32, n_head=2, d_head=16, d_inner=32, block_sizes=[1, 1], num_decoder_layers=1
    )
    model = transformers.FunnelForSequenceClassification(config)
    with pytest.raises(ValueError, match=r"lora\.targets") as caught:
        add_lora(model, LoraSettings())
    assert "q_head" in str(caught.value)
    assert lora_targets(model, LoraSettings(targets=("q_head",))) == ("q_head",)


def test_a_target_that_is_not_there_is_named_with_those_that_are() -> None:
    """A misspelt target beside a right one would be left out in silence."""
    with pytest.raises(ValueError, match=r"lora\.targets=keyy: not in 'bert'.*query"):
        add_lora(tiny_model(), LoraSettings(targets=("query", "keyy")))


def test_targets_that_are_named_win() -> None:
    """`-P lora.targets=` must reach the model."""
    model = add_lora(tiny_model(), LoraSettings(targets=("query", "intermediate.dense"), rank=2))
    found = {name.rpartition(".lora_A")[0].rpartition("layer.")[2][2:] for name, _ in model.named_modules()}
    assert found - {""} == {"attention.self.query", "intermediate.dense"}


def test_rank_and_alpha_scale_the_adapters() -> None:
    """Alpha over rank, or over its root with rsLoRA: a silent change of either changes the step size."""
    for rslora, scaling in ((False, 16 / 4), (True, 16 / 4**0.5)):
        model = add_lora(tiny_model(), LoraSettings(rank=4, alpha=16, rslora=rslora))
        layers = [module for module in model.modules() if isinstance(getattr(module, "scaling", None), dict)]
        assert {layer.scaling["default"] for layer in layers if "default" in layer.scaling} == {scaling}


def test_a_model_of_another_class_is_named_by_its_family() -> None:
    """The message has to show the config's value instead of failing on a missing entry."""
    stranger = SimpleNamespace(config=SimpleNamespace(model_type="stranger"), named_modules=lambda: [("a", nn.ReLU())])
    with pytest.raises(ValueError, match="'stranger' are not known"):
        lora_targets(stranger, LoraSettings())  # type: ignore[arg-type]


def _adapted(family: str, **settings: bool) -> PeftModel:
    return add_lora(tiny_model(family), LoraSettings(rank=RANK, dropout=0.0, **settings))


def _trained(model: PeftModel) -> PeftModel:
    """Adapters and head moved away from where they start."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "magnitude" not in name:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()
