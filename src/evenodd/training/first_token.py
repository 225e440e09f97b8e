"""The last layer's work on the first token alone, which is all that a classifier reads of it.

Keys and values of the last layer need every token; its query, attention output, residuals and feed-forward part need
the first one. Logits, gradients and first-token states stay what they are, and ten twelfths of that layer's matrix
products go: more than a quarter of a three-layer student's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from peft import PeftModel
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bert.modeling_bert import eager_attention_forward

FAMILIES = ("bert", "roberta", "xlm-roberta", "electra")
"""`config.model_type` of encoders whose layers are laid out as BERT's and whose heads read the first token."""


@contextmanager
def first_token_in_last_layer(model: nn.Module) -> Iterator[bool]:
    """Within it, the last layer gives (batch, 1, hidden) and not (batch, tokens, hidden); whether it does.

    Models of other families, and what is no sequence classifier, run as they are. Adapters on the layer's projections
    stay in use.

    Args:
        model: changed within the context only; its weights and names are not touched.
    """
    attentions = _last_attentions(model)
    with ExitStack() as stack:
        for attention in attentions:
            stack.enter_context(_on_first_token(attention))
        yield bool(attentions)


def _last_attentions(model: Any) -> list[Any]:
    """Attention modules of the last layer that still compute all tokens; several where adapters keep a copy of it."""
    classifier = model.get_base_model() if isinstance(model, PeftModel) else model
    config: Any = getattr(classifier, "config", None)
    named = type(classifier).__name__
    if config is None or config.model_type not in FAMILIES or not named.endswith("ForSequenceClassification"):
        return []
    place = re.compile(rf"\.encoder\.layer\.{config.num_hidden_layers - 1}\.(.*\.)?attention$")
    layer = [module for name, module in model.named_modules() if place.search(f".{name}")]
    found = [module for module in layer if hasattr(module, "self")]
    return [module for module in found if "forward" not in vars(module.self)]


@contextmanager
def _on_first_token(attention: Any) -> Iterator[None]:
    def attend(hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> tuple[Tensor, Any]:
        return _attend(attention.self, hidden_states, attention_mask, **kwargs)

    def shorten(module: nn.Module, arguments: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return arguments[0], arguments[1][:, :1]

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
        _heads(module, module.query(hidden_states[:, :1])),
        _heads(module, module.key(hidden_states)),
        _heads(module, module.value(hidden_states)),
        None if attention_mask is None else attention_mask[..., :1, :],
        dropout=module.dropout.p if module.training else 0.0,
        scaling=module.scaling,
        **kwargs,
    )
    return output.flatten(2), weights


def _heads(module: Any, projected: Tensor) -> Tensor:
    """(batch, tokens, hidden) to (batch, heads, tokens, hidden of a head)."""
    return projected.unflatten(2, (-1, module.attention_head_size)).transpose(1, 2)
