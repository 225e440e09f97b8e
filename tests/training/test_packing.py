"""Packed batches: the same logits, gradients and fits as padded ones, and no trace afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from release_models import BUILDERS, tiny_model
from training_rows import context, fit_data, random_store, still_model

from evenodd.encoders import add_lora
from evenodd.encoders.lora import add_hybrid_lora
from evenodd.settings import DistillSettings, LoraSettings, TrainSettings
from evenodd.training import DistillObjective, LabelObjective, TeacherTargets, fit
from evenodd.training.objective import Batch, Objective
from evenodd.training.speedups.attention import FAMILIES
from evenodd.training.speedups.first_token import first_token_in_last_layer
from evenodd.training.speedups.masks import ready_mask
from evenodd.training.speedups.packing import pack, packed_attention

DEPTH, ROWS = 3, np.array([7, 2, 19, 4, 11])
STORE = random_store(24, longest=17)
LORA = LoraSettings(rank=4, alpha=8, dropout=0.0)


def fused(family: str = "bert", kind: str = "plain") -> Any:
    """In float64, so that what differs differs for a reason."""
    model = still_model(family, depth=DEPTH)
    model.set_attn_implementation("sdpa")
    if kind == "plain":
        return model.double()
    found = add_lora(model, LORA) if kind == "lora" else add_hybrid_lora(model, LORA, (DEPTH,))
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
    return found.double()


def batches(model: Any, rows: np.ndarray = ROWS) -> tuple[Batch, Batch]:
    """The same rows padded, as a fit's collator makes them, and packed."""
    padded: Batch = dict(STORE.collate(rows, pad_to_multiple=1))
    padded["ready_mask"] = ready_mask(padded["attention_mask"], torch.bool)
    labels = {"labels": torch.arange(len(rows)) % 2}
    return padded | labels, pack(STORE, rows, model) | labels


def objectives() -> dict[str, Objective]:
    random = np.random.default_rng(0)
    logits = random.normal(size=(len(STORE), 2)).astype(np.float32)
    hidden = random.normal(size=(len(STORE), DEPTH, 32)).astype(np.float16)
    targets = TeacherTargets(logits, hidden)
    last = DistillSettings(hidden_layers="last")
    return {
        "labels": LabelObjective(torch.tensor([0.5, 1.5])),
        "mapped layers": DistillObjective(DistillSettings(), (1, 2, 3), targets=targets),
        "last layer": DistillObjective(last, (1, 2, 3), targets=targets),
    }


def passed(model: Any, objective: Objective, batch: Batch, rows: np.ndarray = ROWS) -> dict[str, torch.Tensor]:
    """Terms of the loss, logits and gradients."""
    model.zero_grad(set_to_none=True)
    terms, logits = objective.terms(model.train(), batch | objective.fields(rows))
    torch.stack(list(terms.values())).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return gradients | {name: term.detach() for name, term in terms.items()} | {"logits": logits.detach()}


@pytest.mark.parametrize("name", ["labels", "mapped layers", "last layer"])
@pytest.mark.parametrize("kind", ["plain", "lora", "hybrid"])
@pytest.mark.parametrize("family", sorted(set(FAMILIES) & set(BUILDERS)))
def test_a_packed_batch_gives_what_a_padded_one_gives(family: str, kind: str, name: str) -> None:
    """Rows that see each other, or count their tokens on from the row before, move every logit a little."""
    model, objective = fused(family, kind), objectives()[name]
    padded, packed = batches(model)
    expected = passed(model, objective, padded)
    with first_token_in_last_layer(model), packed_attention(model):
        found = passed(model, objective, packed)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("rows", [ROWS[:1], np.array([5, 5])], ids=["one row", "rows of one length"])
