"""Which labels a task has, in which order, and which of two is the positive one.

Named in the settings, labels keep their order and rows of other labels are dropped. Not named, they are those that
occur, in an order that does not change when rows are added: that in which the data declares its classes, else sorted by
name, numbers in them by value (`2` before `10`), and of two labels the positive one last. The positive label, not
named, is the rarer of two; of two equally frequent ones the last.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from evenodd.rows.clean import normalise
from evenodd.task import Task, label_faults

MISSING_WORDS = ("nan", "none", "null", "n/a", "na", "<na>", "#n/a")
SHOWN = 12


def name_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names sorted, numbers in them by value: `2` before `10`."""
    return tuple(
        sorted(names, key=lambda name: [(part.isdigit(), int(part) if part.isdigit() else 0, part)
                                        for part in re.split(r"([0-9]+)", name) if part])
    )  # fmt: skip


def tidy_label(name: str) -> str:
    """A label's name as it is compared: accents composed, so that names that look the same are the same."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def choose_task(
    asked: Sequence[str] | None, positive: str | None, occurring: Mapping[str, int], declared: Sequence[str] = ()
) -> Task:
    """The task that the settings and the rows make together.

    Args:
        asked: label names of the settings; None: those that occur.
        positive: of the settings; None: the rarer of two labels.
        occurring: rows of each label that the data has.
        declared: class names in the order of their numbers, where the data declares them.

    Raises:
        ValueError: a label does not occur, there are fewer than two, a name is refused, or `positive` does not fit.
    """
    found = tuple(name for name in declared if occurring.get(name)) or name_order(occurring)
    names = found if asked is None else tuple(map(tidy_label, asked))
    if not occurring:
        raise ValueError("no row has a label")
    missing = [name for name in names if not occurring.get(name)]
    if missing:
        there = counted({name: occurring[name] for name in found})
        ways = "pass -P labels=a,b with names that do, or leave labels out"
        raise ValueError(f"label {', '.join(missing)} does not occur; those that do: {there} ({ways})")
    if len(names) < 2:
        raise ValueError(f"one class only ({', '.join(names)}): a classifier needs two labels or more")
    if faults := label_faults(names):
        raise ValueError("; ".join(faults))
    if positive is None and len(names) == 2:
        positive = min(reversed(names), key=lambda name: occurring[name])
    if asked is None and not declared and len(names) == 2 and positive == names[0]:
        names = names[::-1]
    try:
        return Task("binary" if len(names) == 2 else "multiclass", names, positive and tidy_label(positive))
    except ValueError as error:
        raise ValueError(f"{str(error).rstrip('.')} (leave positive out, or pass -P positive=NAME)") from error


def counted(rows: Mapping[str, int]) -> str:
    """Names with their numbers of rows in one line; of many names the first, and how many more there are."""
    shown = [f"{name} ({many:,})" for name, many in list(rows.items())[:SHOWN]]
    more = len(rows) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def doubtful_names(rows: Mapping[str, int]) -> list[str]:
    """Remarks on label names that may be one label spelled in several ways, or a missing value."""
    alike: dict[str, list[str]] = {}
    for name in rows:
        alike.setdefault(_meant(name), []).append(name)
    remarks = [
        f"labels {counted({name: rows[name] for name in names})} differ in spelling only and count as {len(names)}"
        for names in alike.values()
        if len(names) > 1
    ]
    words = {name: many for name, many in rows.items() if name.casefold() in MISSING_WORDS}
    if words:
        remarks.append(f"label {counted(words)} is taken as a name: where it means a missing label, remove those rows")
    return remarks


def _meant(name: str) -> str:
    """What a person would read: case and width do not matter, and 1.0 is 1."""
    plain = normalise(name)
    return plain.removesuffix(".0") if re.fullmatch(r"-?[0-9]+\.0", plain) else plain
