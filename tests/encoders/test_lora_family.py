"""AdaLoRA, LoRA on the student, and the hybrid: what is trained, where ranks go, and that merging loses nothing."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from peft import PeftModel
from release_models import BUILDERS, tiny_model
from training_rows import accuracy, context, fit_data, random_batch

from evenodd.encoders import init_student
from evenodd.encoders.adalora import (
    adapter_ranks,
    add_adalora,
    allocate_ranks,
    allocator_state,
    rank_figure,
    rank_table,
    restore_allocator,
    schedule_ranks,
)
from evenodd.encoders.encoder import encoder_layers, layers_path
from evenodd.encoders.lora import add_hybrid_lora, add_lora, check_merge, merge_lora
from evenodd.settings import DistillSettings, LoraSettings, TrainSettings
from evenodd.training import DistillObjective, LabelObjective, fit, predict_logits, teacher_targets
from evenodd.training.adalora import OrthogonalObjective, RankAllocation
from evenodd.training.trainer import AVERAGE_MAY_LOSE

RANK = LoraSettings(rank=4, alpha=8)
SETTINGS = TrainSettings(epochs=3, learning_rate=5e-3, token_budget=128, max_rows=16, precision="fp32", log_steps=2)
START = 6


def adalora_fit(folder: Path, settings: TrainSettings = SETTINGS) -> tuple[PeftModel, RankAllocation]:
    torch.manual_seed(0)
    model, allocation = add_adalora(tiny_model(depth=4), RANK), RankAllocation()
    objective = OrthogonalObjective(LabelObjective())
    fit(model, fit_data(), settings, objective, context(folder, callbacks=(allocation,)))
    return model, allocation


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> tuple[PeftModel, RankAllocation]:
    """AdaLoRA after a short fit."""
    return adalora_fit(tmp_path_factory.mktemp("adalora"))


def test_adalora_moves_ranks_to_an_average_of_what_was_asked(adapted):
    """Without a call after every step the ranks stay as they start, and AdaLoRA is LoRA under another name."""
    _, allocation = adapted
    last = allocation.history[max(allocation.history)]
    assert len(last) == 12
    assert set(adapter_ranks(add_adalora(tiny_model(depth=4), RANK)).values()) == {0}
    assert sum(last.values()) == RANK.rank * len(last)
    assert len(set(last.values())) > 1
    assert max(last.values()) <= START


def test_ranks_stop_moving_for_the_last_steps(adapted):
    """Ranks that move until the end leave no step to settle on them."""
    model = copy.deepcopy(adapted[0])
    schedule_ranks(model, 10)
    for step in range(10):
        batch = random_batch(seed=step)
        labels = batch.pop("labels")
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(**batch).logits, labels).backward()
        allocate_ranks(model, step)
        if step == 7:
            settled = adapter_ranks(model)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if "lora_E" in name:
                values.add_(1)
    allocate_ranks(model, 10)
    assert adapter_ranks(model) == settled


def test_an_adalora_checkpoint_brings_back_what_the_allocator_has_learnt(adapted):
    """After an interruption ranks would be dealt out by the last steps' gradients alone."""
    model = copy.deepcopy(adapted[0])
    schedule_ranks(model, 100)
    batch = random_batch()
    labels = batch.pop("labels")
    torch.nn.functional.cross_entropy(model(**batch).logits, labels).backward()
    allocate_ranks(model, 3)
    saved = allocator_state(model)
    fresh = add_adalora(tiny_model(depth=4), RANK)
    restore_allocator(fresh, saved)
    again = allocator_state(fresh)
    assert saved["ipt"]
    for name in ("ipt", "exp_avg_ipt", "exp_avg_unc"):
        assert all(torch.equal(saved[name][key], again[name][key]) for key in saved[name])


def test_an_interrupted_adalora_fit_ends_where_an_uninterrupted_one_does(tmp_path):
    """Checkpoints that leave the allocator out would give other ranks after an interruption."""

    class CutError(Exception):
        pass

    def cut(metrics: dict[str, float], step: int) -> None:
        if "validation/f1_macro" in metrics and (tmp_path / "cut").exists() and list((tmp_path / "cut").glob("check*")):
            raise CutError

    whole, _ = adalora_fit(tmp_path / "whole")
    torch.manual_seed(0)
    model = add_adalora(tiny_model(depth=4), RANK)
    objective = OrthogonalObjective(LabelObjective())
    with pytest.raises(CutError):
        fit(
            model, fit_data(), SETTINGS, objective, context(tmp_path / "cut", callbacks=(RankAllocation(),), report=cut)
        )
    resumed, _ = adalora_fit(tmp_path / "cut")
    assert adapter_ranks(resumed) == adapter_ranks(whole)
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))


def test_the_orthogonal_term_pulls_factors_together_and_leaves_the_others_alone(adapted):
    """A term of the wrong sign would spread the factors and still look like training."""
    model = add_adalora(tiny_model(depth=4), RANK)
    batch = random_batch()
    plain, _ = LabelObjective().terms(model.eval(), batch)
    terms, _ = OrthogonalObjective(LabelObjective(), weight=0.5).terms(model, batch)
    assert torch.equal(terms["label"], plain["label"])
    distances = []
    for name, factor in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            rows = factor.detach().numpy() if "lora_A" in name else factor.detach().numpy().T
            distances.append(np.sqrt(((rows @ rows.T - np.eye(START)) ** 2).sum()))
    assert terms["orthogonal"].shape == (5,)
    assert terms["orthogonal"][0].item() == pytest.approx(0.5 * np.mean(distances), rel=1e-5)


