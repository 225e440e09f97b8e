"""Batches by token budget."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenodd.training.batches import TokenBudgetSampler, cut_batches

LENGTHS = st.lists(st.integers(1, 128), min_size=1, max_size=200)


def sampler(lengths: list[int] | np.ndarray, **about: int | bool) -> TokenBudgetSampler:
    return TokenBudgetSampler(np.asarray(lengths), **({"token_budget": 256, "max_rows": 16} | about))


@settings(deadline=None)
@given(LENGTHS, st.integers(0, 5), st.integers(0, 3), st.booleans())
def test_every_row_comes_once_in_an_epoch(lengths: list[int], seed: int, epoch: int, shuffle: bool) -> None:
    """A row left out or repeated would change what `epochs` means."""
    batches = sampler(lengths, seed=seed, shuffle=shuffle)
    batches.set_epoch(epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 400), st.integers(1, 20))
def test_no_batch_is_over_budget(lengths: list[int], budget: int, rows: int) -> None:
    """The budget is what bounds memory; only a row that is longer by itself may pass it."""
    numbers = np.asarray(lengths)
    for batch in sampler(lengths, token_budget=budget, max_rows=rows):
        assert 1 <= len(batch) <= rows
        assert len(batch) == 1 or len(batch) * numbers[batch].max() <= budget


@settings(deadline=None)
@given(LENGTHS)
def test_every_epoch_has_as_many_batches(lengths: list[int]) -> None:
    """The schedule and the way on from a checkpoint count on it."""
    batches = sampler(lengths)
    counts = set()
    for epoch in range(3):
        batches.set_epoch(epoch)
        counts.add(len(list(batches)))
    assert counts == {len(batches)}
    assert batches.mean_rows == pytest.approx(len(lengths) / len(batches))


@settings(deadline=None)
@given(st.lists(st.integers(3, 100), min_size=6, max_size=60), st.integers(2, 4), st.integers(100, 300))
def test_rows_that_take_turns_stand_in_one_epoch_of_each_cycle(lengths: list[int], cycle: int, budget: int) -> None:
    """A row in every epoch, or in none, would weigh more or less than `augment_rows` states."""
    turns = np.full(len(lengths), -1)
    added = np.arange(len(lengths) - len(lengths) // 2 // cycle * cycle, len(lengths))
    turns[added] = np.arange(len(added)) % cycle
    batches = sampler(lengths, token_budget=budget, turns=turns)
    counts = np.zeros(len(lengths), dtype=int)
    for epoch in range(2 * cycle):
        batches.set_epoch(epoch)
        found = list(batches)
        assert len(found) == len(batches)
        assert all(len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget for batch in found)
        rows = [row for batch in found for row in batch]
        assert len(rows) == len(set(rows))
        counts[rows] += 1
    assert set(counts[turns < 0]) == {2 * cycle}
    assert set(counts[added]) <= {2}


def test_turns_of_unequal_size_are_refused() -> None:
    """Epochs of different lengths would break the schedule of the learning rate."""
    with pytest.raises(ValueError, match=r"turns of \[2, 1\] rows"):
        sampler([5, 5, 5], turns=np.array([0, 0, 1]))


@settings(deadline=None)
@given(LENGTHS, st.integers(30, 300), st.integers(1, 30))
def test_a_batch_ends_because_the_next_row_does_not_fit(lengths: list[int], budget: int, rows: int) -> None:
    """Batches cut too early waste the machine."""
    ordered = np.sort(np.asarray(lengths))
    for start, end in itertools.pairwise(cut_batches(ordered, budget, rows).tolist()):
        assert end - start == rows or (end + 1 - start) * ordered[end] > budget


def test_seed_and_epoch_decide_the_batches() -> None:
    """A fit that goes on must see what the uninterrupted one would have seen."""
    lengths = np.random.default_rng(0).integers(4, 60, 300)

    def batches(seed: int, epoch: int) -> list[list[int]]:
        found = sampler(lengths, seed=seed)
        found.set_epoch(epoch)
        return list(found)

    assert batches(1, 2) == batches(1, 2)
    assert batches(1, 2) != batches(1, 3)
    assert batches(1, 2) != batches(2, 2)


def test_neighbours_change_between_epochs() -> None:
    """The same rows together in every epoch would be the same gradients in another order."""
    batches = sampler(np.repeat([5, 9, 14], 100))
    first = {frozenset(batch) for batch in batches}
    batches.set_epoch(1)
    assert len(first & {frozenset(batch) for batch in batches}) <= 1


def test_batches_of_one_length_are_not_in_order_of_length() -> None:
    """Shortest first would be a curriculum that nobody asked for."""
    lengths = np.random.default_rng(0).integers(4, 60, 300)
    firsts = [lengths[batch[0]] for batch in sampler(lengths)]
    assert abs(np.corrcoef(np.arange(len(firsts)), firsts)[0, 1]) < 0.5


def test_padding_is_small_and_reported_correctly() -> None:
    """Lengths as in real texts; random batches would be padded by half."""
    lengths = np.random.default_rng(0).gamma(2.0, 12.0, 2000).astype(int).clip(3, 128)
    batches = sampler(lengths, token_budget=1024, max_rows=64)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert batches.padding_share == pytest.approx(1 - lengths.sum() / padded)
    assert batches.padding_share < 0.05


def test_unshuffled_batches_are_sorted() -> None:
    """Scoring goes from short to long, so that memory grows slowly and progress can be foretold."""
    lengths = np.array([9, 3, 7, 3, 8])
    assert list(sampler(lengths, max_rows=2, shuffle=False)) == [[1, 3], [2, 4], [0]]
