"""Batches by token budget: rows of one length together, so that almost nothing is padding."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np
from torch.utils.data import Sampler


class TokenBudgetSampler(Sampler[list[int]]):
    """Batches of row positions whose padded size stays within a budget of tokens.

    Rows are sorted by length, ties in a new random order each epoch; batches are cut from that order and then
    shuffled. Where the cuts fall depends on the lengths alone, so every epoch has the same number of batches and
    every row of an epoch comes once in it.

    Args:
        lengths: int, (rows,), tokens of each row.
        turns: int, (rows,): of rows that stand in every n-th epoch only, in which one, from 0; -1: in every epoch. As
            many rows in each turn. None: all rows stand in every epoch.
        token_budget: rows times the longest row's tokens, at most (a single longer row is a batch of its own).
        max_rows: rows of a batch, at most.
        min_rows: rows of a batch, at least (where there are so many), whatever the budget: one for each process.
        passes: over the rows in one epoch; with `turns`, each takes the next turn.
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
        passes: int = 1,
        seed: int = 0,
        shuffle: bool = True,
        turns: np.ndarray | None = None,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.turns = None if turns is None else np.asarray(turns)
        self.seed, self.epoch, self.shuffle, self.passes = seed, 0, shuffle, passes
        self.cycle = 1 if self.turns is None else int(self.turns.max(initial=0)) + 1
        by_turn = [np.sort(self.lengths[self.rows_of(turn)]) for turn in range(self.cycle)]
        if len({len(ordered) for ordered in by_turn}) > 1:
            raise ValueError(f"turns of {[len(ordered) for ordered in by_turn]} rows: every epoch has as many.")
        self.tokens = sum(int(ordered.sum()) for ordered in by_turn) / self.cycle
        self.ordered = reduce(np.maximum, by_turn)
        self.starts = cut_batches(self.ordered, token_budget, max_rows, min_rows)

    def rows_of(self, number: int) -> np.ndarray:
        """Positions of the rows that a pass holds, counted from 0 over all epochs, ascending: int32, (rows,)."""
        if self.turns is None:
            return np.arange(len(self.lengths), dtype=np.int32)
        return np.flatnonzero((self.turns < 0) | (self.turns == number % self.cycle)).astype(np.int32)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of an epoch; the same epoch gives the same batches."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.starts) * self.passes

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self.epoch * self.passes, (self.epoch + 1) * self.passes):
            yield from self._pass(number)

    def _pass(self, number: int) -> Iterator[list[int]]:
        random = np.random.default_rng((self.seed, number))
        order = self._order(random, number)
        ends = np.append(self.starts[1:], len(order))
        batches = random.permutation(len(self.starts)) if self.shuffle else np.arange(len(self.starts))
        for batch in batches:
            yield order[self.starts[batch] : ends[batch]].tolist()

    def _order(self, random: np.random.Generator, number: int) -> np.ndarray:
        """Positions of the rows of a pass, shortest first: int32, (rows,)."""
        rows = self.rows_of(number)
        if self.shuffle:
            random.shuffle(rows)
        return rows[np.argsort(self.lengths[rows], kind="stable")]

    @property
    def mean_rows(self) -> float:
        """Rows of a batch on average."""
        return len(self.ordered) / max(len(self.starts), 1)

    @property
    def mean_tokens(self) -> float:
        """Tokens of a row on average, over a whole cycle of epochs."""
        return self.tokens / max(len(self.ordered), 1)

    @property
    def padding_share(self) -> float:
        """Share of a batch's tokens that are padding, over an epoch."""
        ends = np.append(self.starts[1:], len(self.ordered))
        padded = int(np.sum((ends - self.starts) * self.ordered[ends - 1]))
        return 1 - self.mean_tokens * len(self.ordered) / padded if padded else 0.0


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
