"""A variant's model and what it minimises, ready to fit."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from evenodd import tracking
from evenodd.training import (
    DistillObjective,
    LabelObjective,
    best_device,
    choose_precision,
    label_weights,
    needs_live_teacher,
    target_megabytes,
    teacher_targets,
)
from evenodd.variants import LayerMap, add_lora, choose_layers, init_student, load_encoder, check_layer_map
from pipelines.materials import Materials
from pipelines.plan import Plan

log = logging.getLogger(__name__)


@dataclass
class Built:
    """A model to fit.

    Attributes:
        layer_map: teacher layers kept, from 1; None for full depth.
        tensor_digests: SHA-256 of each tensor copied from the teacher.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    objective: Any
    layer_map: LayerMap | None = None
    tensor_digests: dict[str, str] = field(default_factory=dict)


def build(plan: Plan, materials: Materials, teacher_uri: str | None) -> Built:
    """The variant's model over the encoder, or over the fitted teacher.

    Args:
        plan: variant and settings.
        materials: rows and encoder.
        teacher_uri: the fitted teacher of a distilled variant.
    """
    torch.manual_seed(plan.settings.seed)
    model, tokenizer = _start(plan, materials, teacher_uri)
    weight = _weights(plan, materials)
    built = Built(model, tokenizer, LabelObjective(weight))
    if plan.variant.layers:
        _halve(built, plan, materials, weight)
    if plan.variant.adapters:
        built.model = add_lora(built.model, plan.settings.lora)
    built.model.to(best_device())
    return built


def _start(
    plan: Plan, materials: Materials, teacher_uri: str | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if teacher_uri is None:
        names, dropout = materials.corpus.label_names, plan.settings.train.dropout
        return load_encoder(materials.encoder, names, dropout=dropout)
    model, tokenizer = tracking.load_model(teacher_uri)
    model.set_attn_implementation("eager")
    return model.float(), tokenizer


def _halve(built: Built, plan: Plan, materials: Materials, weight: torch.Tensor | None) -> None:
    teacher = built.model
    layers = layers_of(plan, teacher.config.num_hidden_layers)
    student = init_student(teacher, layers)
    log.info("%s | %d → %d layers %s", plan.variant.name, teacher.config.num_hidden_layers, len(layers), layers)
    built.model, built.layer_map, built.tensor_digests = student.model, layers, student.digests
    if plan.variant.distilled:
        built.objective = _distillation(plan, teacher, built, materials, weight)


def layers_of(plan: Plan, depth: int) -> LayerMap:
    """The layers a student of a teacher of that depth keeps: those asked for, or the variant's."""
    wanted = plan.settings.variant
    if wanted.layers:
        return check_layer_map(wanted.layers, depth)
    return choose_layers(plan.variant.layers or "", depth, keep=wanted.depth, seed=plan.settings.seed)


def _distillation(
    plan: Plan, teacher: PreTrainedModel, built: Built, materials: Materials, weight: torch.Tensor | None
) -> DistillObjective:
    settings = plan.settings.distill
    store = materials.tokens("train", built.tokenizer)
    megabytes = target_megabytes(teacher, len(store))
    layers = built.layer_map or ()
    teacher.to(best_device())
    if needs_live_teacher(settings) or megabytes > settings.cache_budget_mb:
        log.info("teacher runs live | its targets would take %.0f MB of %d", megabytes, settings.cache_budget_mb)
        return DistillObjective(settings, layers, weight=weight, teacher=teacher)
    precision = choose_precision(plan.settings.train.precision, best_device())
    targets = teacher_targets(teacher, store, materials.cache, precision)
    return DistillObjective(settings, layers, weight=weight, targets=targets)


def _weights(plan: Plan, materials: Materials) -> torch.Tensor | None:
    corpus = materials.corpus
    positive = corpus.label_names.index(corpus.positive) if corpus.positive else None
    labels = torch.from_numpy(corpus.train.labels)
    return label_weights(labels, len(corpus.label_names), plan.settings.train.class_weight, positive)
