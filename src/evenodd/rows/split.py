"""Splits into train, validation and test that do not divide groups of rows and spread labels as evenly as possible."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

DRAWS = 8
TOLERANCE = 0.01
LARGEST_IN_TEST = 0.25
STRATUM_FLOOR = 10


def connect_groups(columns: Iterable[np.ndarray], rows: int) -> np.ndarray:
    """Numbers the sets of rows that are linked by shared values of any column.

    Args:
        columns: int64 keys, (rows,) each, 0 for missing values.
        rows: number of rows.

    Returns:
        int32, (rows,), numbers from 0 without gaps. A row without any value is a group of its own.
    """
    node = np.full(rows, -1, dtype=np.int32)
    links: list[tuple[np.ndarray, np.ndarray]] = []
    nodes = 0
    for values in columns:
        there = np.flatnonzero(values)
        unique, codes = np.unique(values[there], return_inverse=True)
        other = (codes + nodes).astype(np.int32)
        linked = node[there] >= 0
        links.append((node[there][linked], other[linked]))
        node[there[~linked]] = other[~linked]
        nodes += len(unique)
    alone = np.flatnonzero(node < 0)
    node[alone] = np.arange(nodes, nodes + len(alone), dtype=np.int32)
    return renumber(_components(links, nodes + len(alone))[node])


def _components(links: Sequence[tuple[np.ndarray, np.ndarray]], nodes: int) -> np.ndarray:
    """Connected component of each node; nodes are values, which are fewer than rows."""
    sources = np.concatenate([np.empty(0, np.int32), *(source for source, _ in links)])
    targets = np.concatenate([np.empty(0, np.int32), *(target for _, target in links)])
    if not len(sources):
        return np.arange(nodes, dtype=np.int32)
    graph = coo_matrix((np.ones(len(sources), np.float32), (sources, targets)), shape=(nodes, nodes))
    return connected_components(graph, directed=False)[1]


def renumber(numbers: np.ndarray) -> np.ndarray:
    """Renumbers from 0 without gaps: int32, (rows,)."""
    seen = np.zeros(int(numbers.max(initial=-1)) + 1, dtype=bool)
    seen[numbers] = True
    return (np.cumsum(seen, dtype=np.int32) - 1)[numbers]


def mix(keys: np.ndarray, seed: int) -> np.ndarray:
    """Pseudo-random uint64 of each key and the seed (SplitMix64): an order independent of the order of rows."""
    with np.errstate(over="ignore"):
        value = keys.astype(np.uint64)
        value += np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
        value ^= value >> np.uint64(30)
        value *= np.uint64(0xBF58476D1CE4E5B9)
        value ^= value >> np.uint64(27)
        value *= np.uint64(0x94D049BB133111EB)
        value ^= value >> np.uint64(31)
        return value


def assign_splits(
    labels: np.ndarray, groups: np.ndarray, keys: np.ndarray, *, shares: Sequence[float], seed: int
) -> np.ndarray:
    """Assigns groups to splits so that every split has about its share of each label.

    Large groups are assigned first, at random among the splits that have room for them; small groups fill the rest. Of
    a few draws, the first one within a hundredth of the shares is used, otherwise the best one. The result depends on
    the rows and the seed, not on the order of rows.

    Args:
        labels: int, (rows,), from 0.
        groups: int, (rows,), numbers from 0 without gaps.
        keys: int64, (rows,), different for each row.
        shares: share of the rows for each split; they sum to 1.
        seed: random seed.

    Returns:
        int8, (rows,), indices in `shares`.
    """
    best, best_error = np.zeros(len(labels), np.int8), np.inf
    wanted = np.asarray(shares, dtype=np.float64)
    deck = _Deck(labels, groups, keys)
    for draw in range(DRAWS):
        dealt = deck.deal(wanted, seed * DRAWS + draw)
        error = _error(dealt, labels, wanted)
        if error < best_error:
            best, best_error = dealt, error
        if error <= TOLERANCE:
            break
    return best


def _error(dealt: np.ndarray, labels: np.ndarray, wanted: np.ndarray) -> float:
    """Largest deviation from a share, over all rows and the rows of each label; worst if a split lacks a label."""
    kinds = int(labels.max()) + 1
    counts = np.bincount(labels * len(wanted) + dealt, minlength=kinds * len(wanted)).reshape(kinds, len(wanted)).T
    if (counts == 0).any():
        return 1.0 + float((counts == 0).sum())
    shares = counts / counts.sum(axis=0)
    of_all = counts.sum(axis=1) / counts.sum()
    return float(max(np.abs(shares - wanted[:, None]).max(), np.abs(of_all - wanted).max()))


class _Deck:
    """Groups sorted into piles with the same number of rows of each label."""

    def __init__(self, labels: np.ndarray, groups: np.ndarray, keys: np.ndarray) -> None:
        self.groups, self.size = groups, int(groups.max()) + 1
        self.kinds = int(labels.max()) + 1
        self.totals = np.bincount(labels, minlength=self.kinds).astype(np.float64)
        self.occurring = np.maximum(self.totals, 1)  # a divisor, also for labels without rows
        self.piles = self._piles(labels)
        self.first_key = np.full(self.size, np.iinfo(np.int64).max)
        np.minimum.at(self.first_key, groups, keys)

    def _piles(self, labels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows of each label in a group of the pile, and the pile's groups; largest groups first."""
        sizes = np.bincount(self.groups, minlength=self.size)
        piles = self._singles(labels, sizes) + self._larger(labels, sizes)
        return sorted(piles, key=lambda pile: (-pile[0].sum(), pile[0].tolist()))

    def _singles(self, labels: np.ndarray, sizes: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        alone = (sizes == 1)[self.groups]
        eye = np.eye(self.kinds, dtype=np.int64)
        piles = [(eye[kind], self.groups[alone & (labels == kind)]) for kind in range(self.kinds)]
        return [pile for pile in piles if len(pile[1])]

    def _larger(self, labels: np.ndarray, sizes: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        members = np.flatnonzero(sizes > 1)
        if not len(members):
            return []
        place = np.full(self.size, -1)
        place[members] = np.arange(len(members))
        inside = place[self.groups] >= 0
        cells = place[self.groups[inside]] * self.kinds + labels[inside]
        counts = np.bincount(cells, minlength=len(members) * self.kinds).reshape(-1, self.kinds)
        kinds, pile_of = np.unique(counts, axis=0, return_inverse=True)
        order = np.argsort(pile_of, kind="stable")
        ends = np.cumsum(np.bincount(pile_of))[:-1]
        return list(zip(kinds, np.split(members[order], ends), strict=True))

    def deal(self, wanted: np.ndarray, seed: int) -> np.ndarray:
        """One draw: the split of each row, int8."""
        target = wanted[:, None] * self.totals
        need, room = target.copy(), LARGEST_IN_TEST * target.sum(axis=1)
        room[int(np.argmax(wanted))] = np.inf
        split_of = np.empty(self.size, np.int8)
        rng = np.random.default_rng(seed)
        for counts, members in self.piles:
            shuffled = members[np.argsort(mix(self.first_key[members], seed), kind="stable")]
            dealt = self._deal_pile(counts, len(members), need, room, rng)
            split_of[shuffled] = np.repeat(np.arange(len(wanted), dtype=np.int8), dealt)
        return split_of[self.groups]

    def _deal_pile(
        self, counts: np.ndarray, many: int, need: np.ndarray, room: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Number of a pile's groups for each split; updates `need`."""
        dealt = np.zeros(len(need), dtype=np.int64)
        if many > len(need):
            weights = np.where(counts.sum() <= room, np.maximum((need * (counts / self.occurring)).sum(axis=1), 0), 0)
            dealt += np.floor(many * weights / max(weights.sum(), 1e-12) * (1 - 1e-12)).astype(np.int64)
            need -= dealt[:, None] * counts
        for _ in range(many - int(dealt.sum())):
            split = self._draw(counts, need, room, rng)
            dealt[split] += 1
            need[split] -= counts
        return dealt

    def _draw(self, counts: np.ndarray, need: np.ndarray, room: np.ndarray, rng: np.random.Generator) -> int:
        worth = (need * (counts / self.occurring**2)).sum(axis=1)
        fits = (counts <= need + 0.5).all(axis=1) & (counts.sum() <= room) & (worth > 0)
        if not fits.any():
            return int(np.argmax(np.where(counts.sum() <= room, worth, -np.inf)))
        chances = np.where(fits, worth, 0)
        return int(rng.choice(len(need), p=chances / chances.sum()))


def take_rows(strata: np.ndarray, keys: np.ndarray, limit: int) -> np.ndarray:
    """A stratified sample that does not depend on the order of rows.

    Args:
        strata: int, (rows,), from 0.
        keys: int64, (rows,), different for each row.
        limit: number of rows.

    Returns:
        bool, (rows,): the sampled rows. Every stratum keeps at least ten rows, or all it has, if `limit` allows.
    """
    counts = np.bincount(strata)
    if limit >= len(strata):
        return np.ones(len(strata), dtype=bool)
    quota = _quotas(counts, limit)
    order = np.lexsort((mix(keys, 0), strata))
    place = np.arange(len(strata)) - np.repeat(np.cumsum(counts) - counts, counts)
    taken = np.zeros(len(strata), dtype=bool)
    taken[order[place < quota[strata[order]]]] = True
    return taken


def _quotas(counts: np.ndarray, limit: int) -> np.ndarray:
    """Rows of each stratum: proportional, rounded to sum to `limit`, small strata raised to their minimum."""
    floor = np.minimum(counts, STRATUM_FLOOR)
    if limit < floor.sum():
        floor = np.zeros_like(counts)
    raised = np.zeros(len(counts), dtype=bool)
    while True:
        open_counts = np.where(raised, 0, counts)
        exact = open_counts * ((limit - floor[raised].sum()) / max(open_counts.sum(), 1))
        low = ~raised & (exact < floor)
        if not low.any():
            break
        raised |= low
    quota = np.where(raised, floor, np.floor(exact).astype(np.int64))
    quota[np.argsort(-np.where(raised, 0, exact % 1), kind="stable")[: limit - quota.sum()]] += 1
    return quota
