"""Loss terms. Each returns one value per row, so that rows have equal weight in batches of different sizes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name


def label_loss(logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy of each row.

    Args:
        logits: float, (batch, labels).
        labels: int64, (batch,).
        weight: float, (labels,): factor for the rows of each label; None: all 1.

    Returns:
        float32, (batch,), nats.
    """
    losses = F.cross_entropy(logits.float(), labels, reduction="none")
    return losses if weight is None else losses * weight[labels]


def soft_target_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """KL divergence of the student's softened distribution from the teacher's, times temperature squared.

    Args:
        student_logits: float, (batch, labels).
        teacher_logits: float, same shape, no gradient.
        temperature: > 0.

    Returns:
        float32, (batch,), nats.

    Raises:
        ValueError: shapes differ, or the temperature is not positive.

    Source: Hinton et al. 2015, arXiv 1503.02531.
    """
    _same_shape(student_logits, teacher_logits)
    if temperature <= 0:
        raise ValueError(f"temperature={temperature}: must be above 0.")
    student = F.log_softmax(student_logits.float() / temperature, dim=-1)
    teacher = F.log_softmax(teacher_logits.float() / temperature, dim=-1)
    return F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1) * temperature**2


def hidden_loss(student: Tensor, teacher: Tensor, kind: str = "cosine", mask: Tensor | None = None) -> Tensor:
    """Distance of hidden states between mapped layers, mean over layers (and real tokens).

    Args:
        student: float, (batch, layers, hidden), or (batch, layers, tokens, hidden) with a mask.
        teacher: float, same shape, no gradient.
        kind: `cosine`: 1 - cosine similarity; `mse`: mean squared difference.
        mask: (batch, tokens), 1 for real tokens.

    Returns:
        float32, (batch,).

    Raises:
        ValueError: shapes differ, or the kind is unknown.

    Source: Sanh et al. 2019, arXiv 1910.01108 (cosine); Jiao et al. 2020, arXiv 1909.10351 (MSE).
    """
    _same_shape(student, teacher)
    if kind == "cosine":
        distance = 1 - F.cosine_similarity(student.float(), teacher.float(), dim=-1)
    elif kind == "mse":
        distance = (student.float() - teacher.float()).pow(2).mean(-1)
    else:
        raise ValueError(f"hidden_loss='{kind}': allowed are cosine and mse.")
    return _row_mean(distance, mask)


def attention_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of attention maps between mapped layers over real query tokens.

    Args:
        student: float, (batch, layers, heads, tokens, tokens), probabilities.
        teacher: float, same shape, no gradient.
        mask: (batch, tokens), 1 for real tokens.

    Returns:
        float32, (batch,).

    Raises:
        ValueError: shapes differ.

    Source: Jiao et al. 2020, arXiv 1909.10351.
    """
    _same_shape(student, teacher)
    squared = (student.float() - teacher.float()).pow(2).sum(-1).mean(2)
    return _row_mean(squared, mask)


def label_weights(labels: Tensor, count: int, kind: str | float, positive: int | None) -> Tensor | None:
    """Factors for the rows of each label in the loss, scaled to a mean of 1 over the rows.

    Args:
        labels: int64, (rows,), labels of the training split.
        count: number of labels.
        kind: `none`; `balanced`: inverse frequency; `sqrt`: its square root; or the positive label's factor.
        positive: index of the positive label, needed if `kind` is a factor.

    Returns:
        float32, (labels,), or None.

    Raises:
        ValueError: `kind` is a factor, and there is no positive label.
    """
    if kind == "none":
        return None
    frequency = torch.bincount(labels, minlength=count).clamp(min=1).float()
    if isinstance(kind, float | int):
        if positive is None:
            raise ValueError(f"class_weight={kind}: a number needs a positive label; pass balanced, sqrt or none.")
        weight = torch.ones(count)
        weight[positive] = float(kind)
    else:
        weight = frequency.reciprocal() if kind == "balanced" else frequency.rsqrt()
    return weight / weight[labels].mean()


def _row_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return values.mean(-1)
    weight = mask[:, None, :].to(values.dtype)
    return ((values * weight).sum(-1) / weight.sum(-1)).mean(-1)


def _same_shape(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise ValueError(f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ in shape.")
