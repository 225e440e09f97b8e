"""Masks made with the batch: the same results as transformers' own, and a GPU is asked nothing back."""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from release_models import BUILDERS, tiny_model
from training_rows import context, fit_data, still_model
from transformers import PreTrainedModel, TrainerCallback

from evenodd.encoders import add_lora
from evenodd.settings import DistillSettings, LoraSettings, TrainSettings
from evenodd.training import DistillObjective, LabelObjective, fit
from evenodd.training.objective import Batch, Objective, encoder_inputs
from evenodd.training.speedups.attention import FAMILIES
from evenodd.training.speedups.dropout import DropoutPool
from evenodd.training.speedups.first_token import first_token_in_last_layer
from evenodd.training.speedups.masks import mask_type, ready_mask

ROWS, TOKENS = 5, 11


def random_batch(lengths: list[int], layers: int = 2) -> Batch:
    mask = (torch.arange(TOKENS) < torch.tensor(lengths)[:, None]).long()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 60, mask.shape, generator=generator) * mask
    hidden = torch.randn(len(lengths), layers, 32, generator=generator)
    logits = torch.randn(len(lengths), 2, generator=generator)
    about = {"labels": torch.arange(len(lengths)) % 2, "teacher_logits": logits, "teacher_hidden": hidden}
    return {"input_ids": ids, "attention_mask": mask} | about


def fused(family: str = "bert", lora: bool = False, attention: str = "sdpa") -> Any:
    model = still_model(family)
    model.set_attn_implementation(attention)
    return add_lora(model, LoraSettings(rank=4, alpha=8, dropout=0.0)) if lora else model


def passed(model: Any, objective: Objective, batch: Batch) -> dict[str, torch.Tensor]:
    """Logits and gradients."""
    model.zero_grad(set_to_none=True)
    terms, logits = objective.terms(model.train(), batch)
    torch.stack(list(terms.values())).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return gradients | {"logits": logits.detach()}


@pytest.mark.parametrize("lengths", [[11, 4, 7, 11, 2], [11] * 5], ids=["padding", "no padding"])
@pytest.mark.parametrize("first_token", [False, True])
@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize(("attention", "dtype"), [("sdpa", torch.bool), ("eager", torch.float32)])
@pytest.mark.parametrize("family", sorted(set(FAMILIES) & set(BUILDERS)))
def test_a_ready_mask_hides_what_transformers_hides(
    family: str, attention: str, dtype: torch.dtype, lora: bool, first_token: bool, lengths: list[int]
) -> None:
    """A mask that lets padding through moves the logits of short rows alone: no speed and hardly a score shows it."""
    model, batch = fused(family, lora, attention), random_batch(lengths)
    assert mask_type(model) == dtype
    with first_token_in_last_layer(model) if first_token else nullcontext():
        expected = passed(model, LabelObjective(), batch)
        found = passed(model, LabelObjective(), batch | {"ready_mask": ready_mask(batch["attention_mask"], dtype)})
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_who_builds_masks_of_its_own_keeps_them() -> None:
    """Other families read the padding mask elsewhere too, and other kernels take other masks."""
    other = tiny_model("distilbert")
    other.set_attn_implementation("sdpa")
    assert mask_type(other) is None
    model = fused()
    model.config._attn_implementation = "flash_attention_2"
    assert mask_type(model) is None


def test_no_mask_where_nothing_is_padded() -> None:
    """torch's fastest kernel takes none."""
    assert ready_mask(torch.ones(2, 3, dtype=torch.long), torch.bool) is None
    assert encoder_inputs({"input_ids": 1, "attention_mask": 2, "ready_mask": None})["attention_mask"] is None


def objectives() -> list[Objective]:
    weight = torch.tensor([0.5, 1.5])
    return [LabelObjective(weight), DistillObjective(DistillSettings(), (1, 2), targets=Any, weight=weight)]  # type: ignore[arg-type]


@pytest.mark.parametrize("place", [0, 1], ids=["labels", "distillation"])
@pytest.mark.parametrize("lengths", [[11, 4, 7, 11, 2], [11] * 5], ids=["padding", "no padding"])
def test_a_step_asks_the_device_nothing(lengths: list[int], place: int) -> None:
    """Tensors of the meta device have no values: whoever waits for one, as for a GPU's, gets an error."""
    model, batch = tiny_model(), random_batch(lengths)
    model.set_attn_implementation("sdpa")
    mask = ready_mask(batch["attention_mask"], torch.bool)
    model.to("meta").train()
    away = {name: value.to("meta") for name, value in batch.items()}
    ready = away | {"ready_mask": None if mask is None else mask.to("meta")}
    with first_token_in_last_layer(model), DropoutPool().in_use():
        passed(model, objectives()[place], ready)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        with pytest.raises(RuntimeError, match="meta"):
            passed(model, objectives()[place], away)


class NoWaiting(TrainerCallback):
    """Makes every wait of the host for a GPU within a step an error, from the third step on."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        torch.cuda.set_sync_debug_mode("error" if state.global_step > 1 else "default")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_no_step_of_a_fit_waits_for_the_gpu(tmp_path: Path) -> None:
    """The meta device knows nothing of Trainer's own part of a step."""
    data = fit_data(96)
    settings = TrainSettings(epochs=2, token_budget=64, learning_rate=1e-3)
    model = tiny_model()
    model.set_attn_implementation("sdpa")
    found = fit(model, data, settings, LabelObjective(), context(tmp_path, callbacks=(NoWaiting(),)))
    assert found.figures["cost/train_seconds"] > 0


def test_a_fit_with_ready_masks_ends_where_one_without_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches carry their masks through the loader, the precision and the checkpoints."""
    data, settings = fit_data(48), TrainSettings(epochs=2, token_budget=64, learning_rate=1e-3, precision="fp32")
    seen: list[bool] = []

    class Spy(LabelObjective):
        def terms(self, model: Any, batch: Batch) -> Any:
            seen.append("ready_mask" in batch)
            return super().terms(model, batch)

    def weights(folder: str) -> tuple[PreTrainedModel, bool]:
        seen.clear()
        model = fused()
        fit(model, data, settings, Spy(), context(tmp_path / folder))
        return model, all(seen)

    ours, ready = weights("ready")
    module = importlib.import_module("evenodd.training.trainer")
    monkeypatch.setattr(module, "mask_type", lambda model: None)
    theirs, still_ready = weights("plain")
    assert ready
    assert not still_ready
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-5)
