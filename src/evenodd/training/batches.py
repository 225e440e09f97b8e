"""Batches by token budget: rows of one length together, so that almost nothing is padding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class TokenBudgetSampler(Sampler[list[int]]):
    """Batches of row positions whose padded size stays within a budget of tokens.

    Rows are sorted by length, ties in a new random order each epoch; batches are cut from that order and then
    shuffled. Where the cuts fall depends on the lengths alone, so every epoch has the same number of batches and
    every row comes once in each.

    Args:
        lengths: int, (rows,), tokens of each row.
        token_budget: rows times the longest row's tokens, at most (a single longer row is a batch of its own).
        max_rows: rows of a batch, at most.
        min_rows: rows of a batch, at least (where there are so many), whatever the budget: one for each process.
        seed: order of ties and batches, together with the epoch.
        shuffle: False: shortest first, rows in their own order.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        *,
        token_budget: int,
        max_rows: int,
        min_rows: int = 1,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.seed, self.epoch, self.shuffle = seed, 0, shuffle
        self.starts = cut_batches(np.sort(self.lengths), token_budget, max_rows, min_rows)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of an epoch; the same epoch gives the same batches."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng((self.seed, self.epoch))
        rows = random.permutation(len(self.lengths)) if self.shuffle else np.arange(len(self.lengths))
        order = rows[np.argsort(self.lengths[rows], kind="stable")]
        ends = np.append(self.starts[1:], len(order))
        batches = random.permutation(len(self.starts)) if self.shuffle else np.arange(len(self.starts))
        for batch in batches:
            yield order[self.starts[batch] : ends[batch]].tolist()

    @property
    def mean_rows(self) -> float:
        """Rows of a batch on average."""
        return len(self.lengths) / max(len(self), 1)

    @property
    def padding_share(self) -> float:
        """Share of a batch's tokens that are padding, over an epoch."""
        ordered = np.sort(self.lengths)
        ends = np.append(self.starts[1:], len(ordered))
        padded = int(np.sum((ends - self.starts) * ordered[ends - 1]))
        return 1 - float(ordered.sum()) / padded if padded else 0.0


def cut_batches(ordered: np.ndarray, token_budget: int, max_rows: int, min_rows: int = 1) -> np.ndarray:
    """First positions of the batches of rows in ascending order of length: int64, (batches,)."""
    starts, start, count = [], 0, len(ordered)
    while start < count:
        starts.append(start)
        following = ordered[start : start + max_rows]
        padded = np.arange(1, len(following) + 1) * following
        start += max(int(np.searchsorted(padded, token_budget, side="right")), min_rows)
    if len(starts) > 1 and count - starts[-1] < min_rows:
        starts.pop()
    return np.asarray(starts, dtype=np.int64)
