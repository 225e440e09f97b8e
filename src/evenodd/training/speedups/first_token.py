"""Computes the last layer for the first token only, because a classifier reads nothing else of it.

Keys and values of the last layer need every token; its query, attention output, residuals and feed-forward part need
only the first one. Logits, gradients and first-token states do not change. This saves ten twelfths of that layer's
matrix products, which is more than a quarter of a three-layer student's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bert.modeling_bert import eager_attention_forward

from evenodd.training.speedups.attention import attention_modules, heads


@contextmanager
def first_token_in_last_layer(model: nn.Module) -> Iterator[bool]:
    """Makes the last layer return (batch, 1, hidden) instead of (batch, tokens, hidden); yields whether it does.

    Models of other families and models that are no sequence classifiers are not changed. Adapters on the layer's
    projections stay in use.

    Args:
        model: changed within the context only; its weights and names do not change.
    """
    attentions = [found for found in attention_modules(model, -1) if "forward" not in vars(found.self)]
    with ExitStack() as stack:
        for attention in attentions:
            stack.enter_context(_on_first_token(attention))
        yield bool(attentions)


@contextmanager
def _on_first_token(attention: Any) -> Iterator[None]:
    def attend(hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> tuple[Tensor, Any]:
        return _attend(attention.self, hidden_states, attention_mask, **kwargs)

    def shorten(module: nn.Module, arguments: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        attended, states = arguments
        return attended, states[:, :1]

    attention.self.forward = attend
    residual = attention.output.register_forward_pre_hook(shorten)
    try:
        yield
    finally:
        residual.remove()
        del attention.self.forward


def _attend(
    module: Any, hidden_states: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """The module's own attention with the first token as the only query: (batch, 1, hidden) and its weights."""
    for name in ("encoder_hidden_states", "past_key_values"):
        kwargs.pop(name, None)
    interface = ALL_ATTENTION_FUNCTIONS.get_interface(module.config._attn_implementation, eager_attention_forward)
    output, weights = interface(
        module,
        heads(module, module.query(hidden_states[:, :1])).transpose(1, 2),
        heads(module, module.key(hidden_states)).transpose(1, 2),
        heads(module, module.value(hidden_states)).transpose(1, 2),
        None if attention_mask is None else attention_mask[..., :1, :],
        dropout=module.dropout.p if module.training else 0.0,
        scaling=module.scaling,
        **kwargs,
    )
    return output.flatten(2), weights
