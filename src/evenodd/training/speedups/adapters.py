"""LoRA layers with fewer passes over hidden states than PEFT's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from peft.tuners.lora.layer import Linear
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name


@contextmanager
def lean_adapters(model: nn.Module) -> Iterator[int]:
    """Makes LoRA layers scale the low-rank activations and add the result in place; yields the number of such layers.

    Results and gradients equal PEFT's except for rounding. DoRA, AdaLoRA, layers with several adapters and merged
    layers are not changed.

    Args:
        model: changed within the context only.
    """
    layers: list[Any] = [module for module in model.modules() if _is_plain(module)]
    for layer in layers:
        layer.forward = partial(_forward, layer, layer.active_adapters[0])
    try:
        yield len(layers)
    finally:
        for layer in layers:
            del layer.forward


def _is_plain(module: Any) -> bool:
    if type(module) is not Linear or module.disable_adapters or module.merged or len(module.active_adapters) != 1:
        return False
    name = module.active_adapters[0]
    known = name in module.lora_A and name not in module.lora_variant
    return known and module.lora_B[name].bias is None and type(module.base_layer) is nn.Linear


def _forward(layer: Any, name: str, hidden_states: Tensor) -> Tensor:
    tokens = hidden_states.flatten(0, -2)
    result = layer.base_layer(tokens)
    low = F.linear(layer.lora_dropout[name](tokens), layer.lora_A[name].weight) * layer.scaling[name]
    result.addmm_(low, layer.lora_B[name].weight.t().to(result.dtype))  # in place: otherwise torch copies the summand
    return result.unflatten(0, hidden_states.shape[:-1])
