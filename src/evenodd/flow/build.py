"""Builds a variant's model and its training objective."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from matplotlib.figure import Figure
from pandas import DataFrame
from torch import nn
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from evenodd import tracking
from evenodd.encoders import LayerMap, check_layer_map, choose_layers, init_student, load_encoder
from evenodd.encoders.encoder import best_attention, override_dropout
from evenodd.encoders.importance import Importance
from evenodd.flow.adapters import adapter_training, add_adapters, importance_of, sensitive_layers
from evenodd.flow.materials import Materials
from evenodd.flow.plan import Plan
from evenodd.report.importance import importance_figure, importance_table
from evenodd.training import (
    DistillObjective,
    JoinedTargets,
    LabelObjective,
    best_device,
    choose_precision,
    label_weights,
    needs_live_teacher,
    target_megabytes,
    teacher_targets,
)

log = logging.getLogger(__name__)


@dataclass
class Built:
    """A model to fit.

    Attributes:
        layer_map: kept teacher layers, from 1; None for full depth.
        tensor_digests: SHA-256 of each tensor copied from the teacher.
        callbacks: callbacks of the fit.
        figures, tables: results of building, to be logged.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    objective: Any
    layer_map: LayerMap | None = None
    tensor_digests: dict[str, str] = field(default_factory=dict)
    callbacks: tuple[Any, ...] = ()
    figures: dict[str, Figure] = field(default_factory=dict)
    tables: dict[str, DataFrame] = field(default_factory=dict)


def build(plan: Plan, materials: Materials, teacher_uri: str | None, plain_teacher_uri: str | None = None) -> Built:
    """Builds the variant's model from the encoder, or from the fitted teacher.

    Args:
        plan: variant and settings.
        materials: rows and encoder.
        teacher_uri: the fitted teacher of a distilled variant.
        plain_teacher_uri: the teacher fitted without added rows, which teaches the original rows; None: one for all.
    """
    torch.manual_seed(plan.settings.seed)
    model, tokenizer = _start(plan, materials, teacher_uri)
    weight = _weights(plan, materials)
    built = Built(model, tokenizer, LabelObjective(weight))
    importance = _importance(built, plan, materials)
    if plan.variant.layers:
        _halve(built, plan, materials, weight, importance, plain_teacher_uri)
    if plan.variant.adapters:
        sensitive: LayerMap = ()
        if importance and built.layer_map:
            sensitive = sensitive_layers(importance, built.layer_map, plan.settings.variant.sensitive)
        built.model = add_adapters(plan, built.model, sensitive)
        built.objective, built.callbacks = adapter_training(plan, built.objective)
    built.model.to(best_device())
    return built


def _start(
    plan: Plan, materials: Materials, teacher_uri: str | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    attention = best_attention(best_device(), maps=plan.settings.distill.attention_weight > 0)
    if teacher_uri is None:
        dropout = plan.settings.train.dropout
        return load_encoder(materials.encoder, materials.corpus.task, attention=attention, dropout=dropout)
    model, tokenizer = tracking.load_model(teacher_uri)
    model.set_attn_implementation(attention)
    override_dropout(model, plan.settings.train.dropout)
    return model.float(), tokenizer


def _importance(built: Built, plan: Plan, materials: Materials) -> Importance | None:
    """Scores of the teacher's layers, for a variant that needs them."""
    if not plan.variant.scores_layers:
        return None
    depth = built.model.config.num_hidden_layers
    keep = len(plan.settings.variant.layers or ()) or plan.settings.variant.depth or depth // 2
    built.model.to(best_device())
    found = importance_of(plan, built.model, built.tokenizer, materials, keep)
    built.model.to("cpu")
    built.figures["layer_importance"] = importance_figure(found)
    built.tables["layer_importance"] = importance_table(found)
    return found


def _halve(
    built: Built,
    plan: Plan,
    materials: Materials,
    weight: torch.Tensor | None,
    importance: Importance | None,
    plain_teacher_uri: str | None,
) -> None:
    teacher = built.model
    layers = layers_of(plan, teacher.config.num_hidden_layers, importance)
    student = init_student(teacher, layers)
    log.info("%s | %d → %d layers %s", plan.variant.name, teacher.config.num_hidden_layers, len(layers), layers)
    built.model, built.layer_map, built.tensor_digests = student.model, layers, student.digests
    if plan.variant.distilled:
        built.objective = _distillation(plan, teacher, built, materials, weight, plain_teacher_uri)


def layers_of(plan: Plan, depth: int, importance: Importance | None = None) -> LayerMap:
    """The kept layers of a student for a teacher of that depth: the given ones, or the variant's."""
    wanted = plan.settings.variant
    if wanted.layers:
        return check_layer_map(wanted.layers, depth)
    if plan.variant.layers == "importance" and importance:
        return importance.kept
    return choose_layers(plan.variant.layers or "", depth, keep=wanted.depth, seed=plan.settings.seed)


def _distillation(
    plan: Plan,
    teacher: PreTrainedModel,
    built: Built,
    materials: Materials,
    weight: torch.Tensor | None,
    plain_teacher_uri: str | None,
) -> DistillObjective:
    settings = plan.settings.distill
    store = materials.tokens("train", built.tokenizer)
    megabytes = target_megabytes(teacher, len(store))
    layers = built.layer_map or ()
    cast(nn.Module, teacher).to(best_device())
    live = needs_live_teacher(settings) or megabytes > settings.cache_budget_mb
    if live and plan.plain is not None:
        raise ValueError(
            f"distillation with counterexamples reads two teachers' targets from a cache, {megabytes:.0f} MB here: "
            "raise distill.cache_budget_mb and use no loss term that needs a live teacher, or pass data.augment_mix=1."
        )
    if live:
        log.info("teacher in every step | its targets would need %.0f MB of %d", megabytes, settings.cache_budget_mb)
        return DistillObjective(settings, layers, weight=weight, teacher=teacher)
    precision = choose_precision(plan.settings.train.precision, best_device())
    if plan.plain is None or plain_teacher_uri is None:
        targets = teacher_targets(teacher, store, materials.cache, precision)
        return DistillObjective(settings, layers, weight=weight, targets=targets)
    plain_teacher = tracking.load_model(plain_teacher_uri)[0].float()
    cast(nn.Module, plain_teacher).to(best_device())
    without = materials.under(plan.plain.settings)
    joined = JoinedTargets(
        teacher_targets(plain_teacher, without.tokens("train", built.tokenizer), materials.cache, precision),
        teacher_targets(teacher, materials.added_tokens(built.tokenizer), materials.cache, precision),
    )
    return DistillObjective(settings, layers, weight=weight, targets=joined)


def _weights(plan: Plan, materials: Materials) -> torch.Tensor | None:
    corpus = materials.corpus
    positive = corpus.task.positive_index
    first = slice(None) if materials.turns is None else materials.turns <= 0
    labels = torch.tensor(corpus.train.labels[first])  # of one epoch
    return label_weights(labels, len(corpus.label_names), plan.settings.train.class_weight, positive)
