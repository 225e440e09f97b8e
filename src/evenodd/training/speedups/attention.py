"""Attention modules of encoders with BERT's layout: their location and projections."""

from __future__ import annotations

import re
from typing import Any

from peft import PeftModel
from torch import Tensor, nn

FAMILIES = ("bert", "roberta", "xlm-roberta", "electra")
"""`config.model_type` of encoders with BERT's layout whose heads read the first token."""


def attention_modules(model: Any, layer: int) -> list[Any]:
    """Attention modules (`self` and `output`) of a layer; more than one if adapters keep a copy of it.

    Args:
        model: for other families and for models that are no sequence classifiers, the result is empty.
        layer: index from 0; -1 is the last layer.
    """
    classifier = model.get_base_model() if isinstance(model, PeftModel) else model
    config: Any = getattr(classifier, "config", None)
    named = type(classifier).__name__
    if config is None or config.model_type not in FAMILIES or not named.endswith("ForSequenceClassification"):
        return []
    place = re.compile(rf"\.encoder\.layer\.{layer % config.num_hidden_layers}\.(.*\.)?attention$")
    found = [module for name, module in model.named_modules() if place.search(f".{name}")]
    return [module for module in found if hasattr(module, "self")]


def heads(module: nn.Module, projected: Tensor) -> Tensor:
    """(…, tokens, hidden) to (…, tokens, heads, hidden of a head)."""
    size: Any = module.attention_head_size
    return projected.unflatten(-1, (-1, size))
