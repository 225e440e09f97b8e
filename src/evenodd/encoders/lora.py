"""LoRA: low-rank adapters on a frozen encoder, or only on its sensitive layers."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from evenodd.encoders.encoder import layers_path
from evenodd.encoders.layer_map import LayerMap, check_layer_map
from evenodd.settings import LoraSettings

MERGE_TOLERANCE = 1e-3

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
        ValueError: the family is unknown and no targets are given, or a given target is not in the model.
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


def head_modules(model: PreTrainedModel) -> tuple[str, ...]:
    """Names of the classification head's modules: those outside of the encoder that have parameters."""
    return tuple(
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    )


def add_lora(model: PreTrainedModel, settings: LoraSettings) -> PeftModel:
    """Adds adapters to the targets; only they and the classification head are trainable.

    Raises:
        ValueError: see `lora_targets`.
    """
    return get_peft_model(model, _config(settings, lora_targets(model, settings), head_modules(model)))


def add_hybrid_lora(model: PreTrainedModel, settings: LoraSettings, sensitive: LayerMap) -> PeftModel:
    """Adds adapters to the sensitive layers (from 1) and freezes their weights; other layers and the head are trained.

    Raises:
        ValueError: see `lora_targets`; or `sensitive` is empty or names layers that the model does not have.
    """
    depth = model.config.num_hidden_layers
    check_layer_map(sensitive, depth)
    path = layers_path(model)
    inside = tuple(f"{path}.{number - 1}." for number in sensitive)
    wanted = lora_targets(model, settings)
    targets = tuple(
        name
        for name, _ in model.named_modules()
        if name.startswith(inside) and any(name.endswith(f".{target}") for target in wanted)
    )
    if not targets:
        raise ValueError(f"lora.targets={','.join(wanted)}: none of them is in the layers {sensitive} of '{path}'.")
    full = tuple(f"{path}.{number - 1}" for number in range(1, depth + 1) if number not in sensitive)
    return get_peft_model(model, _config(settings, targets, (*head_modules(model), *full)))


def _config(settings: LoraSettings, targets: tuple[str, ...], trained: tuple[str, ...]) -> LoraConfig:
    return LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(targets),
        modules_to_save=list(trained),
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        bias="none",
    )


def merge_lora(model: PeftModel) -> PreTrainedModel:
    """Returns a plain model with the adapters merged into the weights; the given model is not changed."""
    merged = copy.deepcopy(model).merge_and_unload()
    for parameter in merged.parameters():
        parameter.requires_grad_(True)
    return merged


def check_merge(model: PeftModel, merged: PreTrainedModel, batch: dict[str, Tensor]) -> dict[str, float]:
    """Compares the logits of the adapter, the merged model and the adapter after saving and loading it.

    Args:
        model: with adapters, unchanged.
        merged: the result of `merge_lora`.
        batch: `input_ids` and `attention_mask`, (batch, tokens).

    Returns:
        `cost/adapter_mb`, size of the saved adapter and the fully trained modules; `check/merged_max_abs_diff` and
        `check/reloaded_max_abs_diff`, differences of logits.

    Raises:
        RuntimeError: logits differ by more than 1e-3.
    """
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        megabytes = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors")) / 1e6
        base: Any = copy.deepcopy(model).unload()
        reloaded = PeftModel.from_pretrained(base, folder)
    expected = _logits(model, batch)
    differences = {
        "check/merged_max_abs_diff": float((_logits(merged, batch) - expected).abs().max()),
        "check/reloaded_max_abs_diff": float((_logits(reloaded, batch) - expected).abs().max()),
    }
    for name, difference in differences.items():
        if not difference <= MERGE_TOLERANCE:
            what = name.partition("/")[2].partition("_")[0]
            raise RuntimeError(
                f"the {what} adapter's logits differ by {difference:.2g} > {MERGE_TOLERANCE:g} from those of the "
                "fitted one, so it would answer differently from what was measured. Nothing is registered."
            )
    return {"cost/adapter_mb": megabytes, **differences}


def _logits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    with torch.inference_mode():
        logits = model(**{key: value.to(device) for key, value in batch.items()}).logits.float().cpu()
    model.train(training)
    return logits
