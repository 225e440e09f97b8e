"""Batches by token budget: rows of similar length together, so that there is almost no padding."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np
from torch.utils.data import Sampler


class TokenBudgetSampler(Sampler[list[int]]):
    """Batches of row positions whose padded size stays within a budget of tokens.

    Rows are sorted by length, with ties in a new random order in each epoch; batches are cut from that order and then
    shuffled. The cuts depend only on the lengths, so every epoch has the same number of batches and every row of an
    epoch occurs in it once.

    Args:
        lengths: int, (rows,), tokens of each row.
        turns: int, (rows,): for rows in every n-th epoch only, the epoch, from 0; -1: in every epoch. Each turn has the
            same number of rows. None: all rows are in every epoch.
        token_budget: maximum of rows times the longest row's tokens (a single longer row is its own batch).
        max_rows: maximum rows of a batch.
        min_rows: minimum rows of a batch (if there are as many), for any budget: one per process.
        passes: number of passes over the rows in one epoch; with `turns`, each uses the next turn.
        seed: with the epoch, determines the order of ties and batches.
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
            raise ValueError(
                f"turns of {[len(ordered) for ordered in by_turn]} rows: every turn must have the same number."
            )
        self.tokens = sum(int(ordered.sum()) for ordered in by_turn) / self.cycle
        self.ordered = reduce(np.maximum, by_turn)
        self.starts = cut_batches(self.ordered, token_budget, max_rows, min_rows)

    def rows_of(self, number: int) -> np.ndarray:
        """Positions of the rows of a pass (counted from 0 over all epochs), ascending: int32, (rows,)."""
        if self.turns is None:
            return np.arange(len(self.lengths), dtype=np.int32)
        return np.flatnonzero((self.turns < 0) | (self.turns == number % self.cycle)).astype(np.int32)

    def set_epoch(self, epoch: int) -> None:
        """Selects the order of an epoch; the same epoch gives the same batches."""
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
        """Mean number of rows of a batch."""
        return len(self.ordered) / max(len(self.starts), 1)

    @property
    def mean_tokens(self) -> float:
        """Mean number of tokens of a row, over a whole cycle of epochs."""
        return self.tokens / max(len(self.ordered), 1)

    @property
    def padding_share(self) -> float:
        """Share of padding tokens, over an epoch."""
        ends = np.append(self.starts[1:], len(self.ordered))
        padded = int(np.sum((ends - self.starts) * self.ordered[ends - 1]))
        return 1 - self.mean_tokens * len(self.ordered) / padded if padded else 0.0


def cut_batches(ordered: np.ndarray, token_budget: int, max_rows: int, min_rows: int = 1) -> np.ndarray:
    """Start positions of the batches in rows sorted by length: int64, (batches,)."""
    starts, start, count = [], 0, len(ordered)
    while start < count:
        starts.append(start)
        following = ordered[start : start + max_rows]
        padded = np.arange(1, len(following) + 1) * following
        start += max(int(np.searchsorted(padded, token_budget, side="right")), min_rows)
    if len(starts) > 1 and count - starts[-1] < min_rows:
        starts.pop()
    return np.asarray(starts, dtype=np.int64)
