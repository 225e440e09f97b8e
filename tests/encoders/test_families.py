"""Every encoder family goes all the way: halved or adapted, distilled, exported and served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from release_models import BUILDERS, TEXTS, tiny_model, tiny_tokenizer
from scipy.special import softmax
from training_rows import random_batch, still_model

from evenodd.classifier.bundle import read_bundle
from evenodd.classifier.engine import EngineOptions, open_engine
from evenodd.encoders import add_lora, even_layers, init_student, merge_lora, odd_layers
from evenodd.release import BundleContents, export_graphs, write_bundle
from evenodd.release.parity import torch_logits
from evenodd.settings import DistillSettings, ExportSettings, LoraSettings
from evenodd.task import Decision, Task
from evenodd.training import DistillObjective

DEPTH, MAX_LENGTH, TEMPERATURE = 4, 32, 1.5
VARIANTS = ("odd", "even", "lora")
SERVED = [text for text in TEXTS if text and len(text) < 60]
ALL_TERMS = DistillSettings(hidden_weight=1.0, hidden_tokens="all", attention_weight=1.0)


def made(family: str, variant: str) -> Any:
    """A variant of a tiny model of the family; LoRA's adapters hold random products and are merged."""
    model = tiny_model(family, depth=DEPTH)
    if variant != "lora":
        return init_student(model, {"odd": odd_layers, "even": even_layers}[variant](DEPTH)).model.eval()
    adapted = add_lora(model, LoraSettings(rank=4, alpha=8))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    return merge_lora(adapted).eval()


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("family", BUILDERS)
def test_every_family_is_served_as_it_was_fitted(family: str, variant: str, tmp_path: Path) -> None:
    """A family that trains and cannot be exported, or is served with other inputs, is known too late."""
    model = made(family, variant)
    graphs = export_graphs(
        model,
        tiny_tokenizer(),
        tmp_path / "graphs",
        ExportSettings(kinds=("fp32",)),
        TEXTS,
        validation_texts=TEXTS,
        max_length=MAX_LENGTH,
    )
    task = Task.single_label(("noHate", "hate"), "hate")
    decision = Decision(TEMPERATURE, 0.5, (0.5, 0.5), "f1_macro", 1, task.labels)
    contents = BundleContents("hate-speech", variant, task, decision)
    folder = write_bundle(tmp_path / "bundle", graphs, contents, TEXTS)
    engine = open_engine(read_bundle(folder), EngineOptions())
    expected = softmax(torch_logits(model, graphs.encoder, SERVED).astype(np.float64) / TEMPERATURE, axis=1)
    assert expected[:, 1].std() > 0.01
    np.testing.assert_allclose(engine.score(SERVED), expected, atol=1e-4)


@pytest.mark.parametrize("family", BUILDERS)
def test_every_family_hands_out_the_states_and_maps_that_distillation_compares(family: str) -> None:
    """States or maps of the wrong layer distil towards something else: those of a whole copy are the teacher's own."""
    teacher, batch = still_model(family, depth=DEPTH), random_batch()
    terms = {}
    for layers in ((1, 2, 3, 4), (1, 3)):
        student = init_student(teacher, layers).model.eval()
        terms[layers], _ = DistillObjective(ALL_TERMS, layers, teacher=teacher).terms(student, batch)
    for name in ("soft", "hidden", "attention"):
        assert float(terms[1, 2, 3, 4][name].detach().abs().max()) < 1e-5, name
        assert float(terms[1, 3][name].detach().min()) > 1e-5, name
    assert float(terms[1, 3]["label"].detach().min()) > 0
