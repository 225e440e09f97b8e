"""Dropout on a CPU with masks cut from a pool of random elements."""

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
    """The masks of one fit: for each rate and type, a pool of at most 4 million elements drawn by torch's dropout.

    torch fills a mask from one Mersenne Twister in one thread, which takes a fifth of a bfloat16 training step. Here a
    mask is a slice of the pool at a random offset: it costs one random number, and its elements are dropped
    independently of each other with the given probability. Two masks may share elements, at unrelated positions.
    A pool is drawn again in each epoch, and after 64 times its number of elements was used. torch's generator draws the
    pools and offsets, so `torch.manual_seed` and a checkpoint's random state determine the masks as they do torch's.

    Source: Salimans et al. 2017, arXiv 1703.03864, read a table of random numbers at random positions.
    """

    def __init__(self) -> None:
        self.pools: dict[tuple[float, torch.dtype], Tensor] = {}
        self.used: dict[tuple[float, torch.dtype], int] = {}

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Clears the pools; each is drawn again on its next use, after a checkpoint's random state was restored."""
        self.pools, self.used = {}, {}

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Within it, modules and attention functions of every encoder family use this dropout.

        They look up `torch.nn.functional.dropout` at each call. A torch function mode, which intercepts every function
        and tensor attribute, would cost 1.7 ms per step.
        """
        F.dropout = self.dropout
        try:
            yield
        finally:
            F.dropout = _torchs_own

    def dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        """Replaces `torch.nn.functional.dropout` with the same arguments and the same distribution of elements.

        torch's own function handles tensors on other devices, of other types or with more than two million elements,
        and evaluation.
        """
        ours = training and 0 < p < 1 and not inplace and input.device.type == "cpu" and input.dtype in DTYPES
        if not ours or not 0 < input.numel() <= LARGEST_POOL // LEAST_MASKS:
            return _torchs_own(input, p, training, inplace)
        return input * self.mask(input.numel(), p, input.dtype).view(input.shape)

    def mask(self, count: int, p: float, dtype: torch.dtype) -> Tensor:
        """Elements that are 0 with probability p and 1 / (1 - p) otherwise: (count,), read-only."""
        kind = (p, dtype)
        pool = self.pools.get(kind)
        if pool is None or len(pool) < LEAST_MASKS * count or self.used[kind] > USES * len(pool):
            size = min(1 << (MASKS * count - 1).bit_length(), LARGEST_POOL)
            pool = self.pools[kind] = _torchs_own(torch.ones(size, dtype=dtype), p)
            self.used[kind] = 0
        self.used[kind] += count
        start = ALIGNED * int(torch.randint((len(pool) - count) // ALIGNED + 1, ()))
        return pool[start : start + count]
