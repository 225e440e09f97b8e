"""Models of the variants: layer maps, students, LoRA. Names load on first use, so that the catalog needs no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from evenodd.encoders.catalog import VARIANTS, Variant, find_variant

if TYPE_CHECKING:
    from evenodd.encoders.encoder import (
        encoder_layers,
        load_encoder,
        parameter_counts,
        state_digest,
        tensor_digests,
    )
    from evenodd.encoders.layer_map import LayerMap, check_layer_map, choose_layers, even_layers, odd_layers
    from evenodd.encoders.lora import add_lora, lora_targets, merge_lora
    from evenodd.encoders.student import Student, init_student

MODULES = ("encoder", "layer_map", "lora", "student")

__all__ = [
    "VARIANTS",
    "LayerMap",
    "Student",
    "Variant",
    "add_lora",
    "check_layer_map",
    "choose_layers",
    "encoder_layers",
    "even_layers",
    "find_variant",
    "init_student",
    "load_encoder",
    "lora_targets",
    "merge_lora",
    "odd_layers",
    "parameter_counts",
    "state_digest",
    "tensor_digests",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in MODULES:
            loaded = importlib.import_module(f"evenodd.encoders.{module}")
            if hasattr(loaded, name):
                return getattr(loaded, name)
    raise AttributeError(f"module 'evenodd.encoders' has no attribute '{name}'")
