"""Adapters and layer scores of a variant: `build` adds adapters and `fit_variant` merges them."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from pandas import DataFrame
from peft import PeftModel
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from evenodd.encoders.adalora import adapter_ranks, add_adalora, rank_figure, rank_table
from evenodd.encoders.encoder import parameter_counts, state_digest
from evenodd.encoders.importance import Importance, highest, score_layers
from evenodd.encoders.layer_map import LayerMap
from evenodd.encoders.lora import add_hybrid_lora, add_lora, check_merge, merge_lora
from evenodd.flow.materials import Materials
from evenodd.flow.plan import Plan
from evenodd.storage import read_seal, seal, sound, unsealed_folder
from evenodd.training.adalora import OrthogonalObjective, RankAllocation

log = logging.getLogger(__name__)

CHECKED_ROWS = 32


def importance_of(
    plan: Plan, teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, materials: Materials, keep: int
) -> Importance:
    """Scores of the teacher's layers on validation, computed once per teacher, rows and scorer."""
    wanted, store = plan.settings.variant, materials.tokens("validation", tokenizer)
    about = (state_digest(teacher.state_dict())[:24], store.digest[:16], str(keep), str(wanted.importance_rows))
    folder = materials.cache / "importance" / f"{wanted.importance}-{'-'.join(about)}"
    if sound(folder):
        content = read_seal(folder)
        return Importance(content["scorer"], tuple(content["scores"]), tuple(content["kept"]))
    labels = materials.corpus.validation.labels
    found = score_layers(teacher, store, labels, keep, wanted.importance, rows=wanted.importance_rows)
    with unsealed_folder(folder) as building:
        seal(building, asdict(found))
    return found


def sensitive_layers(importance: Importance, layers: LayerMap, count: int | None) -> LayerMap:
    """The student layers (from 1) with the most important teacher layers: `count` of them, or half.

    Raises:
        ValueError: every layer would be sensitive, so that none is fully trained.
    """
    wanted = count or max(1, len(layers) // 2)
    if wanted >= len(layers):
        raise ValueError(
            f"variant.sensitive={wanted}: the student has {len(layers)} layers, of which one must be fully trained; "
            f"pass 1 to {len(layers) - 1}, or fit the variant lora_student."
        )
    chosen = highest(importance.scores, layers, wanted)
    return tuple(layers.index(layer) + 1 for layer in chosen)


def add_adapters(plan: Plan, model: PreTrainedModel, sensitive: LayerMap) -> PeftModel:
    """The variant's adapters on its model."""
    settings = plan.settings.lora
    if plan.variant.adapter == "adalora":
        return add_adalora(model, settings)
    if plan.variant.adapter == "hybrid":
        log.info("hybrid | LoRA on student layers %s, the others in full", sensitive)
        return add_hybrid_lora(model, settings, sensitive)
    return add_lora(model, settings)


def adapter_training(plan: Plan, objective: Any) -> tuple[Any, tuple[Any, ...]]:
    """The objective and callbacks for training the variant's adapters."""
    if plan.variant.adapters and plan.variant.adapter == "adalora":
        return OrthogonalObjective(objective), (RankAllocation(),)
    return objective, ()


def merge_adapters(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, materials: Materials
) -> tuple[PreTrainedModel, dict[str, float]]:
    """Merges the adapter, compares the result with the adapter and the reloaded adapter, and measures its size.

    Raises:
        RuntimeError: the merged or reloaded model's logits differ from the fitted one's.
    """
    trainable = parameter_counts(model)[1]
    merged = merge_lora(model)
    total = parameter_counts(merged)[0]
    store = materials.tokens("validation", tokenizer)
    batch = store.collate(np.arange(min(CHECKED_ROWS, len(store))), pad_to_multiple=1)
    figures = check_merge(model, merged, batch)
    log.info(
        "adapter | %s of %s parameters trained (%.2f %%) | %.2f MB | merged equals adapter to %.1g",
        f"{trainable:,}",
        f"{total:,}",
        100 * trainable / total,
        figures["cost/adapter_mb"],
        figures["check/merged_max_abs_diff"],
    )
    return merged, figures


def rank_views(plan: Plan, model: PeftModel) -> tuple[dict[str, Figure], dict[str, DataFrame]]:
    """Heat map and table of AdaLoRA's remaining ranks; empty for other adapters."""
    if plan.variant.adapter != "adalora":
        return {}, {}
    table = rank_table(adapter_ranks(model))
    start = int(model.peft_config["default"].init_r)  # type: ignore[attr-defined]
    return {"adapter_ranks": rank_figure(table, start)}, {"adapter_ranks": table}
