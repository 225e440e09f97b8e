"""Packed batches: rows one after another, no padding, and attention within each row by a kernel that takes offsets.

Everything else in an encoder works on tokens one by one and needs to know nothing of rows. On a GPU torch's fused
attention takes nested tensors; on a CPU it goes through them row by row, which is right and slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nested import nested_tensor_from_jagged
from torch.nn import functional as F  # noqa: N812 - the field's name
from transformers import PreTrainedModel

from evenodd.rows import TokenStore
from evenodd.training.speedups.attention import FAMILIES, attention_modules, heads


@dataclass(frozen=True)
class Packing:
    """Where the rows of a packed batch are.

    Attributes:
        offsets: int64, (rows + 1,): first token of each row, and how many tokens there are.
        shortest, longest: tokens of a row; the host knows them, so that no kernel has to ask a GPU.
    """

    offsets: Tensor
    shortest: int
    longest: int

    def to(self, device: torch.device, non_blocking: bool = False) -> Packing:
        """The same where the tokens are."""
        return replace(self, offsets=self.offsets.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Packing:
        """The same in memory that a GPU copies from while the host goes on."""
        return replace(self, offsets=self.offsets.pin_memory())

    def first_tokens(self, states: Tensor) -> Tensor:
        """Of (1, tokens, hidden): (rows, 1, hidden)."""
        return states[0, self.offsets[:-1]].unsqueeze(1)


def check_packable(model: nn.Module, takes_packed: bool) -> None:
    """Refuses what needs padded batches.

    Args:
        model: whose tokens are to be laid one after another.
        takes_packed: of the objective.

    Raises:
        ValueError: another family or kernel, or an objective that reads all tokens or runs a teacher.
    """
    config: Any = model.config
    if config.model_type not in FAMILIES or config._attn_implementation != "sdpa":
        kind = f"{config.model_type} with {config._attn_implementation} attention"
        raise ValueError(f"train.packed=true: not with {kind}; with bert, roberta and electra on a GPU. Leave it out.")
    if not takes_packed:
        raise ValueError(
            "train.packed=true: a live teacher, or terms that read all tokens, need padded batches. Leave it out."
        )


def pack(store: TokenStore, rows: np.ndarray, model: PreTrainedModel) -> dict[str, Any]:
    """Rows one after another, as the model takes them.

    Args:
        store: token ids.
        rows: int, (batch,), positions in it.
        model: which gives the first token its first position: RoBERTa's families leave some out.

    Returns:
        `input_ids` and `position_ids`, int64, (1, tokens), and `packing`.
    """
    ids, lengths = store.joined(rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    config: Any = model.config
    first = config.pad_token_id + 1 if "roberta" in config.model_type else 0
    positions = np.arange(len(ids)) - np.repeat(offsets[:-1], lengths) + first
    return {
        "input_ids": torch.from_numpy(ids.astype(np.int64))[None],
        "position_ids": torch.from_numpy(positions)[None],
        "packing": Packing(torch.from_numpy(offsets), int(lengths.min()), int(lengths.max())),
    }


@contextmanager
def packed_attention(model: Any) -> Iterator[None]:
    """Within it, a model that is called with `packing` attends within each row; padded batches run as before.

    The last layer is that of `first_token_in_last_layer`, which has to surround this.
    """
    depth = model.config.num_hidden_layers
    modules = [found.self for layer in range(depth - 1) for found in attention_modules(model, layer)]
    for module in modules:
        module.forward = _Attention(module)
    try:
        yield
    finally:
        for module in modules:
            del module.forward


class _Attention:
    """A self-attention module's `forward`: its own, unless the batch is packed."""

    def __init__(self, module: Any) -> None:
        self.module, self.padded = module, module.forward

    def __call__(self, hidden_states: Tensor, *padded: Any, packing: Packing | None = None, **kwargs: Any) -> Any:
        if packing is None:
            return self.padded(hidden_states, *padded, **kwargs)
        return attend_packed(self.module, hidden_states, packing), None


def attend_packed(module: Any, hidden_states: Tensor, packing: Packing) -> Tensor:
    """A self-attention module's output for rows one after another: (1, tokens, hidden) to the same.

    Args:
        module: with `query`, `key` and `value`, plain or under adapters.
        hidden_states: float, (1, tokens, hidden).
        packing: where the rows are.
    """
    projected = (project(hidden_states[0]) for project in (module.query, module.key, module.value))
    query, key, value = (_nested(heads(module, states), packing) for states in projected)
    dropout = module.dropout.p if module.training else 0.0
    output = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=module.scaling)
    return output.transpose(1, 2).values().flatten(1)[None]


def _nested(states: Tensor, packing: Packing) -> Tensor:
    """(tokens, heads, size) to (rows, heads, tokens of the row, size)."""
    nested = nested_tensor_from_jagged(states, packing.offsets, min_seqlen=packing.shortest, max_seqlen=packing.longest)
    return nested.transpose(1, 2)
