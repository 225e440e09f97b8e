"""LoRA: low-rank adapters on a frozen encoder."""

from __future__ import annotations

import copy

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import PreTrainedModel

from evenodd.config import LoraSettings

# Names of the query, key and value projections by `config.model_type`.
QUERY_KEY_VALUE: dict[str, tuple[str, ...]] = {
    "bert": ("query", "key", "value"),
    "roberta": ("query", "key", "value"),
    "xlm-roberta": ("query", "key", "value"),
    "electra": ("query", "key", "value"),
    "distilbert": ("q_lin", "k_lin", "v_lin"),
    "mpnet": ("attn.q", "attn.k", "attn.v"),
    "modernbert": ("Wqkv",),
    "deberta-v2": ("query_proj", "key_proj", "value_proj"),
}


def lora_targets(model: PreTrainedModel, settings: LoraSettings) -> tuple[str, ...]:
    """Names of the projections that get adapters.

    Raises:
        ValueError: the family is not known and no targets were named, or a named target is not in the model.
    """
    family = model.config.model_type
    targets = settings.targets or QUERY_KEY_VALUE.get(family)
    linear = sorted({name.rpartition(".")[2] for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)})
    if targets is None:
        raise ValueError(
            f"lora: the projections of '{family}' are not known; name them with -P lora.targets=…; "
            f"it has {', '.join(linear)}. Known families: {', '.join(QUERY_KEY_VALUE)}."
        )
    names = [name for name, _ in model.named_modules()]
    missing = [target for target in targets if not any(name == target or name.endswith(f".{target}") for name in names)]
    if missing:
        raise ValueError(f"lora.targets={','.join(missing)}: not in '{family}'; it has {', '.join(linear)}.")
    return targets


def add_lora(model: PreTrainedModel, settings: LoraSettings) -> PeftModel:
    """The model with adapters on its targets; only they and the classification head are trained.

    Raises:
        ValueError: see `lora_targets`.
    """
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(lora_targets(model, settings)),
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        bias="none",
    )
    return get_peft_model(model, config)


def merge_lora(model: PeftModel) -> PreTrainedModel:
    """A plain model with the adapters' products added to the weights; the given model is left as it is."""
    merged = copy.deepcopy(model).merge_and_unload()
    for parameter in merged.parameters():
        parameter.requires_grad_(True)
    return merged