def test_a_batch_of_one_row_or_of_one_length(rows: np.ndarray) -> None:
    """A single row's states look like those of first tokens."""
    model, objective = fused(), objectives()["mapped layers"]
    padded, packed = batches(model, rows)
    expected = passed(model, objective, padded, rows)
    with first_token_in_last_layer(model), packed_attention(model):
        found = passed(model, objective, packed, rows)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-7)


def test_padded_batches_run_as_before_and_nothing_stays() -> None:
    """Validation after each epoch of a packed fit is padded."""
    model = fused()
    padded, _ = batches(model)
    expected = passed(model, LabelObjective(), padded)
    with first_token_in_last_layer(model), packed_attention(model):
        within = passed(model, LabelObjective(), padded)
    after = passed(model, LabelObjective(), padded)
    for key, value in expected.items():
        torch.testing.assert_close(within[key], value, rtol=1e-5, atol=1e-7)
        assert torch.equal(after[key], value)
    assert all("forward" not in vars(module) for module in model.modules())


def test_packed_rows_are_the_stores_one_after_another() -> None:
    packed = pack(STORE, ROWS, fused())
    offsets = packed["packing"].offsets.tolist()
    lengths = STORE.lengths[ROWS].tolist()
    assert np.diff(offsets).tolist() == lengths
    assert (packed["packing"].shortest, packed["packing"].longest) == (min(lengths), max(lengths))
    for row, start, end in zip(ROWS, offsets[:-1], offsets[1:], strict=True):
        assert packed["input_ids"][0, start:end].tolist() == STORE.ids(int(row)).tolist()
        assert packed["position_ids"][0, start:end].tolist() == list(range(end - start))


def test_a_packed_fit_ends_where_a_padded_one_does(tmp_path: Path) -> None:
    """Batches carry their rows' places through the loader, the precision and the checkpoints."""
    data, settings = fit_data(48), TrainSettings(epochs=2, token_budget=128, learning_rate=1e-3, precision="fp32")
    padded, packed = fused(), fused()
    fit(padded, data, settings, LabelObjective(), context(tmp_path / "padded"))
    found = fit(
        packed, data, settings.model_copy(update={"packed": True}), LabelObjective(), context(tmp_path / "packed")
    )
    assert found.figures["cost/padding_share"] == 0
    for name, value in padded.state_dict().items():
        torch.testing.assert_close(packed.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_what_cannot_be_packed_is_refused_in_a_line(tmp_path: Path) -> None:
    """A kernel that gets no offsets would let rows see each other."""
    settings, data = TrainSettings(packed=True), fit_data(16)
    eager, other = still_model(), tiny_model("distilbert")
    other.set_attn_implementation("sdpa")
    for model, named in ((eager, "bert with eager attention"), (other, "distilbert")):
        with pytest.raises(ValueError, match=named):
            fit(model, data, settings, LabelObjective(), context(tmp_path))
    live = DistillObjective(DistillSettings(), (1, 2, 3), teacher=fused())
    with pytest.raises(ValueError, match="live teacher"):
        fit(fused(), data, settings, live, context(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpus_kernel_packs_as_the_cpus_does(tmp_path: Path) -> None:
    """Only a GPU runs the fused kernel, in bfloat16."""
    model, objective = fused(), objectives()["mapped layers"]
    padded, packed = batches(model)
    expected = passed(model, objective, padded)
    model.float().cuda()
    away = {name: value.to(torch.device("cuda")) for name, value in packed.items()}
    fields = {name: value.cuda() for name, value in objective.fields(ROWS).items()}
    with first_token_in_last_layer(model), packed_attention(model), torch.autocast("cuda", dtype=torch.bfloat16):
        _, logits = objective.terms(model, away | fields)
    torch.testing.assert_close(logits.float().cpu(), expected["logits"].float(), rtol=0.05, atol=0.05)
    settings = TrainSettings(epochs=1, token_budget=128, packed=True)
    assert np.isfinite(fit(fused().float(), fit_data(48), settings, LabelObjective(), context(tmp_path)).train_loss)
