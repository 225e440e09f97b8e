"""What makes a fit faster and leaves its result as it is: one file each, applied by `fit` from one list."""

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
    """Within it, the model is trained and scored with all of them; afterwards it is as it was.

    Args:
        model: changed within the context only.
        stores: of the rows that are trained on and scored.
        dropout: the pool of masks; it has to follow the fit as a callback as well.
        all_tokens: whether a term of the loss reads more of the last layer than its first token.
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
    """The last layer on the first token, unless the objective compares the others too."""
    return nullcontext() if all_tokens else first_token_in_last_layer(model)
