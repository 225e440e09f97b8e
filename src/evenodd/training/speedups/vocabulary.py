"""Word embeddings of the tokens that occur, and of no others: the part of the table that a fit can teach anything."""

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
    """Within it, a trained table of word embeddings holds the rows of the stores' tokens alone; how many it holds.

    Gradients, their norm and the optimizer then take no time and no memory for the rest: two thirds of a BERT's table
    on seven thousand forum posts, and nearly all of a multilingual one. Afterwards the table is whole again. The rows
    that were left out are as before, while an optimizer over all of them would have let weight decay shrink them.

    Optimizers and checkpoints made within it know the short table, so a fit is gone on from with the same stores. A
    table that is frozen, or not an `nn.Embedding`, stays as it is.

    Args:
        model: any encoder; token ids that no store holds raise an IndexError.
        stores: of the rows that are trained on and predicted.
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
    """Token ids that occur in the stores, those that they pad with among them, ascending: int64, (used,)."""
    seen = np.zeros(vocabulary, dtype=bool)
    seen[[] if padding is None else [padding]] = True
    for store in stores:
        seen[store.pad_token_id] = True
        for start in range(0, len(store.flat), CHUNK):
            seen[store.flat[start : start + CHUNK]] = True
    return torch.from_numpy(np.flatnonzero(seen))


class _Lookup:
    """A forward pre-hook that turns token ids into rows of the short table."""

    def __init__(self, places: Tensor) -> None:
        self.places = places

    def __call__(self, table: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        self.places = self.places.to(given[0].device)
        return (self.places[given[0]], *given[1:])
