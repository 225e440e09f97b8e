"""Training speed-ups that do not change the result: one file each, applied by `fit` from one list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from transformers import PreTrainedModel

from evenodd.rows import TokenStore
from evenodd.training.speedups.adapters import lean_adapters
from evenodd.training.speedups.dropout import DropoutPool
from evenodd.training.speedups.first_token import first_token_in_last_layer
from evenodd.training.speedups.memory import freed_memory_kept
from evenodd.training.speedups.vocabulary import used_tokens_only


@contextmanager
def apply_speedups(
    model: PreTrainedModel, stores: Sequence[TokenStore], dropout: DropoutPool, *, all_tokens: bool
) -> Iterator[None]:
    """Applies all speed-ups to a model while it is trained and scored, and reverts them afterwards.

    Args:
        model: changed within the context only.
        stores: all rows for training and scoring.
        dropout: the pool of masks; it must be registered as a callback of the fit too.
        all_tokens: whether a term of the loss needs more of the last layer than its first token.
    """
    speedups: list[AbstractContextManager[object]] = [
        used_tokens_only(model, stores),
        needed_tokens(model, all_tokens=all_tokens),
        lean_adapters(model),
        dropout.in_use(),
        freed_memory_kept(),
    ]
    with ExitStack() as stack:
        for speedup in speedups:
            stack.enter_context(speedup)
        yield


def needed_tokens(model: PreTrainedModel, *, all_tokens: bool) -> AbstractContextManager[object]:
    """Computes the last layer for the first token only, unless the objective needs all tokens."""
    return nullcontext() if all_tokens else first_token_in_last_layer(model)
