"""Groups stay together, labels are spread evenly, and the draw depends on rows and seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenodd.rows.split import assign_splits, connect_groups, take_rows

SHARES = (0.7, 0.15, 0.15)


def make_rows(rows: int, groups: int, kinds: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    raw = np.minimum(rng.zipf(1.6, rows), groups) if groups else np.arange(rows)
    labels = rng.choice(kinds, rows, p=np.array([2.0**-kind for kind in range(kinds)]) / (2 - 2.0 ** (1 - kinds)))
    keys = rng.permutation(rows).astype(np.int64) * 7919 - rows
    return labels, np.unique(raw, return_inverse=True)[1], keys


def components(columns: list[list[int]], rows: int) -> list[frozenset[int]]:
    """Sets of linked rows by repeated merging, the slow and plain way."""
    sets = [{row} for row in range(rows)]
    for values in columns:
        for value in {value for value in values if value}:
            linked = {row for row in range(rows) if values[row] == value}
            touching = [known for known in sets if known & linked]
            sets = [known for known in sets if not known & linked] + [set().union(*touching)]
    return sorted((frozenset(known) for known in sets), key=min)


@given(st.integers(0, 12).flatmap(lambda rows: st.lists(st.lists(st.integers(0, 5), min_size=rows, max_size=rows),
                                                         max_size=3).map(lambda columns: (columns, rows))))  # fmt: skip
def test_rows_are_linked_as_a_plain_merge_links_them(case: tuple[list[list[int]], int]) -> None:
    """A link that is missed puts an author's rows into train and test."""
    columns, rows = case
    numbers = connect_groups([np.array(values, dtype=np.int64) for values in columns], rows)
    found = [frozenset(np.flatnonzero(numbers == number).tolist()) for number in range(numbers.max(initial=-1) + 1)]
    assert sorted(found, key=min) == components(columns, rows)


@settings(deadline=None, max_examples=60)
@given(st.integers(30, 400), st.integers(0, 80), st.integers(2, 4), st.integers(0, 2**31 - 1))
def test_no_group_is_in_two_splits(rows: int, groups: int, kinds: int, seed: int) -> None:
    """A divided author makes the test score a memory test."""
    labels, group, keys = make_rows(rows, groups, kinds, seed)
    dealt = assign_splits(labels, group, keys, shares=SHARES, seed=seed)
    assert all(len(np.unique(dealt[group == number])) == 1 for number in np.unique(group))


@pytest.mark.parametrize("groups", [0, 34])
def test_a_label_without_rows_does_not_hold_the_split_up(groups: int) -> None:
    """Its share of nothing is not a number, which dealt out 2^63 groups one by one."""
    labels, group, keys = make_rows(200, groups, 3, 5)
    labels = np.where(labels == 1, 3, labels)
    dealt = assign_splits(labels, group, keys, shares=SHARES, seed=1)
    shares = np.bincount(dealt, minlength=3) / len(dealt)
    assert np.abs(shares - np.array(SHARES)).max() < 0.1
    assert all(len(np.unique(dealt[group == number])) == 1 for number in np.unique(group))


@settings(deadline=None, max_examples=40)
@given(st.integers(200, 600), st.integers(2, 4), st.integers(0, 2**31 - 1))
def test_rows_without_groups_get_the_shares_to_the_row(rows: int, kinds: int, seed: int) -> None:
    """Rounding that always favours train would starve the measuring splits of rare labels."""
    labels, group, keys = make_rows(rows, 0, kinds, seed)
    dealt = assign_splits(labels, group, keys, shares=SHARES, seed=seed)
    for kind in range(kinds):
        counts = np.bincount(dealt[labels == kind], minlength=3)
        assert np.abs(counts - counts.sum() * np.array(SHARES)).max() < 2


