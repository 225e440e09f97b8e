"""Restricts trained word embeddings to the tokens that occur in the rows; the others would not learn anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from evenodd.encoders.encoder import word_embeddings
from evenodd.rows import TokenStore

CHUNK = 1 << 20


@contextmanager
def used_tokens_only(model: PreTrainedModel, stores: Iterable[TokenStore]) -> Iterator[int]:
    """Reduces trained word embeddings to the tokens in the stores; yields the number of remaining embeddings.

    Gradients, their norm and the optimizer then cost no time and no memory for the rest: two thirds of a BERT's table
    on seven thousand forum posts, and nearly all of a multilingual one. The full table is restored when the context
    ends. The omitted embeddings are unchanged, while weight decay would have shrunk them in an optimizer over all.

    Optimizers and checkpoints created within the context use the reduced table, so a fit must be resumed with the same
    stores. Frozen embeddings, and tables that are not an `nn.Embedding`, are not changed.

    Args:
        model: any encoder; token ids that do not occur in the stores raise an IndexError.
        stores: all rows for training and prediction.
    """
    table = word_embeddings(model)
    if not isinstance(table, nn.Embedding) or not table.weight.requires_grad:
        yield getattr(table, "num_embeddings", 0)
        return
    whole, padding = table.weight, table.padding_idx
    used = tokens_of(stores, len(whole), padding)
    places = torch.full((len(whole),), len(used)).scatter_(0, used, torch.arange(len(used)))
    table.weight = nn.Parameter(whole.detach()[used.to(whole.device)])
    table.padding_idx = None if padding is None else int(places[padding])
    hook = table.register_forward_pre_hook(_Lookup(places))
    try:
        yield len(used)
    finally:
        hook.remove()
        with torch.no_grad():
            whole.data = whole.data.to(table.weight.device)
            whole[used.to(whole.device)] = table.weight
        table.weight, table.padding_idx = whole, padding


def tokens_of(stores: Iterable[TokenStore], vocabulary: int, padding: int | None = None) -> Tensor:
    """Token ids that occur in the stores, including their padding ids, ascending: int64, (used,)."""
    seen = np.zeros(vocabulary, dtype=bool)
    seen[[] if padding is None else [padding]] = True
    for store in stores:
        seen[store.pad_token_id] = True
        for start in range(0, len(store.flat), CHUNK):
            seen[store.flat[start : start + CHUNK]] = True
    return torch.from_numpy(np.flatnonzero(seen))


class _Lookup:
    """A forward pre-hook that maps token ids to rows of the reduced table."""

    def __init__(self, places: Tensor) -> None:
        self.places = places

    def __call__(self, table: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        self.places = self.places.to(given[0].device)
        return (self.places[given[0]], *given[1:])
