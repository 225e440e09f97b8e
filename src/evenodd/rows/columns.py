"""Chooses the columns of text, label, split and groups: from the settings, or by their names.

Names are compared without case, blanks and punctuation: `Review Text`, `review_text` and `reviewText` are equal. For
text and label there are ranks of usual names. The first rank that occurs decides; if two columns have this rank, an
error explains how to choose.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from evenodd.settings import DataSettings

logger = logging.getLogger(__name__)

Role = Literal["text", "label", "split"]
RANKS: dict[Role, tuple[tuple[str, ...], ...]] = {
    "text": (
        ("text",),
        ("texts", "sentence", "comment", "content", "tweet", "post", "body", "message", "document", "review",
         "utterance", "testcase", "reviewtext", "commenttext", "tweettext", "posttext", "messagetext", "reviewbody",
         "fulltext", "textcontent", "inputtext", "rawtext", "sentences", "comments", "reviews", "tweets", "messages"),
        ("input", "query", "question", "prompt", "phrase", "description", "snippet", "statement", "transcript", "title",
         "headline", "cleantext", "cleanedtext", "processedtext"),
    ),
    "label": (
        ("labeltext", "labelname"),
        ("label", "labels"),
        ("labelgold", "goldlabel", "class", "category", "target", "sentiment", "intent", "topic", "emotion", "polarity",
         "classname", "categoryname", "intentname", "y"),
        ("classes", "categories", "gold", "tag", "annotation", "output", "labelid", "classid", "classindex", "rating",
         "stars"),
    ),
    "split": (("split",), ("splits", "set", "subset", "partition", "datasplit", "datasetsplit")),
}  # fmt: skip
GROUP_NAMES = ("userid", "author", "authorid", "commentid", "threadid", "group")
SPLIT_VALUES = {
    "train": 0, "training": 0,
    "validation": 1, "valid": 1, "val": 1, "dev": 1, "development": 1,
    "test": 2, "testing": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """Names of the chosen columns.

    Attributes:
        split_found: chosen by its name, so its values decide whether it is a split.
        slices: columns whose values are kept with the rows.
    """

    text: str
    label: str
    split: str | None
    groups: tuple[str, ...]
    split_found: bool = False
    slices: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a cache key."""
        return asdict(self)


def column_key(name: str) -> str:
    """Normalises a name for comparison: letters and digits only, case folded."""
    return "".join(sign for sign in unicodedata.normalize("NFKC", name).casefold() if sign.isalnum())


def split_place(value: str) -> int | None:
    """Index of a split's name in train, validation, test; None for other names."""
    return SPLIT_VALUES.get(value.strip().lower())


def match_name(name: str, there: Sequence[str]) -> str | None:
    """Resolves a given name to a column: the exact name, or the only column with an equal normalised name."""
    if name in there:
        return name if there.count(name) == 1 else None
    alike = [column for column in there if column_key(column) == column_key(name)]
    return alike[0] if len(alike) == 1 and column_key(name) else None


def match_column(role: Role, there: Sequence[str]) -> tuple[str, ...]:
    """Columns whose names fit a role equally well: those of the first rank that occurs."""
    for rank in RANKS[role]:
        fitting = tuple(column for column in there if column_key(column) in rank)
        if fitting:
            return fitting
    return ()


def find_text_column(source: str, there: Sequence[str], said: str | None, doubt: str = "") -> str:
    """Chooses the text column of rows to score.

    Raises:
        ValueError: the column does not exist, or no column or several columns fit.
    """
    faults: list[str] = []
    text = _choose("text", said, there, faults)
    if faults:
        raise _fault(source, there, faults, doubt)
    return text


