"""Fitting: reproducible, resumed after an interruption, and ending with the best epoch's weights."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from release_models import tiny_model
from training_rows import accuracy, context, fit_data, still_model
from transformers import TrainerCallback

from evenodd.encoders import add_lora, init_student, state_digest
from evenodd.settings import DistillSettings, LoraSettings, TrainSettings
from evenodd.storage import seal
from evenodd.training import (
    DistillObjective,
    Fit,
    FitData,
    LabelObjective,
    fit,
    mix_weights,
    predict_logits,
    teacher_targets,
)
from evenodd.training.checkpoints import Mark, last_checkpoint
from evenodd.training.trainer import EncoderTrainer

SETTINGS = TrainSettings(epochs=3, learning_rate=3e-3, token_budget=128, max_rows=16, precision="fp32", log_steps=2)

BEST_EPOCH = SETTINGS.model_copy(update={"average_share": 0.0})


class CutError(Exception):
    """Stands for an interruption."""


@pytest.fixture(scope="module")
def data() -> FitData:
    return fit_data()


@pytest.mark.parametrize("cut_after", [2, 3])
@pytest.mark.parametrize("lora", [False, True])
def test_an_interrupted_fit_ends_where_an_uninterrupted_one_does(
    lora: bool, cut_after: int, data: FitData, tmp_path: Path
) -> None:
    """Dropout, batches, schedule, optimizer and patience must all go on, or the result depends on the interruption."""
    whole, expected, all_seen = _fit(data, tmp_path / "whole", lora=lora)
    with pytest.raises(CutError):
        _fit(data, tmp_path / "cut", lora=lora, cut_after=cut_after)
    left = last_checkpoint(tmp_path / "cut")
    assert left is not None
    assert (left / "average.pt").is_file() == (cut_after == 3)  # the mean of late weights goes on as well
    model, found, seen = _fit(data, tmp_path / "cut", lora=lora)
    assert state_digest(model.state_dict()) == state_digest(whole.state_dict())
    assert _sorted(found) == _sorted(expected)
    assert found.best_epoch == expected.best_epoch
    assert found.train_loss == expected.train_loss
    assert seen == all_seen


def test_the_same_seed_gives_the_same_fit_and_another_does_not(data: FitData, tmp_path: Path) -> None:
    """Seeds are repeats only if they decide everything."""
    first, one, _ = _fit(data, tmp_path / "a")
    second, two, _ = _fit(data, tmp_path / "b")
    third, other, _ = _fit(data, tmp_path / "c", seed=4)
    assert _sorted(one) == _sorted(two)
    assert state_digest(first.state_dict()) == state_digest(second.state_dict())
    assert other.history != one.history
    assert state_digest(third.state_dict()) != state_digest(first.state_dict())


def test_fitting_learns_and_says_so(data: FitData, tmp_path: Path) -> None:
    """A loss that does not fall, or is the mean of means, would be logged all the same."""
    model, epochs = still_model(), itertools.count()
    before = _mean_loss(model, data)
    last_is_best = context(tmp_path, score=lambda logits, labels: {"f1_macro": float(next(epochs))})
    settings = SETTINGS.model_copy(update={"epochs": 12})
    fitted = fit(model, data, settings, LabelObjective(), last_is_best)
    assert _mean_loss(model, data) < 0.5 * before
    losses = [row["value"] for row in fitted.history if row["metric"] == "train/loss"]
    assert losses[-1] < losses[0]
    assert fitted.figures["cost/train_seconds"] > 0
    assert fitted.figures["cost/train_rows_per_second"] == pytest.approx(
        12 * len(data.train) / fitted.figures["cost/train_seconds"]
    )


def test_the_weights_that_remain_are_the_best_epochs(data: FitData, tmp_path: Path) -> None:
    """The last epoch's weights under the best epoch's score would be registered."""
    scores = iter([0.3, 0.9, 0.5])
    after: list[dict[str, torch.Tensor]] = []

    def score(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        after.append({"logits": torch.from_numpy(logits)})
        return {"f1_macro": next(scores)}

    model = tiny_model()
    fitted = fit(model, data, BEST_EPOCH, LabelObjective(), context(tmp_path, score=score))
    assert (fitted.best_epoch, fitted.score) == (2, 0.9)
    assert not fitted.averaged
    remaining = torch.from_numpy(predict_logits(model, data.validation))
    torch.testing.assert_close(remaining, after[1]["logits"])
    assert not torch.allclose(remaining, after[2]["logits"])


def test_a_fit_that_runs_to_its_end_leaves_the_mean_of_its_late_weights(data: FitData, tmp_path: Path) -> None:
    """A mean over other steps, or over some of the weights, would pass for the one that was asked for."""
    keep = _KeepWeights()
    flat = context(tmp_path, score=lambda logits, labels: {"f1_macro": 0.5})
    model = tiny_model()
    fitted = fit(model, data, SETTINGS, LabelObjective(), replace(flat, callbacks=(keep,)))
    steps = len(keep.seen)
    late = [keep.seen[step] for step in range(5, steps + 1, 5) if step >= round(steps / 2)]
    assert fitted.averaged
    assert len(late) >= 2
    for name, parameter in model.named_parameters():
        expected = torch.stack([weights[name] for weights in late]).mean(0)
        torch.testing.assert_close(parameter.detach(), expected, msg=name)


@pytest.mark.parametrize(("mean_scores", "averaged"), [(0.585, True), (0.575, False)])
def test_a_mean_that_is_much_worse_than_the_best_epoch_is_not_taken(
    mean_scores: float, averaged: bool, data: FitData, tmp_path: Path
) -> None:
    """Where the fit still learns fast, early weights in the mean would spoil it."""
    scores = iter([0.4, 0.6, 0.5, mean_scores])
    after: list[np.ndarray] = []

    def score(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        after.append(logits)
        return {"f1_macro": next(scores)}

    model = tiny_model()
    fitted = fit(model, data, SETTINGS, LabelObjective(), context(tmp_path, score=score))
    assert fitted.averaged is averaged
    assert fitted.score == (mean_scores if averaged else 0.6)
    np.testing.assert_allclose(predict_logits(model, data.validation), after[3 if averaged else 1], atol=1e-5)


def test_patience_ends_the_fit_and_a_second_call_adds_nothing(data: FitData, tmp_path: Path) -> None:
    """CutError between the end of training and registration, a fit must not train on past where it had stopped."""
    settings = SETTINGS.model_copy(update={"epochs": 9, "patience": 2})
    calls = []

    def score(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        calls.append(1)
        return {"f1_macro": 0.5 if len(calls) == 1 else 0.4}

    first = tiny_model()
    fitted = fit(first, data, settings, LabelObjective(), context(tmp_path, score=score))
    assert (len(calls), fitted.best_epoch) == (3, 1)
    second = tiny_model()
    again = fit(second, data, settings, LabelObjective(), context(tmp_path, score=score))
    assert len(calls) == 3
    assert again.best_epoch == 1
    assert state_digest(second.state_dict()) == state_digest(first.state_dict())


def test_patience_resumes_after_an_interruption(data: FitData, tmp_path: Path) -> None:
    """Counted from zero again, an interrupted fit would run longer than one that was left alone."""
    settings = SETTINGS.model_copy(update={"epochs": 9, "patience": 2})
    scores = {1: 0.5}
    calls: list[int] = []

    def score(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 3 and not scores.get(0):
            scores[0] = 1.0
            raise CutError
        return {"f1_macro": scores.get(len(calls), 0.4)}

    with pytest.raises(CutError):
        fit(tiny_model(), data, settings, LabelObjective(), context(tmp_path, score=score))
    fitted = fit(tiny_model(), data, settings, LabelObjective(), context(tmp_path, score=score))
    epochs = [row["epoch"] for row in fitted.history if row["metric"] == "validation/f1_macro"]
    assert epochs == [1.0, 2.0, 3.0]


def test_an_unsealed_checkpoint_is_removed(tmp_path: Path) -> None:
    """Half a checkpoint would fail to load, or load half."""
    for step in (5, 10, 100):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text('{"best_model_checkpoint": null}')
        if step != 100:
            seal(folder)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-100").exists()
    assert last_checkpoint(tmp_path / "nowhere") is None


def test_distillation_leaves_the_teacher_as_it_was(data: FitData, tmp_path: Path) -> None:
    """A teacher that drifts is another one for the next student."""
    teacher = tiny_model(depth=12).eval()
    before = state_digest(teacher.state_dict())
    student = init_student(teacher, (1, 3, 5, 7, 9, 11)).model
    copied = state_digest(student.state_dict())
    targets = teacher_targets(teacher, data.train, tmp_path / "cache", "fp32")
    objective = DistillObjective(DistillSettings(), (1, 3, 5, 7, 9, 11), targets=targets)
    fit(student, data, SETTINGS.model_copy(update={"epochs": 1}), objective, context(tmp_path / "fit"))
    assert state_digest(student.state_dict()) != copied
    assert state_digest(teacher.state_dict()) == before


def test_frozen_word_embeddings_stay_and_the_rest_moves(data: FitData, tmp_path: Path) -> None:
    """Frozen by name in one family only, they would be trained in another at a third of the speed."""
    model, start = tiny_model(), tiny_model()
    fit(model, data, SETTINGS.model_copy(update={"epochs": 1}), LabelObjective(), context(tmp_path))
    words = "bert.embeddings.word_embeddings.weight"
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, start.state_dict()[key])}
    assert words not in moved
    assert {"classifier.weight", "bert.encoder.layer.0.attention.self.query.weight"} <= moved


def test_every_row_weighs_alike_over_an_epoch(data: FitData, tmp_path: Path) -> None:
    """The sum over an epoch's batches, times the batches' number, is the mean loss over the rows."""
    model = tiny_model().eval()
    trainer = EncoderTrainer(model, data, SETTINGS, LabelObjective(), context(tmp_path), Mark("fp32", 1))
    losses = [float(trainer.compute_loss(model, batch).detach()) for batch in trainer.get_train_dataloader()]
    assert len({len(batch) for batch in trainer.sampler}) > 1
    assert float(np.mean(losses)) == pytest.approx(_mean_loss(model, data), rel=1e-5)


def test_a_diverged_fit_is_an_error_with_a_way_out(data: FitData, tmp_path: Path) -> None:
    """Not a number compares as no better and no worse: the fit would end with the weights of chance."""

    class Broken(LabelObjective):
        def terms(self, model, batch):  # type: ignore[no-untyped-def]
            terms, logits = super().terms(model, batch)
            return {"label": terms["label"] * math.nan}, logits

    with pytest.raises(RuntimeError, match=r"diverged.*learning_rate=0\.003"):
        fit(tiny_model(), data, SETTINGS, Broken(), context(tmp_path, score=accuracy))


def test_predictions_come_in_the_order_of_the_rows(data: FitData) -> None:
    """They are made in order of length; a label at another row's place would score at chance."""
    model = tiny_model().train()
    found = predict_logits(model, data.validation, token_budget=64)
    assert model.training
    for row in (0, 5, len(data.validation) - 1):
        ids = torch.from_numpy(data.validation.ids(row).astype(np.int64))[None]
        with torch.inference_mode():
            expected = model.eval()(ids).logits[0]
        torch.testing.assert_close(torch.from_numpy(found[row]), expected, rtol=1e-4, atol=1e-4)


