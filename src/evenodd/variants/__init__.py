"""Which parameters a variant has: layer maps, students, LoRA."""

from evenodd.variants.catalog import VARIANTS, Variant, find_variant
from evenodd.variants.encoder import (
    encoder_layers,
    load_encoder,
    parameter_counts,
    state_digest,
    tensor_digests,
)
from evenodd.variants.layer_map import LayerMap, check_layer_map, choose_layers, even_layers, odd_layers
from evenodd.variants.lora import add_lora, lora_targets, merge_lora
from evenodd.variants.student import Student, init_student

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