@pytest.mark.parametrize("seed", range(5))
def test_shares_of_rows_and_labels_hold_with_authors_of_all_sizes(seed: int) -> None:
    """Metrics of splits with different shares of hate cannot be compared."""
    rng = np.random.default_rng(seed)
    group = np.unique((rng.pareto(1.0, 5000) * 20).astype(int) % 900, return_inverse=True)[1]
    leaning = rng.beta(0.4, 3, group.max() + 1)
    labels = (rng.random(5000) < leaning[group]).astype(int)
    dealt = assign_splits(labels, group, rng.permutation(5000), shares=SHARES, seed=seed)
    shares = np.array([np.bincount(dealt[labels == kind], minlength=3) / (labels == kind).sum() for kind in (0, 1)])
    assert np.abs(shares - SHARES).max() <= 0.02


@pytest.mark.parametrize("kinds", [64, 200])
def test_many_labels_are_split_like_few(kinds: int) -> None:
    """Split times labels goes beyond an 8-bit number, and the data of a bank's 77 intents could not be read."""
    labels = np.repeat(np.arange(kinds), 20)
    dealt = assign_splits(labels, np.arange(len(labels)), np.arange(len(labels)), shares=SHARES, seed=0)
    counts = np.bincount(labels * 3 + dealt).reshape(kinds, 3)
    assert np.abs(counts - 20 * np.array(SHARES)).max() < 2


def test_a_giant_author_goes_to_train() -> None:
    """A test split that is one author measures that author."""
    group = np.where(np.arange(1000) < 120, 0, np.arange(1000) - 119)
    labels = np.arange(1000) % 5 == 0
    for seed in range(6):
        assert assign_splits(labels.astype(int), group, np.arange(1000), shares=SHARES, seed=seed)[0] == 0


def test_the_split_does_not_depend_on_the_order_of_rows() -> None:
    """A file sorted another way must give the same test split."""
    labels, group, keys = make_rows(700, 60, 2, 5)
    dealt = assign_splits(labels, group, keys, shares=SHARES, seed=3)
    order = np.random.default_rng(1).permutation(700)
    renumbered = np.unique(group[order][::-1], return_inverse=True)[1][::-1]
    again = assign_splits(labels[order], renumbered, keys[order], shares=SHARES, seed=3)
    np.testing.assert_array_equal(again, dealt[order])


def test_another_seed_is_another_split_and_the_same_seed_the_same() -> None:
    """`vary_split` would measure nothing if seeds shared a split."""
    labels, group, keys = make_rows(2000, 500, 2, 0)
    first, same, other = (assign_splits(labels, group, keys, shares=SHARES, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert (first == 2).sum() > 0
    assert ((first == 2) & (other == 2)).sum() < 0.7 * (first == 2).sum()


def test_a_hundred_thousand_rows_are_dealt_by_piles() -> None:
    """One group at a time would take minutes on large files; shares must hold there too."""
    rng = np.random.default_rng(0)
    group = np.unique(rng.integers(0, 40_000, 100_000), return_inverse=True)[1]
    labels = (rng.random(100_000) < 0.1).astype(int)
    dealt = assign_splits(labels, group, rng.permutation(100_000), shares=SHARES, seed=0)
    assert np.abs(np.bincount(dealt) / 100_000 - SHARES).max() < 0.002
    assert np.abs(np.bincount(dealt, weights=labels) / labels.sum() - SHARES).max() < 0.005


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 2**31 - 1))
def test_a_limit_takes_exactly_so_many_rows_with_the_shares_of_the_labels(limit: int, seed: int) -> None:
    """A trial run on rows of one label only would fail or mislead."""
    rng = np.random.default_rng(seed)
    strata, keys = (rng.random(250) < 0.2).astype(int), rng.permutation(250).astype(np.int64)
    taken = take_rows(strata, keys, limit)
    assert taken.sum() == min(limit, 250)
    if limit >= 60:
        assert abs(strata[taken].mean() - strata.mean()) < 0.1
        assert strata[taken].sum() >= min(10, strata.sum())


def test_a_limit_takes_the_same_rows_in_any_order() -> None:
    """Paired seeds must share their rows."""
    rng = np.random.default_rng(0)
    strata, keys, order = rng.integers(0, 3, 200), rng.permutation(200).astype(np.int64), rng.permutation(200)
    np.testing.assert_array_equal(take_rows(strata[order], keys[order], 50), take_rows(strata, keys, 50)[order])