def test_mixed_weights_lie_on_the_way_between_two_models() -> None:
    """A share counted from the wrong end would ship the other model."""
    one, two = tiny_model(seed=0), tiny_model(seed=1)
    before = {name: value.clone() for name, value in one.state_dict().items()}
    mix_weights(one, two, 0.25)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * two.state_dict()[name])
    with pytest.raises(ValueError, match=r"cannot be mixed: 'bert\.encoder\.layer\.2"):
        mix_weights(one, tiny_model(depth=2), 0.5)


def _fit(
    data: FitData,
    folder: Path,
    *,
    lora: bool = False,
    seed: int = 3,
    cut_after: int | None = None,
    settings: TrainSettings = SETTINGS,
) -> tuple[torch.nn.Module, Fit, list[tuple[int, dict[str, float]]]]:
    """A fit of the same start; cut short when the n-th epoch has been scored."""
    torch.manual_seed(0)
    model = add_lora(tiny_model(), LoraSettings(rank=2)) if lora else tiny_model()
    seen: list[tuple[int, dict[str, float]]] = []

    def report(metrics: dict[str, float], step: int) -> None:
        seen.append((step, metrics))
        if sum("validation/f1_macro" in found for _, found in seen) == cut_after:
            raise CutError

    fitted = fit(model, data, settings, LabelObjective(), context(folder, seed=seed, report=report))
    return model, fitted, seen


