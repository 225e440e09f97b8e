"""Dropout on a CPU whose masks are stretches of a pool of random elements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name
from transformers import TrainerCallback

LARGEST_POOL = 1 << 22
MASKS = 16
LEAST_MASKS = 2
USES = 64
ALIGNED = 16
DTYPES = (torch.float32, torch.bfloat16)

_torchs_own = F.dropout


class DropoutPool(TrainerCallback):
    """The masks of one fit: for each rate and type, elements that torch's own dropout drew, at most 4 million.

    torch fills a mask from one Mersenne Twister in one thread, which is a fifth of a bfloat16 training step. A mask
    here is a stretch of the pool from a place drawn anew: it costs one random number, and its elements are dropped
    independently of each other and with the probability asked for. Two masks may share elements, at places that have
    nothing to do with each other. A pool is drawn anew in each epoch, and after 64 times as many elements as it holds.
    torch's generator decides pools and places: `torch.manual_seed` and a checkpoint's random state decide the masks as
    they decide torch's.

    Source: a table of random numbers read at random places is that of Salimans et al. 2017, arXiv 1703.03864.
    """

    def __init__(self) -> None:
        self.pools: dict[tuple[float, torch.dtype], Tensor] = {}
        self.used: dict[tuple[float, torch.dtype], int] = {}

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forgets the pools; each is drawn anew when it is next needed, after a checkpoint's random state is back."""
        self.pools, self.used = {}, {}

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Within it, modules and attention functions of every encoder family take their dropout from here.

        They look `torch.nn.functional.dropout` up when they call it. A mode, which torch would ask about every function
        and every attribute of a tensor, costs 1.7 ms a step.
        """
        F.dropout = self.dropout
        try:
            yield
        finally:
            F.dropout = _torchs_own

    def dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        """`torch.nn.functional.dropout`: the same arguments and distribution of a result's elements.

        Tensors on other devices, of other types or of more than two million elements, and evaluation, are torch's.
        """
        ours = training and 0 < p < 1 and not inplace and input.device.type == "cpu" and input.dtype in DTYPES
        if not ours or not 0 < input.numel() <= LARGEST_POOL // LEAST_MASKS:
            return _torchs_own(input, p, training, inplace)
        return input * self.mask(input.numel(), p, input.dtype).view(input.shape)

    def mask(self, count: int, p: float, dtype: torch.dtype) -> Tensor:
        """Elements that are 0 with probability p and 1 / (1 - p) otherwise: (count,), not to be written to."""
        kind = (p, dtype)
        pool = self.pools.get(kind)
        if pool is None or len(pool) < LEAST_MASKS * count or self.used[kind] > USES * len(pool):
            size = min(1 << (MASKS * count - 1).bit_length(), LARGEST_POOL)
            pool = self.pools[kind] = _torchs_own(torch.ones(size, dtype=dtype), p)
            self.used[kind] = 0
        self.used[kind] += count
        start = ALIGNED * int(torch.randint((len(pool) - count) // ALIGNED + 1, ()))
        return pool[start : start + count]
