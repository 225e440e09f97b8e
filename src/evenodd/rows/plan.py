"""Plans every row of a table: its label index, its split, or why it is left out."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evenodd.rows.clean import Repeats, find_repeats
from evenodd.rows.faults import Faults
from evenodd.rows.labels import SHOWN, choose_task, counted, doubtful_names
from evenodd.rows.rows import SPLITS
from evenodd.rows.split import assign_splits, connect_groups, renumber, take_rows
from evenodd.rows.table import RowTable
from evenodd.settings import DataSettings
from evenodd.task import Task

logger = logging.getLogger(__name__)

LEAST_ROWS = 7
"""Minimum rows of a label: with the usual shares, one of them is for validation and one for test."""
EXAMPLES = 100


@dataclass
class Plan:
    """The plan for every row of a table.

    Attributes:
        task: the labels, in the order of their indices.
        label: int32, (rows,), label index; -1: not among the labels.
        split: int8, (rows,), index in `SPLITS`; -1: left out.
        group: int32, (rows,); -1: left out.
    """

    task: Task
    label: np.ndarray
    split: np.ndarray
    group: np.ndarray
    counts: dict[str, int]
    examples: dict[str, tuple[int, ...]]
    augmented: list[dict[str, Any]] = field(default_factory=list)


def plan_rows(table: RowTable, settings: DataSettings, seed: int, faults: Faults) -> Plan:
    """Decides about every row.

    Args:
        table: rows as read.
        settings: labels, shares, limit.
        seed: seed of the split.
        faults: faults of reading; new faults are added to them.

    Raises:
        ValueError: there are faults, which one message lists; or a split lacks a label.
    """
    occurring = dict(zip(table.names, _counts_of(table.label, len(table.names)), strict=True))
    task = _task(settings, occurring, table.declared, faults)
    numbers = {name: number for number, name in enumerate(task.labels)}
    label = np.array([*(numbers.get(name, -1) for name in table.names), -1, -1], np.int32)[table.label]
    counts = {"rows": len(table)}
    counts |= {f"dropped/{name}": many for name, many in occurring.items() if name not in numbers}
    counts |= {f"skipped_split/{name}": many for name, many in table.skipped.items()}
    split, repeats = _drop_repeats(table, label)
    counts |= {"duplicates": len(repeats.duplicates), "label_conflicts": len(repeats.conflicts)}
    counts["limited"] = _limit(table, label, split, settings)
    _check_labels(task.labels, label[split >= 0], settings, faults)
    faults.raise_if_any()
    group = _groups(table, split)
    _assign(table, label, split, group, settings, seed)
    _check_splits(table, task.labels, label, split, settings)
    counts |= _group_counts(group, split) | {"kept": int((split >= 0).sum())}
    return Plan(task, label, split, group, counts, _examples(repeats))


def _task(settings: DataSettings, occurring: dict[str, int], declared: tuple[str, ...], faults: Faults) -> Task:
    """The task of the settings and the rows; its faults are reported together with those of the rows."""
    for remark in doubtful_names(occurring):
        logger.warning("data %s: %s", settings.source, remark)
    try:
        return choose_task(settings.labels, settings.positive, occurring, declared)
    except ValueError as error:
        faults.general.append(str(error))
        raise ValueError(faults.message()) from error


def _counts_of(numbers: np.ndarray, kinds: int) -> list[int]:
    return np.bincount(numbers[numbers >= 0], minlength=kinds).tolist()


def _drop_repeats(table: RowTable, label: np.ndarray) -> tuple[np.ndarray, Repeats]:
    """Splits, with -1 for dropped rows and 0 for kept rows, and the repeats by position in the table."""
    asked = np.flatnonzero(label >= 0)
    repeats = find_repeats(table.key[asked], label[asked], np.maximum(table.split[asked], 0))
    split = np.full(len(table), -1, dtype=np.int8)
    split[asked[repeats.keep]] = 0
    return split, Repeats(repeats.keep, asked[repeats.duplicates], asked[repeats.conflicts])


def _examples(repeats: Repeats) -> dict[str, tuple[int, ...]]:
    return {
        "duplicates": tuple(repeats.duplicates[:EXAMPLES].tolist()),
        "label_conflicts": tuple(repeats.conflicts[:EXAMPLES].tolist()),
    }


def _limit(table: RowTable, label: np.ndarray, split: np.ndarray, settings: DataSettings) -> int:
    """Drops rows beyond `limit` and returns their number."""
    kept = np.flatnonzero(split >= 0)
    if settings.limit is None or settings.limit >= len(kept):
        return 0
    strata = np.unique(label[kept] * 4 + table.split[kept], return_inverse=True)[1]
    out = kept[~take_rows(strata, table.key[kept], settings.limit)]
    split[out] = -1
    return len(out)


def _groups(table: RowTable, split: np.ndarray) -> np.ndarray:
    """Group of each row, int32, (rows,); -1 for dropped rows."""
    group = np.full(len(table), -1, dtype=np.int32)
    kept = np.flatnonzero(split >= 0)
    group[kept] = connect_groups((keys[kept] for keys in table.groups.values()), len(kept))
    return group


def _check_labels(names: tuple[str, ...], label: np.ndarray, settings: DataSettings, faults: Faults) -> None:
    counts = dict(zip(names, _counts_of(label, len(names)), strict=True))
    if sum(many > 0 for many in counts.values()) < 2:
        faults.general.append(f"one class only ({', '.join(names)}): a classifier needs two labels or more")
    rare = {name: many for name, many in counts.items() if many < LEAST_ROWS}
    if not rare:
        return
    within = f" within limit={settings.limit}" if settings.limit else ""
    faults.general.append(f"too few usable rows{within}: {counted(rare)}; a label needs {LEAST_ROWS} for three splits")
    if 1 < len(names) - len(rare) <= SHOWN:
        kept = ",".join(name for name in names if name not in rare)
        faults.general.append(f"the other labels can be used without them: -P labels={kept}")


def _assign(
    table: RowTable, label: np.ndarray, split: np.ndarray, group: np.ndarray, settings: DataSettings, seed: int
) -> None:
    """Assigns a split to every kept row: the predefined one, or one by group."""
    stays = split >= 0
    given = table.split[stays]
    if (given < 0).any() or not (given > 0).any():
        given = np.zeros(len(given), dtype=np.int8)
    split[stays] = given
    shares = [
        0.0 if (given == 1).any() else settings.validation_share,
        0.0 if (given == 2).any() else settings.test_share,
    ]
    wanted = [place for place in (1, 2) if shares[place - 1]]
    pool = split == 0
    if not wanted or not pool.any():
        return
    portions = [1 - sum(shares), *(shares[place - 1] for place in wanted)]
    dealt = assign_splits(label[pool], renumber(group[pool]), table.key[pool], shares=portions, seed=seed)
    split[pool] = np.array([0, *wanted], dtype=np.int8)[dealt]


def _check_splits(
    table: RowTable, names: tuple[str, ...], label: np.ndarray, split: np.ndarray, settings: DataSettings
) -> None:
    """Checks that each split has every label, and that no text is in two splits."""
    lacking = [
        f"{name} in {part}"
        for place, part in enumerate(SPLITS)
        for name, many in zip(names, _counts_of(label[split == place], len(names)), strict=True)
        if not many
    ]
    if lacking:
        way = "-P data.group_columns=none lets groups be divided" if table.groups else "change the predefined splits"
        raise ValueError(f"data={settings.source!r}: no rows of {', '.join(lacking)}. More rows are needed, or {way}.")
    keys = table.key[split >= 0]
    keys.sort()
    if (keys[1:] == keys[:-1]).any():
        raise RuntimeError(f"data={settings.source!r}: a text is in two splits. Delete the cache and run again.")


def _group_counts(group: np.ndarray, split: np.ndarray) -> dict[str, int]:
    groups = int(group.max()) + 1
    sizes, splits = np.zeros(groups, dtype=np.int32), np.zeros(groups, dtype=np.int8)
    for place in range(len(SPLITS)):
        here = np.bincount(group[split == place], minlength=groups)
        sizes += here
        splits += here > 0
    return {"groups": groups, "largest_group": int(sizes.max()), "group_leaks": int((splits > 1).sum())}
