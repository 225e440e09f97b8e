"""Several processes: the same steps as one, from copies of their own, told once."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from release_models import BUILDERS, tiny_model
from torch import nn
from training_rows import context, fit_data, random_batch, still_model

from evenodd.encoders import init_student, state_digest
from evenodd.encoders.adalora import adapter_ranks, add_adalora
from evenodd.settings import DistillSettings, LoraSettings, TrainSettings
from evenodd.training import (
    DistillObjective,
    Fit,
    FitData,
    LabelObjective,
    fit,
    predict_logits,
    processes,
    teacher_targets,
)
from evenodd.training.adalora import OrthogonalObjective, RankAllocation
from evenodd.training.processes import JOB, RESULT, check_gpus
from evenodd.training.transfer import load_copy, save_copy

SETTINGS = TrainSettings(epochs=2, learning_rate=1e-3, token_budget=128, max_rows=16, precision="fp32", log_steps=1)
TWO = SETTINGS.model_copy(update={"processes": 2})
LAYERS = (1, 3)


@pytest.fixture(scope="module")
def data() -> FitData:
    return fit_data(61)


@pytest.mark.parametrize("family", BUILDERS)
def test_a_copy_says_what_the_model_says_and_shares_nothing(family: str, tmp_path: Path) -> None:
    """Memory that two processes share is stepped by the optimizer of each of them."""
    model, batch = tiny_model(family), random_batch()
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
    expected = model(**inputs, output_hidden_states=True)
    save_copy({"model": model}, tmp_path / "copy")
    found = load_copy(tmp_path / "copy")["model"]
    got = found(**inputs, output_hidden_states=True)
    torch.testing.assert_close(got.logits, expected.logits)
    assert len(got.hidden_states) == len(expected.hidden_states) == 4
    for one, other in zip(got.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(one, other)
    before = state_digest(model.state_dict())
    with torch.no_grad():
        next(found.parameters()).add_(1)
    assert state_digest(model.state_dict()) == before
    assert not any(parameter.is_shared() for parameter in (*model.parameters(), *found.parameters()))
    assert found.training == model.training


def test_a_copy_keeps_what_is_frozen_and_tied(tmp_path: Path) -> None:
    """A frozen table that is trained again, or a tied one that comes apart, is another model."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    model[0].bias.requires_grad_(False)
    model[0].register_forward_hook(_count)
    save_copy(model, tmp_path / "copy")
    found = load_copy(tmp_path / "copy")
    assert found[1].weight is found[0].weight
    assert [parameter.requires_grad for parameter in found.parameters()] == [True, False, True]
    assert len(found[0]._forward_hooks) == 1
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
def test_two_processes_step_as_one_does(data: FitData, tmp_path: Path) -> None:
    """Rows left out, counted twice, or steps taken twice still end in a model, and in other figures."""
    alone, one, _ = _fit(still_model(), data, SETTINGS, LabelObjective(), tmp_path / "one")
    together, two, told = _fit(still_model(), data, TWO, LabelObjective(), tmp_path / "two")
    _same_steps(one, two)
    _same_scores(alone, together, data)
    assert two.best_epoch == one.best_epoch
    assert two.figures["cost/padding_share"] == pytest.approx(one.figures["cost/padding_share"])
    by_step = [step for step, metrics in told if "train/loss" in metrics]
    assert by_step == sorted(set(by_step))
    assert sum("validation/f1_macro" in metrics for _, metrics in told) == SETTINGS.epochs
    assert not (tmp_path / "two" / JOB).exists()
    assert not (tmp_path / "two" / RESULT).exists()


@pytest.mark.slow
@pytest.mark.parametrize("live", [False, True])
def test_two_processes_distil_hidden_states_as_one_does(live: bool, data: FitData, tmp_path: Path) -> None:
    """The student's states come from another process's model there, and the teacher's too when it runs live."""
    teacher = still_model(depth=4)
    settings = DistillSettings(hidden_weight=2.0, hidden_tokens="all" if live else "first")
    student = init_student(teacher, LAYERS).model
    targets = None if live else teacher_targets(teacher, data.train, tmp_path / "cache", "fp32")
    objective = DistillObjective(settings, LAYERS, targets=targets, teacher=teacher)
    teacher(**{k: v for k, v in random_batch().items() if k != "labels"}, output_hidden_states=True)
    alone, one, _ = _fit(copy.deepcopy(student), data, SETTINGS, objective, tmp_path / "one")
    together, two, _ = _fit(student, data, TWO, objective, tmp_path / "two")
    _same_steps(one, two)
    _same_scores(alone, together, data)


@pytest.mark.slow
def test_two_processes_move_ranks_as_one_does(data: FitData, tmp_path: Path) -> None:
    """Ranks decided apart would leave each process with another model; the history is what the run shows."""
    found = []
    for settings in (SETTINGS, TWO):
        torch.manual_seed(0)
        model, allocation = add_adalora(still_model(), LoraSettings(rank=2, dropout=0)), RankAllocation()
        about = context(tmp_path / str(settings.processes), callbacks=(allocation,))
        fit(model, data, settings, OrthogonalObjective(LabelObjective()), about)
        found.append((adapter_ranks(model), allocation.history))
    (one, one_history), (two, two_history) = found
    assert two == one
    assert two_history.keys() == one_history.keys()
    assert len(two_history) == SETTINGS.epochs


@pytest.mark.slow
def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL says of two processes on one GPU nothing that a user could act upon."""
    check_gpus(64)
    monkeypatch.setattr(processes, "best_device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_gpus(2)
    with pytest.raises(ValueError, match=r"processes=3: this machine has 2 GPU\(s\)"):
        check_gpus(3)


def test_a_process_that_fails_is_one_line(data: FitData, tmp_path: Path) -> None:
    """A hang, or the other process's traceback, tells nobody what to change."""
    with pytest.raises(RuntimeError, match=r"processes=2: a process failed: .*diverged") as caught:
        fit(tiny_model(), data, TWO, _Broken(), context(tmp_path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / JOB).exists()


class _Broken(LabelObjective):
    """A loss that is no number."""

    def terms(self, model: Any, batch: Any) -> Any:
        terms, logits = super().terms(model, batch)
        return {"label": terms["label"] * float("nan")}, logits


def _fit(
    model: Any, data: FitData, settings: TrainSettings, objective: Any, folder: Path
) -> tuple[Any, Fit, list[tuple[int, dict[str, float]]]]:
    told: list[tuple[int, dict[str, float]]] = []
    report = lambda metrics, step: told.append((step, metrics))  # noqa: E731 - one line, and only here
    logging.getLogger("evenodd").setLevel(logging.WARNING)
    return model, fit(model, data, settings, objective, context(folder, report=report)), told


def _values(fitted: Fit, metric: str) -> np.ndarray:
    return np.array([row["value"] for row in fitted.history if row["metric"] == metric])


def _same_steps(one: Fit, two: Fit) -> None:
    """Loss and gradient norm of the first step to float32's rounding, of all steps to what grows out of it."""
    for metric in ("train/loss", "train/grad_norm"):
        expected, found = _values(one, metric), _values(two, metric)
        assert len(found) == len(expected) > 4
        assert found[0] == pytest.approx(expected[0], rel=1e-4)
        np.testing.assert_allclose(found, expected, rtol=2e-2)


def _same_scores(alone: Any, together: Any, data: FitData) -> None:
    expected, found = predict_logits(alone, data.validation), predict_logits(together, data.validation)
    np.testing.assert_allclose(found, expected, atol=2e-2)


def _count(module: nn.Module, inputs: Any, output: Any) -> None:
    """A hook of our own, which stays."""