def test_the_rank_table_names_layers_from_one(adapted):
    """A heat map that counts from 0 would blame the wrong layer."""
    table = rank_table(adapter_ranks(adapted[0]))
    assert table["layer"].tolist() == [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    assert set(table["projection"]) == {"query", "key", "value"}
    assert isinstance(rank_figure(table, START), Figure)


@pytest.mark.parametrize("settings", [LoraSettings(dora=True), LoraSettings(rslora=True), LoraSettings(initial_rank=4)])
def test_what_adalora_has_not_is_refused(settings):
    """A setting that changes nothing would be recorded as if it had."""
    with pytest.raises(ValueError, match=r"lora\."):
        add_adalora(tiny_model(), settings)


def test_too_few_steps_for_ranks_to_move_are_refused():
    """AdaLoRA without a phase of moving ranks would end at the wide start."""
    with pytest.raises(ValueError, match="3 steps are too few"):
        schedule_ranks(add_adalora(tiny_model(), RANK), 3)


@pytest.mark.parametrize("family", BUILDERS)
@pytest.mark.parametrize("kind", ["lora", "adalora", "hybrid"])
def test_adapter_merged_and_reloaded_agree_in_every_family(family, kind):
    """What is registered would not be what was measured."""
    torch.manual_seed(1)
    base = tiny_model(family, depth=4)
    add = {
        "lora": lambda: add_lora(base, RANK),
        "adalora": lambda: add_adalora(base, RANK),
        "hybrid": lambda: add_hybrid_lora(base, RANK, (2, 3)),
    }
    model = add[kind]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    batch = random_batch(width=12)
    batch.pop("labels")
    figures = check_merge(model, merge_lora(model), batch)
    assert figures["check/reloaded_max_abs_diff"] == 0
    assert figures["check/merged_max_abs_diff"] < 1e-4
    assert figures["cost/adapter_mb"] > 0


def test_a_merged_model_that_says_something_else_is_refused():
    """It would be registered under the figures of another."""
    model = add_lora(tiny_model(), RANK)
    merged = merge_lora(model)
    with torch.no_grad():
        merged.classifier.bias.add_(0.1)
    batch = random_batch()
    batch.pop("labels")
    with pytest.raises(RuntimeError, match="merged adapter's logits differ"):
        check_merge(model, merged, batch)


@pytest.mark.parametrize("family", BUILDERS)
def test_the_hybrid_trains_sensitive_layers_by_adapters_and_the_others_in_full(family):
    """A sensitive layer trained in full, or a frozen other one, would be another variant under this name."""
    path = layers_path(tiny_model(family, depth=4))
    model = add_hybrid_lora(tiny_model(family, depth=4), RANK, (1, 4))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for number in (1, 2, 3, 4):
        inside = {name for name in trained if f"{path}.{number - 1}." in name}
        adapters = {name for name in inside if "lora_" in name}
        if number in (1, 4):
            assert adapters
            assert inside == adapters
        else:
            assert not adapters
            assert len(inside) == len(list(encoder_layers(tiny_model(family, depth=4))[number - 1].parameters()))


@pytest.mark.parametrize("sensitive", [(), (0, 1), (2, 2), (5,)])
def test_sensitive_layers_that_there_are_not_are_refused(sensitive):
    """A hybrid without a sensitive layer is a plain student."""
    with pytest.raises(ValueError, match="teacher_layers="):
        add_hybrid_lora(tiny_model(depth=4), RANK, sensitive)


@pytest.mark.parametrize("kind", ["lora", "hybrid"])
def test_adapters_on_a_student_learn_from_the_teacher(kind, tmp_path):
    """Targets of the wrong rows or layers, or weights that are not those that were scored, would show in no figure."""
    teacher, data = tiny_model(depth=4, seed=5), fit_data()
    student = init_student(teacher, (1, 3)).model
    model = add_lora(student, RANK) if kind == "lora" else add_hybrid_lora(student, RANK, (1,))
    targets = teacher_targets(teacher, data.train, tmp_path / "cache", "fp32")
    objective = DistillObjective(DistillSettings(label_weight=0), (1, 3), targets=targets)
    labels = predict_logits(teacher, data.validation).argmax(1)
    before = accuracy(predict_logits(model, data.validation), labels)["f1_macro"]
    wanted = type(data)(data.train, data.train_labels, data.validation, labels)
    settings = SETTINGS.model_copy(update={"epochs": 4})
    fitted = fit(model, wanted, settings, objective, context(tmp_path / "fit"))
    after = accuracy(predict_logits(model, data.validation), labels)["f1_macro"]
    best = max(row["value"] for row in fitted.history if row["metric"] == "validation/f1_macro")
    assert after == fitted.score
    assert after >= best - AVERAGE_MAY_LOSE if fitted.averaged else after == best
    assert after > before or before == 1
    merged = merge_lora(model)
    assert np.allclose(predict_logits(merged, data.validation), predict_logits(model, data.validation), atol=1e-4)
