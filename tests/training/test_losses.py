"""The terms of the losses against plain references, and the objective that adds them up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from training_rows import random_batch, still_model

from evenodd.encoders import init_student
from evenodd.settings import DistillSettings
from evenodd.training import DistillObjective, LabelObjective, label_weights, needs_live_teacher
from evenodd.training.losses import attention_loss, hidden_loss, label_loss, soft_target_loss

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def test_label_loss_is_cross_entropy_of_each_row() -> None:
    """A mean inside a term would weigh rows by the size of their batch."""
    logits, labels = torch.randn(6, 3), torch.tensor([0, 2, 1, 1, 0, 2])
    expected = torch.stack([nn.CrossEntropyLoss()(logits[i : i + 1], labels[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(label_loss(logits, labels), expected, **CLOSE)


def test_weighted_label_loss_sums_as_torch_does() -> None:
    """Weights by label must belong to the row's own label."""
    logits, labels, weight = torch.randn(8, 3), torch.randint(0, 3, (8,)), torch.tensor([0.5, 1.0, 3.0])
    expected = nn.CrossEntropyLoss(weight=weight, reduction="sum")(logits, labels)
    torch.testing.assert_close(label_loss(logits, labels, weight).sum(), expected, **CLOSE)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0, 10.0])
def test_soft_targets_are_torchs_divergence(temperature: float) -> None:
    """The direction of the divergence and the squared temperature are the usual slips."""
    student, teacher = torch.randn(5, 4), torch.randn(5, 4)
    log_student, probabilities = (student / temperature).log_softmax(1), (teacher / temperature).softmax(1)
    expected = nn.KLDivLoss(reduction="batchmean")(log_student, probabilities) * temperature**2
    torch.testing.assert_close(soft_target_loss(student, teacher, temperature).mean(), expected, **CLOSE)


def test_soft_targets_vanish_at_the_teacher_and_keep_their_gradient_scale() -> None:
    """Without the squared temperature a hot teacher would hardly teach: Hinton's scaling keeps gradients alike."""
    teacher = torch.randn(5, 3)
    assert float(soft_target_loss(teacher, teacher.clone(), 3.0).abs().max()) < 1e-6
    gradients = []
    for temperature in (50.0, 100.0):
        student = (teacher + 0.1).clone() + torch.arange(3.0)
        student.requires_grad_(True)
        soft_target_loss(student, teacher, temperature).sum().backward()
        gradients.append(student.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0.05, atol=0.02)


def test_half_precision_logits_are_compared_in_full() -> None:
    """Under autocast logits arrive as bfloat16; a softmax in it loses the third digit."""
    student, teacher = torch.randn(5, 3).bfloat16(), torch.randn(5, 3).bfloat16()
    found = soft_target_loss(student, teacher, 2.0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, soft_target_loss(student.float(), teacher.float(), 2.0))
    assert label_loss(student, torch.zeros(5, dtype=torch.long)).dtype == torch.float32


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    """At 0 the loss is not a number; below, the student would learn the opposite."""
    with pytest.raises(ValueError, match="temperature"):
        soft_target_loss(torch.randn(2, 2), torch.randn(2, 2), temperature)


def test_hidden_cosine_and_mse_match_torch() -> None:
    """Mean over the mapped layers of one row."""
    student, teacher = torch.randn(4, 3, 8), torch.randn(4, 3, 8)
    same = torch.ones(4)
    cosine = [nn.CosineEmbeddingLoss(reduction="none")(student[:, i], teacher[:, i], same) for i in range(3)]
    torch.testing.assert_close(hidden_loss(student, teacher, "cosine"), torch.stack(cosine, 1).mean(1), **CLOSE)
    squares = torch.stack([nn.MSELoss()(student[i], teacher[i]) for i in range(4)])
    torch.testing.assert_close(hidden_loss(student, teacher, "mse"), squares, **CLOSE)