class _KeepWeights(TrainerCallback):
    """Every step's weights."""

    def __init__(self) -> None:
        self.seen: dict[int, dict[str, torch.Tensor]] = {}

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.seen[state.global_step] = {name: p.detach().clone() for name, p in model.named_parameters()}


def _sorted(fitted: Fit) -> list[tuple[int, str, float]]:
    return sorted((row["step"], row["metric"], row["value"]) for row in fitted.history)


def _mean_loss(model: torch.nn.Module, data: FitData) -> float:
    logits = torch.from_numpy(predict_logits(model, data.train))
    return float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(data.train_labels)))


@pytest.mark.parametrize("bound", [0.05, 1e6])
def test_a_step_is_trainers_own(bound: float, data: FitData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left out of Trainer's step for speed must not change a weight, whether gradients are cut or not."""
    settings = SETTINGS.model_copy(update={"max_grad_norm": bound})
    ours = tiny_model()
    found = fit(ours, data, settings, LabelObjective(), context(tmp_path / "ours"))
    for name in ("training_step", "_clip_grad_norm", "floating_point_ops"):
        monkeypatch.delattr(EncoderTrainer, name)
    theirs = tiny_model()
    expected = fit(theirs, data, settings, LabelObjective(), context(tmp_path / "theirs"))
    norms = [row["value"] for row in expected.history if row["metric"] == "train/grad_norm"]
    assert norms
    assert min(norms) > 0.05
    assert max(norms) < 1e6
    assert norms == [row["value"] for row in found.history if row["metric"] == "train/grad_norm"]
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-6, atol=1e-7, msg=name)
