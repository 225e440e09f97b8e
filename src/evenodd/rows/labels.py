"""Determines the labels of a task, their order, and the positive label of two.

Labels in the settings keep their order, and rows with other labels are dropped. Without them, all labels that occur are
used, in an order that does not change when rows are added: the order in which the data declares its classes, otherwise
sorted by name with numbers by value (`2` before `10`), with the positive label last if there are two. The default for
the positive label is the rarer of two, or the last of two equally frequent labels.
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
    """Sorts names, with numbers in them by value: `2` before `10`."""
    return tuple(
        sorted(names, key=lambda name: [(part.isdigit(), int(part) if part.isdigit() else 0, part)
                                        for part in re.split(r"([0-9]+)", name) if part])
    )  # fmt: skip


def tidy_label(name: str) -> str:
    """Normalises a label's name: accents are composed, so that names that look equal are equal."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def choose_task(
    asked: Sequence[str] | None, positive: str | None, occurring: Mapping[str, int], declared: Sequence[str] = ()
) -> Task:
    """The task that follows from the settings and the rows.

    Args:
        asked: label names in the settings; None: those that occur.
        positive: positive label in the settings; None: the rarer of two labels.
        occurring: number of rows of each label in the data.
        declared: class names in the order of their indices, if the data declares them.

    Raises:
        ValueError: a label does not occur, there are fewer than two, a name is not allowed, or `positive` does not fit.
    """
    found = tuple(name for name in declared if occurring.get(name)) or name_order(occurring)
    names = found if asked is None else tuple(map(tidy_label, asked))
    if not occurring:
        raise ValueError("no row has a label")
    missing = [name for name in names if not occurring.get(name)]
    if missing:
        there = counted({name: occurring[name] for name in found})
        ways = "pass -P labels=a,b with names that occur, or leave labels out"
        raise ValueError(f"label {', '.join(missing)} does not occur; found are: {there} ({ways})")
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
    """Names with their numbers of rows in one line; long lists are cut, with the number of omitted names."""
    shown = [f"{name} ({many:,})" for name, many in list(rows.items())[:SHOWN]]
    more = len(rows) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def doubtful_names(rows: Mapping[str, int]) -> list[str]:
    """Remarks on label names that may be variants of one label, or stand for a missing value."""
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
        remarks.append(f"label {counted(words)} is used as a label: if it means a missing label, remove those rows")
    return remarks


def _meant(name: str) -> str:
    """A form in which case and width do not matter and 1.0 equals 1."""
    plain = normalise(name)
    return plain.removesuffix(".0") if re.fullmatch(r"-?[0-9]+\.0", plain) else plain