@pytest.mark.parametrize("kind", ["cosine", "mse"])
def test_padding_has_no_part_in_hidden_states(kind: str) -> None:
    """Otherwise a row's loss would depend on which rows share its batch."""
    student, teacher = torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 8)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    found = hidden_loss(student, teacher, kind, mask)
    alone = hidden_loss(student[:1, :, :4], teacher[:1, :, :4], kind, mask[:1, :4])
    torch.testing.assert_close(found[:1], alone, **CLOSE)
    torch.testing.assert_close(found[1], _tokenwise(student[1], teacher[1], kind), **CLOSE)


def test_attention_maps_are_squared_differences_over_real_queries() -> None:
    """Rows of padding queries are noise."""
    student, teacher = torch.rand(2, 3, 4, 5, 5), torch.rand(2, 3, 4, 5, 5)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    expected = [
        torch.stack([((student[b, :, :, q] - teacher[b, :, :, q]) ** 2).sum(-1).mean() for q in range(n)]).mean()
        for b, n in ((0, 3), (1, 5))
    ]
    torch.testing.assert_close(attention_loss(student, teacher, mask), torch.stack(expected), **CLOSE)


def test_shapes_that_differ_are_named() -> None:
    """Broadcasting would compare one layer with all of them in silence."""
    with pytest.raises(ValueError, match=r"student \(2, 3\) and teacher \(2, 1\)"):
        soft_target_loss(torch.randn(2, 3), torch.randn(2, 1), 1.0)
    with pytest.raises(ValueError, match="differ in shape"):
        hidden_loss(torch.randn(2, 3, 4), torch.randn(2, 1, 4))
    with pytest.raises(ValueError, match="differ in shape"):
        attention_loss(torch.rand(1, 2, 2, 3, 3), torch.rand(1, 1, 2, 3, 3), torch.ones(1, 3))
    with pytest.raises(ValueError, match="allowed are cosine and mse"):
        hidden_loss(torch.randn(2, 3, 4), torch.randn(2, 3, 4), "l1")


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=60), st.sampled_from(["balanced", "sqrt", 3.0]))
def test_label_weights_average_one_over_the_rows(labels: list[int], kind: str | float) -> None:
    """Otherwise the class weight would change the learning rate too."""
    numbers = torch.tensor(labels)
    weight = label_weights(numbers, 4, kind, positive=1)
    assert weight is not None
    assert float(weight[numbers].mean()) == pytest.approx(1, rel=1e-4)
    assert bool((weight > 0).all())


def test_label_weights_follow_their_definition() -> None:
    """Nine to one: balanced weighs 9, sqrt 3, a number its value."""
    labels = torch.tensor([0] * 90 + [1] * 10)
    for kind, ratio in (("balanced", 9.0), ("sqrt", 3.0), (5.0, 5.0)):
        weight = label_weights(labels, 2, kind, positive=1)
        assert weight is not None
        assert float(weight[1] / weight[0]) == pytest.approx(ratio, rel=1e-5)
    assert label_weights(labels, 2, "none", positive=1) is None
    with pytest.raises(ValueError, match="positive label"):
        label_weights(labels, 2, 5.0, positive=None)


def test_without_soft_targets_distillation_is_plain_cross_entropy() -> None:
    """The reference that every distillation loss must fall back to."""
    teacher, student = still_model(depth=4), still_model(depth=2, seed=1)
    settings = DistillSettings(soft_weight=0, label_weight=1, hidden_weight=0)
    batch = random_batch()
    terms, logits = DistillObjective(settings, (2, 4), teacher=teacher).terms(student, batch)
    expected, plain = LabelObjective().terms(student, batch)
    assert set(terms) == {"label"}
    torch.testing.assert_close(terms["label"], expected["label"])
    torch.testing.assert_close(logits, plain)


def test_a_student_that_is_its_teacher_has_nothing_to_learn() -> None:
    """Compared with the wrong layers (embeddings counted as one, say), the hidden term would not vanish."""
    teacher = still_model(depth=3)
    student = init_student(teacher, (1, 2, 3)).model
    settings = DistillSettings(label_weight=0, soft_weight=1, hidden_weight=1, hidden_tokens="all", attention_weight=1)
    terms, _ = DistillObjective(settings, (1, 2, 3), teacher=teacher).terms(student, random_batch())
    assert set(terms) == {"soft", "hidden", "attention"}
    assert max(float(term.detach().abs().max()) for term in terms.values()) < 1e-5