def find_columns(there: Sequence[str], settings: DataSettings, doubt: str = "") -> Columns:
    """Chooses among the existing columns and logs the choice.

    Args:
        there: names of all columns.
        settings: may name columns.
        doubt: reason why the names may be a data row; empty if there is none.

    Raises:
        ValueError: a named column does not exist, or no column or several fit; one message lists all faults.
    """
    faults: list[str] = []
    text = _choose("text", settings.text_column, there, faults)
    label = _choose("label", settings.label_column, there, faults)
    split, split_found = _split(settings, there, faults)
    groups = _groups(settings, there, faults)
    slices = _all_named("slices", settings.slices or (), there, faults)
    if text and text == label:
        faults.append(f"column {text!r} cannot be both text and label")
    if faults:
        raise _fault(settings.source, there, faults, doubt)
    columns = Columns(text, label, split, groups, split_found, slices)
    _log(columns, there, settings.source)
    return columns


def _fault(source: str, there: Sequence[str], faults: list[str], doubt: str) -> ValueError:
    columns = ", ".join(there) or "none"
    header = f" Is there a header? {doubt}: add a first line with names, such as text,label." if doubt else ""
    return ValueError(f"data={source!r}: {'; '.join(faults)}. Columns there: {columns}.{header}")


def _log(columns: Columns, there: Sequence[str], source: str) -> None:
    """One line: the chosen columns, and those that are not used although their names would fit."""
    used = [columns.text, columns.label, columns.split, *columns.groups, *columns.slices]
    other = [name for role in RANKS for rank in RANKS[role] for name in there if column_key(name) in rank]
    passed = [name for name in dict.fromkeys(other) if name not in used]
    parts = [f"text '{columns.text}'", f"label '{columns.label}'"]
    parts += [f"split '{columns.split}'"] if columns.split else []
    parts += [f"rows kept together by {', '.join(columns.groups)}"] if columns.groups else []
    parts += [f"slices by {', '.join(columns.slices)}"] if columns.slices else []
    parts += [f"not used: {', '.join(passed)}"] if passed else []
    logger.info("columns of %s | %s", source, " | ".join(parts))


def _choose(role: Role, said: str | None, there: Sequence[str], faults: list[str]) -> str:
    """The named column, or the only column of the first rank that occurs."""
    if said is not None:
        return _named(role, said, there, faults) or ""
    fitting = match_column(role, there)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        faults.append(f"{' and '.join(fitting)} could each be the {role} (name it: -P data.{role}_column=...)")
    else:
        faults.append(f"no {role} column was recognised by its name (name it: -P data.{role}_column=...)")
    return ""


def _named(role: Role, said: str, there: Sequence[str], faults: list[str]) -> str | None:
    found = match_name(said, there)
    if found is None:
        what = "does not exist" if there.count(said) < 2 else "exists more than once"
        faults.append(f"data.{role}_column={said!r} {what} (name it: -P data.{role}_column=...)")
    return found


def _split(settings: DataSettings, there: Sequence[str], faults: list[str]) -> tuple[str | None, bool]:
    """The split column, and whether it was chosen by its name."""
    if settings.split_column is not None:
        return _named("split", settings.split_column, there, faults), False
    fitting = match_column("split", there)
    return (fitting[0], True) if len(fitting) == 1 else (None, False)


def _groups(settings: DataSettings, there: Sequence[str], faults: list[str]) -> tuple[str, ...]:
    if settings.group_columns is None:
        return tuple(column for column in there if column_key(column) in GROUP_NAMES and there.count(column) == 1)
    if tuple(settings.group_columns) == ("none",):
        return ()
    return _all_named("data.group_columns", settings.group_columns, there, faults)


def _all_named(setting: str, named: Sequence[str], there: Sequence[str], faults: list[str]) -> tuple[str, ...]:
    """The columns that a setting names, each once."""
    found = {said: match_name(said, there) for said in named}
    missing = [said for said, column in found.items() if column is None]
    if missing:
        faults.append(f"column {', '.join(missing)} of {setting} does not exist (-P {setting}=a,b, or leave it out)")
    return tuple(dict.fromkeys(column for column in found.values() if column is not None))