def test_hidden_states_are_compared_between_mapped_layers() -> None:
    """Student layer 1 of map (2, 4) goes with teacher layer 2, layer 2 with 4: worked out by hand here."""
    teacher, student = still_model(depth=4), still_model(depth=2, seed=1)
    batch = random_batch()
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
    settings = DistillSettings(hidden_weight=0.5, hidden_loss="mse")
    terms, _ = DistillObjective(settings, (2, 4), teacher=teacher).terms(student, batch)
    with torch.no_grad():
        theirs = teacher(**inputs, output_hidden_states=True).hidden_states
        ours = student(**inputs, output_hidden_states=True).hidden_states
    pairs = [((ours[i][:, 0] - theirs[j][:, 0]) ** 2).mean(-1) for i, j in ((1, 2), (2, 4))]
    torch.testing.assert_close(terms["hidden"], 0.5 * torch.stack(pairs).mean(0), **CLOSE)
    last = DistillSettings(hidden_weight=0.5, hidden_loss="mse", hidden_layers="last")
    terms, _ = DistillObjective(last, (2, 4), teacher=teacher).terms(student, batch)
    torch.testing.assert_close(terms["hidden"], 0.5 * pairs[1], **CLOSE)


def test_no_gradient_reaches_the_teacher() -> None:
    """A teacher that learns from its student is no teacher."""
    teacher, student = still_model(depth=4), still_model(depth=2, seed=1)
    settings = DistillSettings(hidden_tokens="all", attention_weight=1.0)
    terms, _ = DistillObjective(settings, (2, 4), teacher=teacher).terms(student, random_batch())
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for name, parameter in student.named_parameters() if "layer" in name)


def test_terms_that_need_a_live_teacher_say_so() -> None:
    """Cached targets hold the first token only; used for all tokens they would be wrong."""
    assert not needs_live_teacher(DistillSettings())
    assert needs_live_teacher(DistillSettings(hidden_tokens="all"))
    assert not needs_live_teacher(DistillSettings(hidden_tokens="all", hidden_weight=0))
    assert needs_live_teacher(DistillSettings(attention_weight=0.1))
    with pytest.raises(ValueError, match="neither cached targets nor a live teacher"):
        DistillObjective(DistillSettings(), (1,))


def test_every_row_weighs_alike_in_uneven_batches() -> None:
    """Batches by length differ in rows: a mean in each batch would weigh long rows more."""
    model = still_model()
    objective = LabelObjective()
    whole = random_batch(rows=12)
    cuts = (0, 1, 8, 12)
    parts = [{key: value[a:b] for key, value in whole.items()} for a, b in itertools.pairwise(cuts)]
    rows_per_batch = 12 / len(parts)
    summed = _gradient(model, [_total(objective, model, part) / rows_per_batch for part in parts])
    mean = _gradient(model, [_total(objective, model, whole) / 12])
    for found, expected in zip(summed, mean, strict=True):
        torch.testing.assert_close(found / len(parts), expected, rtol=1e-4, atol=1e-6)


def test_the_label_objective_needs_no_fields() -> None:
    """A batch carries what the objective asks for and no more."""
    assert LabelObjective().fields(np.arange(3)) == {}


def _total(objective: LabelObjective, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    terms, _ = objective.terms(model, batch)
    return torch.stack(list(terms.values())).sum()


def _gradient(model: nn.Module, losses: list[Tensor]) -> list[Tensor]:
    model.zero_grad()
    torch.stack(losses).sum().backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def _tokenwise(student: Tensor, teacher: Tensor, kind: str) -> Tensor:
    if kind == "mse":
        return ((student - teacher) ** 2).mean()
    return (1 - nn.CosineSimilarity(dim=-1)(student, teacher)).mean()
